//! The offers of a folder.

use super::args::FolderArgs;
use crate::exit::Failure;
use obol_api::{Fault, Folder, Found, Limits};
use obol_core::{OfferId, Registry, Routes};
use obol_facilitator::Timing;
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug)]
pub(super) struct Offers {
    pub(super) folder: PathBuf,
    pub(super) registry: Arc<Registry>,
    pub(super) limits: Limits,
    pub(super) found: Vec<Found>,
    pub(super) faults: Vec<Fault>,
}

impl Offers {
    pub(super) fn read(args: &FolderArgs) -> Result<Self, Failure> {
        let registry = Arc::new(args.known.registry()?);
        // As verifiers hold offers to it that are started without other words.
        let timing = Timing::default();
        let limits = Limits { settle_and_skew: timing.settle_budget + timing.clock_skew, payees: None };
        let folder = args.offers.clone();
        let (found, faults) =
            Folder::read(&folder, Arc::clone(&registry), limits.clone()).map_err(|error| {
                Failure::config(format!(
                    "--offers: the folder {} cannot be listed: {error}",
                    folder.display()
                ))
            })?;
        Ok(Self { folder, registry, limits, found, faults })
    }

    /// The offer that is meant by `<name>` or `<namespace>/<name>`.
    pub(super) fn named(&self, name: &str) -> Result<&Found, Failure> {
        let is_it = |id: &OfferId| match name.split_once('/') {
            Some((namespace, name)) => (id.namespace.as_str(), id.name.as_str()) == (namespace, name),
            None => id.name == name,
        };
        let mut named = self.found.iter().filter(|found| is_it(&found.offer.id));
        match (named.next(), named.next()) {
            (Some(found), None) => Ok(found),
            (Some(first), Some(second)) => Err(Failure::config(format!(
                "{name:?} is {} and {}; write which",
                first.offer.id, second.offer.id
            ))),
            (None, _) => {
                let faults = match self.faults.len() {
                    0 => String::new(),
                    n => format!(" ({n} faults in the folder: obol sell list tells them)"),
                };
                Err(Failure::config(format!("no offer {name:?} in {}{faults}", self.folder.display())))
            }
        }
    }

    /// Why each offer that is not served is not: another one has its path.
    pub(super) fn conflicts(&self) -> Vec<String> {
        let offers = self.found.iter().map(|found| Arc::clone(&found.offer));
        let (_, conflicts) = Routes::compile(offers);
        conflicts.iter().map(ToString::to_string).collect()
    }
}

/// Writes a file whole or not at all, as one that is new, or in the place of the one there.
pub(super) fn write(path: &Path, text: &str, new: bool) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || {
        let mut part = tempfile::Builder::new().prefix(".obol-").tempfile_in(folder)?;
        part.write_all(text.as_bytes())?;
        let mode = match std::fs::metadata(path) {
            Ok(about) => about.permissions(),
            Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
        };
        part.as_file().set_permissions(mode)?;
        part.as_file().sync_all()?;
        let persisted = if new { part.persist_noclobber(path) } else { part.persist(path) };
        persisted.map(drop).map_err(|error| error.error)
    };
    written().map_err(|error: std::io::Error| {
        Failure::config(format!("{} cannot be written: {error}; nothing was changed", path.display()))
    })
}
