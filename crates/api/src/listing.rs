use crate::{fault::Fault, folder::Loaded};
use obol_core::{Offer, OfferId};
use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which names are taken, and by which document, while offers are listed in their order.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    taken: HashMap<OfferId, (PathBuf, u32)>,
}

impl Listing {
    pub(crate) fn add(&mut self, loaded: &mut Loaded, file: &Path, line: u32, offer: Arc<Offer>) {
        match self.taken.entry(offer.id.clone()) {
            Entry::Vacant(free) => {
                free.insert((file.to_owned(), line));
                loaded.offers.push(offer);
            }
            Entry::Occupied(taken) => {
                let (first_file, first_line) = taken.get();
                loaded.faults.push(Fault {
                    file: file.to_owned(),
                    line: Some(line),
                    field: "metadata.name".to_owned(),
                    message: format!(
                        "{} is sold by {}:{first_line} already; give one of them another name or namespace",
                        offer.id,
                        first_file.display()
                    ),
                });
            }
        }
    }
}
