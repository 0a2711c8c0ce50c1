use crate::{
    fault::Fault,
    folder::{Found, Loaded},
};
use obol_core::OfferId;
use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
};

/// Which names are taken, and by which document, while offers are listed in their order.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    taken: HashMap<OfferId, (PathBuf, u32)>,
}

impl Listing {
    /// The field that names an offer in a manifest, and in a route.
    pub(crate) const MANIFEST: &str = "metadata.name";
    pub(crate) const ROUTE: &str = "offerName";

    pub(crate) fn add(&mut self, loaded: &mut Loaded, found: Found, field: &str) {
        match self.claim(&found, field) {
            Ok(()) => loaded.offers.push(found.offer),
            Err(fault) => loaded.faults.push(fault),
        }
    }

    /// The name is this document's, unless another one came first.
    pub(crate) fn claim(&mut self, found: &Found, field: &str) -> Result<(), Fault> {
        match self.taken.entry(found.offer.id.clone()) {
            Entry::Vacant(free) => {
                free.insert((found.file.clone(), found.line));
                Ok(())
            }
            Entry::Occupied(taken) => {
                let (first_file, first_line) = taken.get();
                Err(Fault {
                    file: found.file.clone(),
                    line: Some(found.line),
                    field: field.to_owned(),
                    message: format!(
                        "{} is sold by {}:{first_line} already; give one of them another name or namespace",
                        found.offer.id,
                        first_file.display()
                    ),
                })
            }
        }
    }
}
