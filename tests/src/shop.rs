use crate::{Others, SellerOptions, Till, Upstream, price};
use anyhow::{Result, bail, ensure};
use obol_core::{Charge, Disconnect, Offer, OfferId, Pattern};
use obol_devchain::{CHAIN, Devchain, Mining, Options};
use obol_ledger::{PaymentId, PaymentRecord};
use obol_verifier::{ForwardAuth, Limits, TrustedProxies};
use std::{
    ops::Deref,
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How a shop is set up.
#[derive(Clone, Debug)]
pub struct ShopOptions {
    pub seller: SellerOptions,
    pub mining: Mining,
    /// The endpoint that the shop reads and settles through; the chain itself when `None`.
    pub rpc: Option<String>,
    pub trusted: TrustedProxies,
    pub forward_auth: ForwardAuth,
    pub max_sales: usize,
    pub limits: Limits,
    /// Who settles in the shop's place.
    pub others: Option<Others>,
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
            forward_auth: ForwardAuth::default(),
            max_sales: 1_000,
            limits: Limits { header_read: Duration::from_secs(2), ..Limits::default() },
            others: None,
            ledger_refuses: false,
        }
    }
}

/// A gate with a ledger on a file and a local chain of its own.
pub struct Shop {
    pub chain: Devchain,
    folder: TempDir,
    till: Till,
}

impl Deref for Shop {
    type Target = Till;

    fn deref(&self) -> &Till {
        &self.till
    }
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
        let till = Till::open(&chain, &ledger_file(&folder), options).await?;
        Ok(Self { chain, folder, till })
    }

    /// A second gate on the same ledger and chain, with nothing to sell yet.
    pub async fn second_till(&self, options: ShopOptions) -> Result<Till> {
        Till::open(&self.chain, &self.ledger_file(), options).await
    }

    /// 0.01 USDC for each request at `path` and below.
    pub fn offer(&self, path: &str, upstream: &Upstream) -> Offer {
        Offer {
            id: OfferId { namespace: "demo".to_owned(), name: path.trim_matches('/').replace('/', "-") },
            description: "a service of the tests".to_owned(),
            host: None,
            path: Pattern::Below(path.to_owned()),
            upstream: obol_core::Upstream {
                base: Some(upstream.base().to_owned()),
                strip: path.trim_end_matches('/').to_owned(),
                authorization: None,
                header_timeout: Duration::from_secs(10),
            },
            accepts: vec![price(self.chain.seller())],
            charge: Charge::BeforeBody,
            on_disconnect: Disconnect::Release,
            paused: false,
            sunset: None,
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

    /// Stops as at a restart of the program, and opens again on the same ledger and chain.
    pub async fn reopen(self, options: ShopOptions) -> Result<Self> {
        let Self { chain, folder, till } = self;
        till.stop().await?;
        Self::open_in(chain, folder, options).await
    }

    /// Stops, after checking that the ledger and the chain tell the same story.
    pub async fn close(self) -> Result<()> {
        self.check_books().await?;
        self.till.stop().await?;
        self.chain.stop().await;
        Ok(())
    }

    /// Stops, and leaves what is owed as it is.
    pub async fn abandon(self) -> Result<()> {
        self.till.stop().await?;
        self.chain.stop().await;
        Ok(())
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
