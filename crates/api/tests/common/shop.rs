//! A folder of manifests that is watched.

use super::{limits, registry};
use obol_api::{Loaded, Sources, Watch};
use obol_core::Registry;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// Long enough for a slow machine; nothing waits for it that goes right.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Shop {
    folder: TempDir,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let shop = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(shop.offers()).expect("a folder of offers");
        shop
    }

    pub(crate) fn offers(&self) -> PathBuf {
        self.folder.path().join("offers")
    }

    /// Beside the folder of offers.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.offers().join(name)
    }

    /// In place, as an editor that is not careful does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("written");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).expect("removed");
    }

    pub(crate) fn watch(&self) -> Watch {
        sources(&self.offers(), Arc::new(registry())).watch().expect("a folder that can be listed")
    }
}

/// A folder alone.
pub(crate) fn sources(offers: &Path, registry: Arc<Registry>) -> Sources {
    Sources { offers: offers.to_owned(), pricing: None, registry, limits: limits() }
}

/// An offer for so much per request.
pub(crate) fn offer(name: &str, price: &str) -> String {
    format!(
        "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata: {{name: {name}}}\nspec:\n  \
         upstream: {{url: \"http://127.0.0.1:9000\"}}\n  payment:\n    network: base-sepolia\n    \
         payTo: \"0x2222222222222222222222222222222222222222\"\n    price: {{perRequest: \"{price}\"}}\n"
    )
}

/// `name price`, in the order in which they are listed.
pub(crate) fn prices(loaded: &Loaded) -> Vec<String> {
    let price =
        |offer: &obol_core::Offer| offer.accepts[0].amount.to_decimal(offer.accepts[0].asset.decimals);
    loaded.offers.iter().map(|offer| format!("{} {}", offer.id.name, price(offer))).collect()
}

/// Waits until what is loaded is as it should be.
pub(crate) async fn until(watch: &mut Watch, what: &str, is_so: impl Fn(&Loaded) -> bool) -> Loaded {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            let loaded = watch.loaded();
            if is_so(&loaded) {
                return loaded;
            }
            watch.changed().await.expect("a watch that lives");
        }
    });
    match waited.await {
        Ok(loaded) => loaded,
        Err(_) => panic!("{what} did not come: {:#?}", watch.loaded()),
    }
}

/// Waits until exactly these are sold, and nothing is at fault.
pub(crate) async fn until_sold(watch: &mut Watch, sold: &[&str]) -> Loaded {
    until(watch, &format!("{sold:?}"), |loaded| prices(loaded) == sold && loaded.faults.is_empty()).await
}
