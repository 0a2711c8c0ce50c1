//! The seller's side in one process: ledger, facilitator, gate, and the offers that it sells.

use crate::{endpoint::Endpoint, exit::Failure};
use alloy_primitives::Address;
use obol_api::{Fault, Folder, Loaded};
use obol_core::{Asset, ChainId, Offer, Registry};
use obol_evm::{Key, check_asset, check_chain};
use obol_facilitator::{ChainSetup, Facilitator, GasCeilings, Timing};
use obol_ledger::Ledger;
use obol_verifier::{Catalog, Gate, Limits, Parts, TrustedProxies, serve_admin, serve_gate};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// What a seller is started with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) registry: Arc<Registry>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) settler: Key,
    pub(crate) ledger: Ledger,
    pub(crate) offers: PathBuf,
    pub(crate) listener: TcpListener,
    pub(crate) admin: TcpListener,
    pub(crate) trusted: TrustedProxies,
    pub(crate) timing: Timing,
    pub(crate) gas: GasCeilings,
    /// The only accounts that offers may pay to; any if not given.
    pub(crate) payees: Option<HashSet<Address>>,
    /// Wallet factories whose deployments are paid for.
    pub(crate) factories: Vec<Address>,
    pub(crate) max_sales: usize,
    pub(crate) limits: Limits,
}

/// A running seller.
pub(crate) struct Seller {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    facilitator: Arc<Facilitator>,
}

impl Seller {
    pub(crate) fn start(setup: Setup) -> Result<Self, Failure> {
        let limits = obol_api::Limits {
            settle_and_skew: setup.timing.settle_budget + setup.timing.clock_skew,
            payees: setup.payees,
        };
        let chains = setup
            .endpoints
            .iter()
            .map(|endpoint| ChainSetup {
                chain: Arc::clone(&endpoint.chain),
                rpc: endpoint.rpc.clone(),
                settler: setup.settler.clone(),
                gas: setup.gas,
                factories: setup.factories.clone(),
            })
            .collect();
        let facilitator = Arc::new(Facilitator::start(&setup.ledger, chains, setup.timing));
        let catalog = Arc::new(Catalog::default());
        let gate = Gate::new(Parts {
            catalog: Arc::clone(&catalog),
            registry: Arc::clone(&setup.registry),
            ledger: setup.ledger,
            facilitator: Arc::clone(&facilitator),
            trusted: setup.trusted,
            max_sales: setup.max_sales,
        })
        .map_err(|error| Failure::failed(format!("cannot read this machine's certificates: {error}")))?;
        let folder = Folder::watch(&setup.offers, Arc::clone(&setup.registry), limits)
            .map_err(|error| Failure::config(format!("--offers: {error}")))?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_gate(gate.clone(), setup.listener, setup.limits, stopped.clone()));
        tasks.spawn(serve_admin(gate, setup.admin, setup.limits, stopped));
        let endpoints = setup.endpoints;
        let registry = setup.registry;
        tokio::spawn(check_chains(endpoints.clone()));
        tokio::spawn(publish(folder, catalog, registry, endpoints));
        Ok(Self { tasks, stop, facilitator })
    }

    /// Lets responses and settlements finish what they began.
    pub(crate) async fn stop(self) {
        // Without receivers the servers have ended by themselves.
        let _ = self.stop.send(true);
        self.tasks.join_all().await;
        match Arc::try_unwrap(self.facilitator) {
            Ok(facilitator) => facilitator.stop().await,
            // A response that outlived its grace still holds it; the ledger has all that matters.
            Err(_) => tracing::warn!("stopping before the settler: its lease ends by itself"),
        }
    }
}

/// Publishes each load of the folder for as long as the folder is watched.
async fn publish(
    mut folder: obol_api::Watch,
    catalog: Arc<Catalog>,
    registry: Arc<Registry>,
    endpoints: Vec<Endpoint>,
) {
    let served: HashSet<ChainId> = endpoints.iter().map(|endpoint| endpoint.chain.id).collect();
    let mut known_faults: HashSet<String> = HashSet::new();
    let mut known_assets: HashSet<Arc<Asset>> = HashSet::new();
    loop {
        let loaded = folder.loaded();
        known_faults = report(&loaded, &known_faults);
        let offers = sellable(&loaded.offers, &served);
        for conflict in catalog.publish(&offers, &registry) {
            tracing::error!("{conflict}");
        }
        let asked =
            offers.iter().flat_map(|offer| &offer.accepts).map(|required| Arc::clone(&required.asset));
        let new: Vec<_> = asked.filter(|asset| known_assets.insert(Arc::clone(asset))).collect();
        tokio::spawn(check_assets(new, endpoints.clone()));
        tracing::info!(offers = offers.len(), faults = loaded.faults.len(), "offers are loaded");
        if folder.changed().await.is_err() {
            return;
        }
    }
}

/// Logs what is wrong, once.
fn report(loaded: &Loaded, known: &HashSet<String>) -> HashSet<String> {
    let faults: HashSet<String> = loaded.faults.iter().map(Fault::to_string).collect();
    for fault in &faults {
        if !known.contains(fault) {
            tracing::error!("{fault}");
        }
    }
    faults
}

/// The offers all of whose chains this process reaches.
fn sellable(offers: &[Arc<Offer>], served: &HashSet<ChainId>) -> Vec<Arc<Offer>> {
    let reached = |offer: &&Arc<Offer>| {
        let missing = offer.accepts.iter().find(|requirement| !served.contains(&requirement.asset.chain));
        if let Some(requirement) = missing {
            let chain = requirement.asset.chain;
            tracing::error!(offer = %offer.id, "is not served: it is paid on {chain}; add --rpc {chain}=<URL>");
        }
        missing.is_none()
    };
    offers.iter().filter(reached).cloned().collect()
}

/// Says early what would otherwise show as refused payments. Nothing waits for it: verification
/// checks the chain's id with each read.
async fn check_chains(endpoints: Vec<Endpoint>) {
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
