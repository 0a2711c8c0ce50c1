use crate::{SellerOptions, ShopOptions, chain_of};
use anyhow::{Result, ensure};
use obol_core::{ChainId, Offer, Registry};
use obol_devchain::{CHAIN, Devchain};
use obol_evm::{Key, Rpc};
use obol_facilitator::{ChainSetup, Facilitator, RemoteSetup, SettlerState, Timing};
use obol_facilitator_client::{Client, Url};
use obol_ledger::{Clock, Ledger, Place};
use obol_verifier::{Catalog, Gate, Parts, serve_admin, serve_gate};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Facilitators that settle in a shop's place.
#[derive(Clone, Debug)]
pub struct Others {
    /// The preferred first.
    pub urls: Vec<String>,
    /// Whether the shop has an endpoint of the chain by which it can check what they say.
    pub sees: bool,
}

impl Others {
    fn setup(&self, ours: ChainSetup, timing: Timing) -> Result<RemoteSetup> {
        let client = |url: &String| -> Result<Client> {
            let registry = Arc::new(Registry::built_in());
            Ok(Client::new(Url::parse(url)?, None, registry, timing.answer_budget())?)
        };
        Ok(RemoteSetup {
            chain: ours.chain,
            facilitators: self.urls.iter().map(client).collect::<Result<_>>()?,
            rpc: self.sees.then_some(ours.rpc),
            gas: ours.gas,
            factories: ours.factories,
        })
    }
}

/// One gate on loopback, with its own handle on a ledger that several may share.
pub struct Till {
    pub ledger: Ledger,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    catalog: Arc<Catalog>,
    facilitator: Arc<Facilitator>,
    stop: watch::Sender<bool>,
    servers: [JoinHandle<()>; 2],
}

impl Till {
    pub(crate) async fn open(chain: &Devchain, file: &Path, options: ShopOptions) -> Result<Self> {
        static TILLS: AtomicU64 = AtomicU64::new(0);
        // `RUST_LOG=debug` shows what a failing test's gate did; a second gate finds it set.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let who = format!("till-{}", TILLS.fetch_add(1, Ordering::Relaxed));
        let ledger = Ledger::open(&Place::File(file), Clock::System, who)?;
        let setup = setup(chain, options.rpc.as_deref(), &options.seller)?;
        let (ours, others) = match &options.others {
            None => (vec![setup], Vec::new()),
            Some(others) => (Vec::new(), vec![others.setup(setup, options.seller.timing)?]),
        };
        let catalog = Arc::new(Catalog::new(Arc::new(Registry::built_in()), [CHAIN]));
        catalog.observe(&ledger)?;
        let facilitator = Arc::new(Facilitator::start(&ledger, ours, others, options.seller.timing));
        let gate = Gate::new(Parts {
            catalog: Arc::clone(&catalog),
            registry: Arc::new(Registry::built_in()),
            ledger: if options.ledger_refuses { Ledger::open_read_only(file)? } else { ledger.clone() },
            facilitator: Arc::clone(&facilitator),
            trusted: options.trusted,
            forward_auth: options.forward_auth,
            max_sales: options.max_sales,
        })?;
        let (stop, stopped) = watch::channel(false);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let health = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, admin) = (listener.local_addr()?, health.local_addr()?);
        let servers = [
            tokio::spawn(serve_gate(gate.clone(), listener, options.limits, stopped.clone())),
            tokio::spawn(serve_admin(gate, health, options.limits, stopped)),
        ];
        Ok(Self { ledger, address, admin, catalog, facilitator, stop, servers })
    }

    /// What is sold here from now on.
    pub fn publish(&self, offers: &[Offer]) -> Result<()> {
        let offers: Vec<_> = offers.iter().cloned().map(Arc::new).collect();
        let conflicts = self.catalog.publish(&offers, 0);
        ensure!(conflicts.is_empty(), "{conflicts:?}");
        Ok(())
    }

    /// What each chain's settler can do at the moment.
    pub fn settler_states(&self) -> impl Iterator<Item = (ChainId, SettlerState)> {
        self.facilitator.states()
    }

    /// Begins a shutdown: running responses may finish.
    pub fn begin_stop(&self) {
        // Servers that have ended by themselves have stopped.
        let _ = self.stop.send(true);
    }

    /// Whether it serves nobody any more, and left nothing that it has to write down.
    pub fn has_ended(&self) -> bool {
        self.servers.iter().all(JoinHandle::is_finished)
    }

    /// Stops, and waits until all has ended.
    pub async fn stop(self) -> Result<()> {
        self.begin_stop();
        for server in self.servers {
            server.await?;
        }
        self.facilitator.stop().await;
        Ok(())
    }
}

pub(crate) fn setup(chain: &Devchain, rpc: Option<&str>, seller: &SellerOptions) -> Result<ChainSetup> {
    Ok(ChainSetup {
        chain: chain_of(seller.finality),
        rpc: Rpc::new(rpc.unwrap_or(chain.url()), Duration::from_secs(5))?,
        settler: Key::from_bytes(chain.settler().key)?,
        gas: seller.gas,
        factories: seller.factories.clone(),
    })
}
