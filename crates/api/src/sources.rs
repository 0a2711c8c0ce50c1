use crate::{
    fault::Fault,
    folder::{Folder, Found, Limits, Loaded},
    listing::Listing,
    pricing::PricingFile,
    watch::Watch,
};
use obol_core::Registry;
use std::{io, path::PathBuf, sync::Arc};

/// Where it is written what is sold.
#[derive(Clone, Debug)]
pub struct Sources {
    /// A folder of manifests: `*.yaml`, `*.yml` and `*.json`. Names that begin with a dot,
    /// subfolders and other files are passed over.
    pub offers: PathBuf,
    /// A file of static routes, as the original has them.
    pub pricing: Option<PathBuf>,
    pub registry: Arc<Registry>,
    pub limits: Limits,
}

/// Everything that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Also those whose names are taken. In the order of [`Loaded::offers`].
    pub found: Vec<Found>,
    pub faults: Vec<Fault>,
    pub notes: Vec<Fault>,
}

impl Sources {
    /// Loads them and keeps them loaded until the watch is dropped.
    ///
    /// # Errors
    /// When the folder cannot be listed now. When it cannot be later, or a file cannot be read,
    /// what was loaded stays, with a fault.
    pub fn watch(self) -> io::Result<Watch> {
        Watch::begin(self.load()?)
    }

    /// Reads them once.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn read(self) -> io::Result<Written> {
        let stock = self.load()?;
        let Loaded { faults, notes, .. } = stock.loaded();
        Ok(Written { found: stock.found().map(|(found, _)| found).collect(), faults, notes })
    }

    fn load(self) -> io::Result<Stock> {
        let Self { offers, pricing, registry, limits } = self;
        let folder = Folder::load(&offers, Arc::clone(&registry), limits.clone())?;
        let pricing = pricing.map(|path| PricingFile::load(&path, registry, limits));
        Ok(Stock { folder, pricing })
    }
}

/// What the sources gave when they were read last.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) folder: Folder,
    pub(crate) pricing: Option<PricingFile>,
}

impl Stock {
    /// Reads again what changed. False when nothing did.
    pub(crate) fn reload(&mut self) -> bool {
        let folder = self.folder.reload();
        let pricing = self.pricing.as_mut().is_some_and(PricingFile::reload);
        folder || pricing
    }

    /// Whose names and paths come first: those of the folder before static routes, and of those the
    /// earlier ones. [`obol_core::Routes::compile`] keeps to this order.
    fn found(&self) -> impl Iterator<Item = (Found, &'static str)> {
        let routes = self.pricing.iter().flat_map(PricingFile::routes);
        let offers = self.folder.offers().map(|found| (found, Listing::MANIFEST));
        offers.chain(routes.map(|found| (found, Listing::ROUTE)))
    }

    pub(crate) fn loaded(&self) -> Loaded {
        let pricing = self.pricing.iter();
        let mut loaded = Loaded {
            offers: Vec::new(),
            faults: self
                .folder
                .faults()
                .chain(pricing.clone().flat_map(PricingFile::faults))
                .cloned()
                .collect(),
            notes: pricing.flat_map(PricingFile::notes).cloned().collect(),
        };
        let mut listing = Listing::default();
        for (found, field) in self.found() {
            listing.add(&mut loaded, found, field);
        }
        loaded
    }
}
