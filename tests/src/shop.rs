use crate::{SellerOptions, Upstream, chain_of, price};
use anyhow::{Context, Result, bail, ensure};
use obol_core::{Charge, Disconnect, Offer, OfferId, Registry};
use obol_devchain::{CHAIN, Devchain, Mining, Options};
use obol_evm::{Key, Rpc};
use obol_facilitator::{ChainSetup, Facilitator};
use obol_ledger::{Clock, Ledger, PaymentId, PaymentRecord, Place};
use obol_verifier::{Catalog, Gate, Limits, Parts, TrustedProxies, serve_admin, serve_gate};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// How a shop is set up.
#[derive(Clone, Debug)]
pub struct ShopOptions {
    pub seller: SellerOptions,
    pub mining: Mining,
    /// The endpoint that the shop reads and settles through; the chain itself when `None`.
    pub rpc: Option<String>,
    pub trusted: TrustedProxies,
    pub max_sales: usize,
    pub limits: Limits,
    /// Opens the ledger so that every write fails.
    pub ledger_refuses: bool,
}

impl Default for ShopOptions {
    fn default() -> Self {
        Self {
            seller: SellerOptions::default(),
            mining: Mining::default(),
            rpc: None,
            trusted: TrustedProxies::default(),
            max_sales: 1_000,
            limits: Limits { header_read: Duration::from_secs(2), ..Limits::default() },
            ledger_refuses: false,
        }
    }
}

/// The gate on loopback, with a ledger on a file and a local chain of its own.
pub struct Shop {
    pub chain: Devchain,
    pub ledger: Ledger,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    catalog: Arc<Catalog>,
    facilitator: Arc<Facilitator>,
    folder: TempDir,
    stop: watch::Sender<bool>,
    servers: [JoinHandle<()>; 2],
}

/// How long payments may take to come to rest before that is a fault.
const PATIENCE: Duration = Duration::from_secs(30);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Shop {
    pub async fn open(options: ShopOptions) -> Result<Self> {
        let chain = Devchain::start(Options { mining: options.mining, ..Options::default() }).await?;
        Self::open_on(chain, options).await
    }

    /// As [`Self::open`], on a chain that runs already.
    pub async fn open_on(chain: Devchain, options: ShopOptions) -> Result<Self> {
        Self::open_in(chain, tempfile::tempdir()?, options).await
    }

    async fn open_in(chain: Devchain, folder: TempDir, options: ShopOptions) -> Result<Self> {
        static SHOPS: AtomicU64 = AtomicU64::new(0);
        // `RUST_LOG=debug` shows what a failing test's shop did; a second shop finds it set.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let who = format!("shop-{}", SHOPS.fetch_add(1, Ordering::Relaxed));
        let file = ledger_file(&folder);
        let ledger = Ledger::open(&Place::File(&file), Clock::System, who)?;
        let setup = ChainSetup {
            chain: chain_of(options.seller.finality),
            rpc: Rpc::new(options.rpc.as_deref().unwrap_or(chain.url()), Duration::from_secs(5))?,
            settler: Key::from_bytes(chain.settler().key)?,
            gas: options.seller.gas,
            factories: Vec::new(),
        };
        let facilitator = Arc::new(Facilitator::start(&ledger, vec![setup], options.seller.timing));
        let catalog = Arc::new(Catalog::default());
        let gate = Gate::new(Parts {
            catalog: Arc::clone(&catalog),
            registry: Arc::new(Registry::built_in()),
            ledger: if options.ledger_refuses { Ledger::open_read_only(&file)? } else { ledger.clone() },
            facilitator: Arc::clone(&facilitator),
            trusted: options.trusted,
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
        Ok(Self { chain, ledger, address, admin, catalog, facilitator, folder, stop, servers })
    }

    /// What is sold from now on.
    pub fn publish(&self, offers: &[Offer]) -> Result<()> {
        let offers: Vec<_> = offers.iter().cloned().map(Arc::new).collect();
        let conflicts = self.catalog.publish(&offers, &Registry::built_in());
        ensure!(conflicts.is_empty(), "{conflicts:?}");
        Ok(())
    }

    /// 0.01 USDC for each request at `path` and below.
    pub fn offer(&self, path: &str, upstream: &Upstream) -> Offer {
        Offer {
            id: OfferId { namespace: "demo".to_owned(), name: path.trim_matches('/').replace('/', "-") },
            description: "a service of the tests".to_owned(),
            host: None,
            path: path.to_owned(),
            upstream: obol_core::Upstream {
                base: upstream.base().to_owned(),
                authorization: None,
                header_timeout: Duration::from_secs(10),
            },
            accepts: vec![price(self.chain.seller())],
            charge: Charge::BeforeBody,
            on_disconnect: Disconnect::Release,
            paused: false,
        }
    }

    /// Publishes that offer alone.
    pub fn sell(&self, path: &str, upstream: &Upstream) -> Result<()> {
        self.publish(&[self.offer(path, upstream)])
    }

    pub fn ledger_file(&self) -> PathBuf {
        ledger_file(&self.folder)
    }

    /// Every payment that the ledger knows, in the order in which they came.
    pub async fn payments(&self) -> Result<Vec<PaymentRecord>> {
        Ok(self.ledger.list(PaymentId(0), u32::MAX).await?)
    }

    /// Waits until the ledger's only payment is as asked.
    pub async fn until_payment(&self, is: impl Fn(&PaymentRecord) -> bool) -> Result<PaymentRecord> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let payments = self.payments().await?;
            match payments.as_slice() {
                [payment] if is(payment) => return Ok(payment.clone()),
                _ if Instant::now() > deadline => bail!("the payment did not become as asked: {payments:?}"),
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Begins a shutdown: running responses may finish.
    pub fn begin_stop(&self) {
        // Servers that have ended by themselves have stopped.
        let _ = self.stop.send(true);
    }

    /// Stops as at a restart of the program, and opens again on the same ledger and chain.
    pub async fn reopen(self, options: ShopOptions) -> Result<Self> {
        let (chain, folder) = self.stop().await?;
        Self::open_in(chain, folder, options).await
    }

    /// Stops, after checking that the ledger and the chain tell the same story.
    pub async fn close(self) -> Result<()> {
        self.check_books().await?;
        let (chain, _folder) = self.stop().await?;
        chain.stop().await;
        Ok(())
    }

    async fn stop(self) -> Result<(Devchain, TempDir)> {
        self.begin_stop();
        for server in self.servers {
            server.await?;
        }
        // Sales that outlive their connections hold the facilitator.
        let deadline = Instant::now() + PATIENCE;
        while Arc::strong_count(&self.facilitator) > 1 {
            ensure!(Instant::now() < deadline, "a sale has not ended");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Arc::into_inner(self.facilitator).context("a sale began after the stop")?.stop().await;
        Ok((self.chain, self.folder))
    }

    /// Waits until nothing is owed, then compares each transfer to the seller with the ledger.
    async fn check_books(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.ledger.owed(CHAIN).await?.is_empty() {
            ensure!(Instant::now() < deadline, "still owed: {:?}", self.ledger.owed(CHAIN).await?);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let seller = self.chain.seller().address;
        let transfers = self.chain.transfer_events(0).await?;
        let mut on_chain: Vec<_> = transfers
            .iter()
            .filter(|transfer| transfer.to == seller)
            .map(|transfer| (transfer.transaction, transfer.log_index, transfer.from, transfer.value))
            .collect();
        let payments = self.payments().await?;
        let mut in_ledger: Vec<_> = payments
            .iter()
            .filter(|payment| payment.state().is_paid())
            .filter_map(|payment| {
                let at = payment.inclusion?;
                Some((at.tx, at.log_index, payment.key.payer, payment.amount))
            })
            .collect();
        on_chain.sort_unstable();
        in_ledger.sort_unstable();
        ensure!(on_chain == in_ledger, "the chain says {on_chain:?}, the ledger {in_ledger:?}");
        Ok(())
    }
}

fn ledger_file(folder: &TempDir) -> PathBuf {
    folder.path().join("ledger.db")
}
