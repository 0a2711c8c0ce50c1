//! The offers of a folder.

use super::args::FolderArgs;
use crate::exit::Failure;
use obol_api::{Fault, Found, Limits, Sources, Written};
use obol_core::{Conflict, OfferId, Registry, Routes};
use obol_facilitator::Timing;
use std::{
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Offers {
    pub(super) folder: PathBuf,
    pub(super) pricing: Option<PathBuf>,
    pub(super) registry: Arc<Registry>,
    pub(super) limits: Limits,
    pub(super) found: Vec<Found>,
    pub(super) faults: Vec<Fault>,
    pub(super) notes: Vec<Fault>,
}

impl Offers {
    /// Every offer that some verifier sells, with whatever budget.
    pub(super) fn read(args: &FolderArgs) -> Result<Self, Failure> {
        Self::read_under(args, Duration::ZERO)
    }

    /// As verifiers hold offers to it that are started without other words.
    pub(super) fn read_strictly(args: &FolderArgs) -> Result<Self, Failure> {
        let timing = Timing::default();
        Self::read_under(args, timing.settle_budget + timing.clock_skew)
    }

    fn read_under(args: &FolderArgs, settle_and_skew: Duration) -> Result<Self, Failure> {
        let registry = Arc::new(args.known.registry()?);
        let limits = Limits { settle_and_skew, payees: None };
        let folder = args.offers.clone();
        let sources = Sources {
            offers: folder.clone(),
            pricing: args.pricing.clone(),
            registry: Arc::clone(&registry),
            limits: limits.clone(),
        };
        let Written { found, faults, notes } = sources.read().map_err(|error| {
            Failure::config(format!("--offers: the folder {} cannot be listed: {error}", folder.display()))
        })?;
        Ok(Self { folder, pricing: args.pricing.clone(), registry, limits, found, faults, notes })
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

    /// As [`Self::named`], of an offer that a manifest can be changed for.
    pub(super) fn manifest(&self, name: &str) -> Result<&Found, Failure> {
        let found = self.named(name)?;
        if self.pricing.as_ref() == Some(&found.file) {
            return Err(Failure::config(format!(
                "{} is a static route; change it in {}:{}",
                found.offer.id,
                found.file.display(),
                found.line
            )));
        }
        Ok(found)
    }

    pub(super) fn terms(&self) -> (&Registry, &Limits) {
        (&self.registry, &self.limits)
    }

    /// Why each offer that is not served is not: another one has its path.
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let offers = self.found.iter().map(|found| Arc::clone(&found.offer));
        Routes::compile(offers).1
    }
}

/// What becomes of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write<'a> {
    /// There is none.
    New,
    /// There is none, and this one's owner and mode are taken over.
    Beside(&'a Path),
    Over,
}

/// Writes a file whole or not at all. One that is replaced keeps its owner and mode: the verifier has
/// to be able to read it. A link stays one: what it leads to is replaced.
pub(super) fn write(path: &Path, text: &str, how: Write<'_>) -> Result<(), Failure> {
    let followed = match how {
        Write::New | Write::Beside(_) => None,
        Write::Over => fs::canonicalize(path).ok(),
    };
    let path = followed.as_deref().unwrap_or(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let like = match how {
        Write::New => None,
        Write::Beside(other) => Some(other),
        Write::Over => Some(path),
    };
    let written = || {
        let mut part = tempfile::Builder::new().prefix(".obol-").tempfile_in(folder)?;
        part.write_all(text.as_bytes())?;
        match like.map(fs::metadata).transpose()? {
            Some(like) => {
                let made = part.as_file().metadata()?;
                if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
                    fchown(part.as_file(), Some(like.uid()), Some(like.gid()))?;
                }
                part.as_file().set_permissions(like.permissions())?;
            }
            None => part.as_file().set_permissions(Permissions::from_mode(0o644))?,
        }
        part.as_file().sync_all()?;
        let persisted = match how {
            Write::New | Write::Beside(_) => part.persist_noclobber(path),
            Write::Over => part.persist(path),
        };
        persisted.map(drop).map_err(|error| error.error)
    };
    written().map_err(|error: io::Error| {
        Failure::config(format!("{} cannot be written: {error}; nothing was changed", path.display()))
    })
}
