//! Which resources are sold through this facilitator: what settled payments declare of themselves,
//! for buyers to find. A settlement is over before any of this begins, and nothing here changes what
//! is answered to it but one header.

mod catalog;
mod file;
mod query;
mod schema;

pub use file::DiscoveryError;
pub(crate) use query::{Query, QueryError};

use crate::Caller;
use bytes::Bytes;
use catalog::{Accepted, Catalog, Entry, Full};
use obol_core::{Payment, Requirement};
use obol_wire::discovery::{ExtensionResponse, Listing, RouteTemplate, Terms, Unlisted};
use schema::Unfit;
use serde::Serialize;
use serde_json::Value;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Notify, Semaphore, watch};

/// How long the answer to a settlement waits to tell whether the resource is listed.
const PATIENCE: Duration = Duration::from_millis(250);

/// Declarations that are looked at at once: settlements have the other processors.
const AT_ONCE: usize = 2;

/// Between two changes of the file.
const PACE: Duration = Duration::from_secs(2);

/// The catalogue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Discovery {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Held for moments only, and never while something is awaited.
    catalog: Mutex<Catalog>,
    changed: Notify,
    room: Arc<Semaphore>,
}

/// Why a resource that was paid for is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Rejected {
    #[error(transparent)]
    Unlisted(#[from] Unlisted),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("the facilitator is busy; the next payment is looked at")]
    Busy,
}

/// A declaration as it is told to others.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    info: &'a Value,
    schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_template: Option<&'a RouteTemplate>,
}

impl Discovery {
    /// Reads what is kept in a file, and makes the file when it is not there. One that cannot be written
    /// at the moment keeps nobody from settling.
    pub fn open(path: PathBuf) -> Result<Self, DiscoveryError> {
        // A link stays one: what it leads to is replaced.
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        let (changed, room) = (Notify::new(), Arc::new(Semaphore::new(AT_ONCE)));
        let catalog = match file::read(&path)? {
            Some(entries) => {
                changed.notify_one();
                Catalog::of(entries)
            }
            None => {
                file::write(&path, &[])?;
                Catalog::of(Vec::new())
            }
        };
        Ok(Self { shared: Arc::new(Shared { path, catalog: Mutex::new(catalog), changed, room }) })
    }

    /// Keeps the file up to date until `stop` is set, and then once more. What cannot be written is tried
    /// again.
    pub async fn keep(self, mut stop: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.shared.changed.notified() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            self.attempt(&mut failing).await;
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if let Err(error) = self.save().await {
            tracing::error!(%error, "what was listed since the file was last written is lost");
        }
    }

    async fn attempt(&self, failing: &mut bool) {
        let saved = self.save().await;
        match &saved {
            Ok(()) if *failing => tracing::info!("what is listed is kept in the file again"),
            Ok(()) => {}
            Err(error) => {
                self.shared.changed.notify_one();
                if !*failing {
                    tracing::error!(%error, "what is listed is kept in memory only, until it can be written");
                }
            }
        }
        *failing = saved.is_err();
    }

    async fn save(&self) -> Result<(), DiscoveryError> {
        let shared = Arc::clone(&self.shared);
        let saved = tokio::task::spawn_blocking(move || {
            let entries = shared.fresh(unix_now());
            file::write(&shared.path, &entries)
        });
        saved.await.unwrap_or_else(|error| {
            let file = self.shared.path.display().to_string();
            Err(DiscoveryError::Unwritten { file, error: std::io::Error::other(error) })
        })
    }

    /// Lists what a settled payment was for, when its payload declares it. The body is that of
    /// `/settle`; `None` when there is no declaration in it.
    pub(crate) async fn list(
        &self,
        body: Bytes,
        caller: &Caller,
        requirement: &Requirement,
        payment: &Payment,
    ) -> Option<ExtensionResponse> {
        let Ok(room) = Arc::clone(&self.shared.room).try_acquire_owned() else {
            return Listing::read(&body).map(|_| told(caller, Err(Rejected::Busy)));
        };
        let accepted = accepted(requirement, payment);
        let (shared, owner) = (Arc::clone(&self.shared), caller.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let listed = Listing::read(&body)?.map_err(Rejected::from);
            let listed = listed.and_then(|listing| shared.list(&listing, accepted, &owner));
            drop(room);
            Some(listed)
        });
        match tokio::time::timeout(PATIENCE, looked).await {
            Ok(Ok(listed)) => listed.map(|listed| told(caller, listed)),
            Ok(Err(error)) => {
                tracing::error!(%error, ?caller, "a declaration could not be looked at");
                None
            }
            Err(_) => Some(told(caller, Err(Rejected::Busy))),
        }
    }

    pub(crate) fn page(&self, query: &Query) -> String {
        let now = unix_now();
        query.page(&self.shared.fresh(now), now)
    }
}

impl Shared {
    fn list(&self, listing: &Listing, accepted: Accepted, caller: &Caller) -> Result<(), Rejected> {
        schema::check(&listing.info, &listing.schema)?;
        let Listing { resource, call, about, info, schema, route_template } = listing;
        let declaration = Declaration { info, schema, route_template: route_template.as_ref() };
        let entry = Entry {
            caller: caller.name().to_owned(),
            resource: resource.clone(),
            call: call.clone(),
            about: about.clone(),
            accepts: vec![accepted],
            bazaar: serde_json::value::to_raw_value(&declaration).map_err(|_| Unlisted::Form)?,
        };
        let mut catalog = self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        catalog.put(entry, caller, unix_now())?;
        drop(catalog);
        self.changed.notify_one();
        Ok(())
    }

    fn fresh(&self, now: u64) -> Vec<Arc<Entry>> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner).fresh(now)
    }
}

/// A payment that is asked about again later keeps nothing fresh for longer than it was valid.
fn accepted(requirement: &Requirement, payment: &Payment) -> Accepted {
    let valid_until = u64::try_from(payment.authorization.valid_before).unwrap_or(u64::MAX);
    Accepted { terms: Terms::from(requirement), paid: unix_now().min(valid_until) }
}

fn told(caller: &Caller, listed: Result<(), Rejected>) -> ExtensionResponse {
    match listed {
        Ok(()) => ExtensionResponse::Success,
        Err(why) => {
            tracing::debug!(?caller, %why, "a resource is not listed");
            ExtensionResponse::Rejected(why.to_string())
        }
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
