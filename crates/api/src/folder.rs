use crate::{
    document,
    fault::Fault,
    file::{self, ReadError},
    given::Given,
};
use alloy_primitives::Address;
use obol_core::{Offer, Registry};
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
    /// Those of the folder in the order of file names, and of documents within a file; then static
    /// routes in the order of theirs. It is the order of precedence where two want one path. No two
    /// have the same name.
    pub offers: Vec<Arc<Offer>>,
    pub faults: Vec<Fault>,
    /// What is written and changes nothing.
    pub notes: Vec<Fault>,
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
pub(crate) struct Folder {
    path: PathBuf,
    registry: Arc<Registry>,
    limits: Limits,
    /// In the order in which offers are listed.
    files: BTreeMap<OsString, Given>,
    fault: Option<Fault>,
}

/// A manifest of some kilobytes is a large one.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

impl Folder {
    /// Fails when the folder cannot be listed now. When it cannot be later, what was loaded stays,
    /// with a fault.
    pub(crate) fn load(path: &Path, registry: Arc<Registry>, limits: Limits) -> io::Result<Self> {
        let mut folder =
            Self { path: path.to_owned(), registry, limits, files: BTreeMap::new(), fault: None };
        let names = folder.names()?;
        folder.refresh(names);
        Ok(folder)
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

    /// In the order in which offers are listed.
    pub(crate) fn offers(&self) -> impl Iterator<Item = Found> {
        self.files.iter().flat_map(|(name, given)| {
            let file = self.path.join(name);
            given.offers.iter().map(move |sold| sold.found_in(&file))
        })
    }

    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.fault.iter().chain(self.files.values().flat_map(|given| &given.faults))
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
            if !self.files.get(&name).is_some_and(|given| given.is_current(&path)) {
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
                Given::merge(path, documents, content.stamp, last)
            }
            Err(ReadError::Io(_)) if is_gone(path) => return,
            Err(ReadError::NotRegular) if path.is_dir() => return,
            Err(error) => Given::kept(path, &error.to_string(), last),
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
