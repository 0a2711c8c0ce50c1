use crate::{
    credential::Credential,
    document::{self, Document, Outcome},
    fault::Fault,
    file::{self, ReadError, Stamp},
    listing::Listing,
    watch::Watch,
};
use alloy_primitives::Address;
use obol_core::{Offer, OfferId, Registry};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What every offer is held to.
#[derive(Clone, Debug)]
pub struct Limits {
    /// What a payment has to outlive after the upstream's time-out: the settlement's budget and
    /// the skew of clocks.
    pub settle_and_skew: Duration,
    /// Who may be paid; any address when none.
    pub payees: Option<HashSet<Address>>,
}

/// What is sold, and what keeps the rest from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// In the order of file names, and of documents within a file. No two with the same name.
    pub offers: Vec<Arc<Offer>>,
    pub faults: Vec<Fault>,
}

/// An offer, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub file: PathBuf,
    pub line: u32,
    pub offer: Arc<Offer>,
}

/// A folder of manifests: `*.yaml`, `*.yml` and `*.json`. Names that begin with a dot,
/// subfolders and other files are passed over.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    registry: Arc<Registry>,
    limits: Limits,
    /// In the order in which offers are listed.
    files: BTreeMap<OsString, Manifests>,
    fault: Option<Fault>,
}

/// What a file gave when it was read last.
#[derive(Debug, Default)]
struct Manifests {
    /// None while the file may change without changing its stamp.
    stamp: Option<Stamp>,
    /// Files that the documents take their credentials from.
    credentials: Vec<Credential>,
    offers: Vec<Sold>,
    faults: Vec<Fault>,
}

#[derive(Clone, Debug)]
struct Sold {
    offer: Arc<Offer>,
    line: u32,
}

/// A manifest of some kilobytes is a large one.
const MAX_BYTES: u64 = 1024 * 1024;

impl Folder {
    /// Loads the folder and keeps it loaded until the watch is dropped.
    ///
    /// # Errors
    /// When the folder cannot be listed now. When it cannot be later, what was loaded stays, with
    /// a fault.
    pub fn watch(path: &Path, registry: Arc<Registry>, limits: Limits) -> Result<Watch, io::Error> {
        let mut folder =
            Self { path: path.to_owned(), registry, limits, files: BTreeMap::new(), fault: None };
        let names = folder.names()?;
        folder.refresh(names);
        Watch::begin(folder)
    }

    /// Reads the folder once: every offer in it, also those whose names are taken, and every fault.
    pub fn read(
        path: &Path,
        registry: Arc<Registry>,
        limits: Limits,
    ) -> Result<(Vec<Found>, Vec<Fault>), io::Error> {
        let mut folder =
            Self { path: path.to_owned(), registry, limits, files: BTreeMap::new(), fault: None };
        let names = folder.names()?;
        folder.refresh(names);
        let found = folder.files.iter().flat_map(|(name, manifests)| {
            let file = folder.path.join(name);
            manifests.offers.iter().map(move |sold| Found {
                file: file.clone(),
                line: sold.line,
                offer: Arc::clone(&sold.offer),
            })
        });
        Ok((found.collect(), folder.loaded().faults))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads again what changed. False when nothing did.
    pub(crate) fn reload(&mut self) -> bool {
        match self.names() {
            Ok(names) => {
                let mended = self.fault.take().is_some();
                self.refresh(names) || mended
            }
            Err(error) => {
                let why = format!("the folder cannot be listed ({error}); what was loaded is sold on");
                self.fault = Some(Fault::of_file(&self.path, why));
                true
            }
        }
    }

    pub(crate) fn loaded(&self) -> Loaded {
        let mut loaded = Loaded { offers: Vec::new(), faults: self.fault.iter().cloned().collect() };
        let mut listing = Listing::default();
        for (name, manifests) in &self.files {
            let file = self.path.join(name);
            loaded.faults.extend(manifests.faults.iter().cloned());
            for sold in &manifests.offers {
                listing.add(&mut loaded, &file, sold.line, Arc::clone(&sold.offer));
            }
        }
        loaded
    }

    fn names(&self) -> io::Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if is_manifest(&name) {
                names.insert(name);
            }
        }
        Ok(names)
    }

    fn refresh(&mut self, names: BTreeSet<OsString>) -> bool {
        let before = self.files.len();
        self.files.retain(|name, _| names.contains(name));
        let mut changed = self.files.len() != before;
        for name in names {
            let path = self.path.join(&name);
            if !self.files.get(&name).is_some_and(|manifests| manifests.is_current(&path)) {
                self.read_file(name, &path);
                changed = true;
            }
        }
        changed
    }

    fn read_file(&mut self, name: OsString, path: &Path) {
        let last = self.files.remove(&name).unwrap_or_default();
        let read = match file::read(path, MAX_BYTES) {
            Ok(content) => {
                let documents = document::read_all(&content.text, path, &self.registry, &self.limits);
                Manifests::merge(path, documents, content.stamp, last)
            }
            Err(ReadError::Io(_)) if is_gone(path) => return,
            Err(ReadError::NotRegular) if path.is_dir() => return,
            Err(error) => Manifests::kept(path, &error.to_string(), last),
        };
        self.files.insert(name, read);
    }
}

fn is_manifest(name: &OsStr) -> bool {
    let hidden = name.as_encoded_bytes().starts_with(b".");
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// A symbolic link that leads nowhere is there, and at fault.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err()
}

impl Manifests {
    fn is_current(&self, path: &Path) -> bool {
        self.stamp.is_some()
            && Stamp::of(path).ok() == self.stamp
            && self.credentials.iter().all(Credential::is_current)
    }

    /// What the documents give now, and what those that are no good gave last.
    fn merge(path: &Path, documents: Vec<Document>, stamp: Stamp, last: Self) -> Self {
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

    fn kept(path: &Path, why: &str, last: Self) -> Self {
        let faults = sold_on(vec![Fault::of_file(path, why)], &last.offers);
        Self { stamp: None, credentials: Vec::new(), offers: last.offers, faults }
    }
}

/// Adds to faults what is sold all the same.
fn sold_on(mut faults: Vec<Fault>, sold: &[Sold]) -> Vec<Fault> {
    let which = match sold {
        [] => return faults,
        [one] => one.offer.id.to_string(),
        [first, rest @ ..] => format!("{} and {} more", first.offer.id, rest.len()),
    };
    for fault in &mut faults {
        fault.message.push_str(&format!("; {which} is sold on as it was read last"));
    }
    faults
}
