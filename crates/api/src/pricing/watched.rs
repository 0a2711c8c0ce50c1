use super::read_all;
use crate::{
    fault::Fault,
    file,
    folder::{Found, Limits, MAX_BYTES},
    given::Given,
};
use obol_core::Registry;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The file of static routes as it was read last.
#[derive(Debug)]
pub(crate) struct PricingFile {
    path: PathBuf,
    registry: Arc<Registry>,
    limits: Limits,
    given: Given,
    notes: Vec<Fault>,
}

impl PricingFile {
    pub(crate) fn load(path: &Path, registry: Arc<Registry>, limits: Limits) -> Self {
        let mut file =
            Self { path: path.to_owned(), registry, limits, given: Given::default(), notes: Vec::new() };
        file.reload();
        file
    }

    /// The folder that the file is in, whose changes tell of the file's.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Reads again what changed. False when nothing did.
    pub(crate) fn reload(&mut self) -> bool {
        if self.given.is_current(&self.path) {
            return false;
        }
        let last = std::mem::take(&mut self.given);
        self.given = match file::read(&self.path, MAX_BYTES) {
            Ok(content) => {
                let read = read_all(&content.text, &self.path, &self.registry, &self.limits);
                self.notes = read.notes;
                Given::merge(&self.path, read.documents, content.stamp, last)
            }
            Err(error) => Given::kept(&self.path, &error.to_string(), last),
        };
        true
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = Found> {
        self.given.offers.iter().map(|sold| sold.found_in(&self.path))
    }

    pub(crate) fn faults(&self) -> &[Fault] {
        &self.given.faults
    }

    pub(crate) fn notes(&self) -> &[Fault] {
        &self.notes
    }
}
