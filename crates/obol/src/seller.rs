//! The seller's side in one process: ledger, facilitator, gate, and the offers that it sells.

use crate::{endpoint::Endpoint, exit::Failure};
use alloy_primitives::Address;
use obol_api::{Fault, Loaded, Sources};
use obol_core::{Asset, ChainId, Offer, Registry};
use obol_evm::{check_asset, check_chain};
use obol_facilitator::{ChainSetup, Facilitator, RemoteSetup, Timing};
use obol_ledger::{Attendant, Awaited, Ledger};
use obol_verifier::{Catalog, ForwardAuth, Gate, Limits, Parts, TrustedProxies, serve_admin, serve_gate};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// What a seller is started with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) registry: Arc<Registry>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) chains: Vec<ChainSetup>,
    pub(crate) remotes: Vec<RemoteSetup>,
    pub(crate) ledger: Ledger,
    pub(crate) offers: PathBuf,
    pub(crate) pricing: Option<PathBuf>,
    pub(crate) listener: TcpListener,
    pub(crate) admin: TcpListener,
    pub(crate) trusted: TrustedProxies,
    pub(crate) forward_auth: ForwardAuth,
    pub(crate) timing: Timing,
    /// The only accounts that offers may pay to; any if not given.
    pub(crate) payees: Option<HashSet<Address>>,
    pub(crate) max_sales: usize,
    pub(crate) limits: Limits,
}

/// A running seller.
pub(crate) struct Seller {
    gate: Gate,
    selling: JoinHandle<()>,
    stop_selling: watch::Sender<bool>,
    admin: JoinHandle<()>,
    stop_admin: watch::Sender<bool>,
    facilitator: Arc<Facilitator>,
}

impl Seller {
    pub(crate) fn start(setup: Setup) -> Result<Self, Failure> {
        let limits = obol_api::Limits {
            settle_and_skew: setup.timing.settle_budget + setup.timing.clock_skew,
            payees: setup.payees,
        };
        let served = setup.chains.iter().map(|setup| setup.chain.id);
        let served: HashSet<_> = served.chain(setup.remotes.iter().map(|setup| setup.chain.id)).collect();
        let catalog = Arc::new(Catalog::new(Arc::clone(&setup.registry), served.iter().copied()));
        let sources = Sources {
            offers: setup.offers.clone(),
            pricing: setup.pricing,
            registry: Arc::clone(&setup.registry),
            limits,
        };
        let places = match &sources.pricing {
            Some(file) => vec![setup.offers, file.clone()],
            None => vec![setup.offers],
        };
        let watch = sources.watch().map_err(|error| Failure::config(format!("--offers: {error}")))?;
        let mut publisher = Publisher {
            places,
            catalog: Arc::clone(&catalog),
            endpoints: setup.endpoints.clone(),
            served,
            known_faults: HashSet::new(),
            known_notes: HashSet::new(),
            known_assets: HashSet::new(),
            sells: true,
        };
        // Before anything settles: what was on its way when the last process ended is counted, too.
        catalog.observe(&setup.ledger).map_err(|error| Failure::failed(format!("--ledger: {error}")))?;
        publisher.publish(&watch.loaded());
        let facilitator = start_facilitator(&setup.ledger, setup.chains, setup.remotes, setup.timing);
        let gate = Gate::new(Parts {
            catalog,
            registry: setup.registry,
            ledger: setup.ledger,
            facilitator: Arc::clone(&facilitator),
            trusted: setup.trusted,
            forward_auth: setup.forward_auth,
            max_sales: setup.max_sales,
        })
        .map_err(|error| Failure::failed(format!("cannot read this machine's certificates: {error}")))?;
        let (stop_selling, stopped) = watch::channel(false);
        let selling = tokio::spawn(serve_gate(gate.clone(), setup.listener, setup.limits, stopped));
        let (stop_admin, stopped) = watch::channel(false);
        let admin = tokio::spawn(serve_admin(gate.clone(), setup.admin, setup.limits, stopped));
        tokio::spawn(check_chains(setup.endpoints));
        tokio::spawn(publisher.follow(watch));
        Ok(Self { gate, selling, stop_selling, admin, stop_admin, facilitator })
    }

    /// Lets responses, sales and settlements finish what they began. Health is answered to the
    /// end, and says from the start that no more buyers should be sent.
    pub(crate) async fn stop(self) {
        self.gate.retire();
        // Without receivers the servers have ended by themselves, and so have their tasks.
        let _ = self.stop_selling.send(true);
        let _ = self.selling.await;
        self.facilitator.stop().await;
        let _ = self.stop_admin.send(true);
        let _ = self.admin.await;
        tracing::info!("stopped");
    }
}

/// Verifies and settles; says once what it finds owed that it will not settle.
pub(crate) fn start_facilitator(
    ledger: &Ledger,
    chains: Vec<ChainSetup>,
    remotes: Vec<RemoteSetup>,
    timing: Timing,
) -> Arc<Facilitator> {
    let facilitator = Facilitator::start(ledger, chains, remotes, timing);
    tokio::spawn(tell_unattended(ledger.clone(), facilitator.attendants().collect()));
    Arc::new(facilitator)
}

/// Says what is owed that this process will not settle: on a chain that it has no endpoint of, with a
/// transaction of another settler's, or by a facilitator that it does not know.
async fn tell_unattended(ledger: Ledger, attendants: Vec<Attendant>) {
    match ledger.unattended(attendants).await {
        Ok(owed) => {
            for (chain, awaited, payments) in owed {
                let awaited = match awaited {
                    Awaited::Settler(account) => format!("settler {account} and --rpc {chain}=<URL>"),
                    Awaited::AnySettler => format!("a settler and --rpc {chain}=<URL>"),
                    Awaited::Anybody => {
                        format!("--facilitator {chain}=<URL>, or a settler and --rpc {chain}=<URL>")
                    }
                    Awaited::Facilitator(url) => format!("--facilitator {chain}={url}, which was asked"),
                };
                tracing::error!(%chain, payments, "owed, and not settled here: they wait for {awaited}");
            }
        }
        Err(error) => tracing::warn!(%error, "cannot look for payments that nobody settles"),
    }
}

/// Publishes each load of what is written.
struct Publisher {
    places: Vec<PathBuf>,
    catalog: Arc<Catalog>,
    endpoints: Vec<Endpoint>,
    /// Chains on which payments are taken.
    served: HashSet<ChainId>,
    /// What was said already: each once, not at every reload.
    known_faults: HashSet<String>,
    known_notes: HashSet<String>,
    known_assets: HashSet<Arc<Asset>>,
    sells: bool,
}

impl Publisher {
    /// For as long as it is watched.
    async fn follow(mut self, mut written: obol_api::Watch) {
        while written.changed().await.is_ok() {
            self.publish(&written.loaded());
        }
    }

    fn publish(&mut self, loaded: &Loaded) {
        let (offers, unreached) = sellable(&loaded.offers, &self.served);
        let conflicts = self.catalog.publish(&offers, loaded.faults.len() + unreached.len());
        let faults = loaded.faults.iter().map(Fault::to_string);
        let faults: HashSet<_> =
            faults.chain(unreached).chain(conflicts.iter().map(ToString::to_string)).collect();
        faults.difference(&self.known_faults).for_each(|fault| tracing::error!("{fault}"));
        for note in loaded.notes.iter().map(Fault::to_string) {
            if !self.known_notes.contains(&note) {
                tracing::warn!("{note}");
                self.known_notes.insert(note);
            }
        }
        let asked =
            offers.iter().flat_map(|offer| &offer.accepts).map(|required| Arc::clone(&required.asset));
        let new: Vec<_> = asked.filter(|asset| self.known_assets.insert(Arc::clone(asset))).collect();
        tokio::spawn(check_assets(new, self.endpoints.clone()));
        let selling = offers.len() - conflicts.len();
        tracing::info!(offers = selling, faults = faults.len(), "offers are loaded");
        if std::mem::replace(&mut self.sells, selling > 0) && !self.sells {
            tracing::warn!("{}", nothing_sold(&self.places, faults.len()));
        }
        self.known_faults = faults;
    }
}

fn nothing_sold(places: &[PathBuf], faults: usize) -> String {
    let absolute = |place: &PathBuf| std::path::absolute(place).unwrap_or_else(|_| place.clone());
    let places: Vec<_> = places.iter().map(|place| absolute(place).display().to_string()).collect();
    let why = match (faults, places.len()) {
        (0, 1) => "it has no ServiceOffer in a file *.yaml, *.yml or *.json (folders below it are not read)",
        (0, _) => {
            "the folder has no ServiceOffer in a file *.yaml, *.yml or *.json (folders below it are not read), \
             and the file no route"
        }
        (_, _) => "the faults above say why",
    };
    format!("nothing is sold: no offer of {} can be; {why}", places.join(" and "))
}

/// The offers all of whose chains this process reaches, and what is wrong with the others.
fn sellable(offers: &[Arc<Offer>], served: &HashSet<ChainId>) -> (Vec<Arc<Offer>>, Vec<String>) {
    let mut reached = Vec::new();
    let mut faults = Vec::new();
    for offer in offers {
        match offer.accepts.iter().find(|required| !served.contains(&required.asset.chain)) {
            None => reached.push(Arc::clone(offer)),
            Some(required) => {
                let chain = required.asset.chain;
                faults.push(format!(
                    "{} is not served: it is paid on {chain}; add --rpc {chain}=<URL>, or --facilitator {chain}=<URL>",
                    offer.id
                ));
            }
        }
    }
    (reached, faults)
}

/// Says early what would otherwise show as refused payments. Nothing waits for it: verification
/// checks the chain's id with each read.
pub(crate) async fn check_chains(endpoints: Vec<Endpoint>) {
    for endpoint in endpoints {
        if let Err(error) = check_chain(&endpoint.rpc, endpoint.chain.id).await {
            tracing::error!(chain = %endpoint.chain.id, "{error}; offers on this chain cannot be paid now");
        }
    }
}

/// Says early that payments in an asset would be signed in vain.
async fn check_assets(assets: Vec<Arc<Asset>>, endpoints: Vec<Endpoint>) {
    for asset in assets {
        let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.chain.id == asset.chain) else {
            continue;
        };
        if let Err(error) = check_asset(&endpoint.rpc, &asset).await {
            tracing::error!("{error}; offers that are paid in it cannot be paid");
        }
    }
}

/// A name for this process among those that may share a ledger.
pub(crate) fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}:{}:{started:x}", host.trim(), std::process::id())
}
