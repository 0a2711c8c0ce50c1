//! What one file gave when it was read last, and what of it is kept while the file is no good.

use crate::{
    credential::Credential,
    document::{Document, Outcome},
    fault::Fault,
    file::Stamp,
    folder::Found,
};
use obol_core::{Offer, OfferId};
use std::{collections::HashSet, path::Path, sync::Arc};

/// What a file gave when it was read last.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// None while the file may change without changing its stamp.
    stamp: Option<Stamp>,
    /// Files that the documents take their credentials from.
    credentials: Vec<Credential>,
    pub(crate) offers: Vec<Sold>,
    pub(crate) faults: Vec<Fault>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sold {
    pub(crate) offer: Arc<Offer>,
    pub(crate) line: u32,
}

impl Given {
    pub(crate) fn is_current(&self, path: &Path) -> bool {
        self.stamp.is_some()
            && Stamp::of(path).ok() == self.stamp
            && self.credentials.iter().all(Credential::is_current)
    }

    /// What the documents give now, and what those that are no good gave last.
    pub(crate) fn merge(path: &Path, documents: Vec<Document>, stamp: Stamp, last: Self) -> Self {
        if documents.is_empty() && !last.offers.is_empty() {
            return Self::kept(path, "holds no document; delete the file to end its offers", last);
        }
        let fresh: HashSet<OfferId> = documents.iter().filter_map(Document::sold).cloned().collect();
        let mut kept = last.offers;
        kept.retain(|sold| !fresh.contains(&sold.offer.id));
        let mut keeps_all = false;
        let mut read = Self::default();
        for Document { outcome, credential } in documents {
            read.credentials.extend(credential);
            match outcome {
                Outcome::PassedOver => {}
                Outcome::Sold { offer, line } => read.offers.push(Sold { offer, line }),
                Outcome::Faulty { id: Some(id), faults } => {
                    let at = kept.iter().position(|sold| sold.offer.id == id);
                    let sold = at.map(|at| kept.remove(at));
                    read.faults.extend(sold_on(faults, sold.as_slice()));
                    read.offers.extend(sold);
                }
                Outcome::Faulty { id: None, faults } => {
                    // Any of the offers that are missing may be the one that was meant.
                    read.faults.extend(sold_on(faults, &kept));
                    keeps_all = true;
                }
            }
        }
        if keeps_all {
            read.offers.append(&mut kept);
        }
        let is_settled = stamp.is_settled() && read.credentials.iter().all(Credential::is_settled);
        read.stamp = is_settled.then_some(stamp);
        read
    }

    pub(crate) fn kept(path: &Path, why: &str, last: Self) -> Self {
        let faults = sold_on(vec![Fault::of_file(path, why)], &last.offers);
        Self { stamp: None, credentials: Vec::new(), offers: last.offers, faults }
    }
}

impl Sold {
    pub(crate) fn found_in(&self, file: &Path) -> Found {
        Found { file: file.to_owned(), line: self.line, offer: Arc::clone(&self.offer) }
    }
}

/// Adds to faults what is sold all the same.
fn sold_on(mut faults: Vec<Fault>, sold: &[Sold]) -> Vec<Fault> {
    let which = match sold {
        [] => return faults,
        [one] => format!("{} is sold on as it was read last", one.offer.id),
        [first, rest @ ..] => {
            format!("{} and {} more are sold on as they were read last", first.offer.id, rest.len())
        }
    };
    for fault in &mut faults {
        fault.message.push_str(&format!("; {which}"));
    }
    faults
}
