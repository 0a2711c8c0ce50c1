use crate::Sale;
use alloy_primitives::{Address, B256};
use anyhow::{Result, bail};
use obol_core::{Amount, Chain, Finality, OfferId, Payment, Registry, Requirement};
use obol_devchain::{Account, CHAIN, Devchain};
use obol_evm::{Key, Rpc};
use obol_facilitator::{ChainSetup, Facilitator, GasCeilings, Timing};
use obol_ledger::{Clock, Held, Ledger, Origin, Outcome, Owing, Place, Reservation, held};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// 0.01 USDC to the seller's account, for ten minutes.
pub fn price(seller: Account) -> Requirement {
    let registry = Registry::built_in();
    Requirement {
        asset: Arc::clone(registry.default_asset(CHAIN).expect("USDC")),
        pay_to: seller.address,
        amount: Amount::from(10_000),
        max_timeout_seconds: 600,
    }
}

/// Base Sepolia's entry, with finality that a local chain reaches.
pub fn chain_of(finality: Finality) -> Arc<Chain> {
    let chain = Registry::built_in().chain_by_id(CHAIN).expect("base-sepolia").as_ref().clone();
    Arc::new(Chain { finality, block_millis: 100, ..chain })
}

/// How a seller of a test is set up.
#[derive(Clone, Debug)]
pub struct SellerOptions {
    pub finality: Finality,
    pub gas: GasCeilings,
    pub factories: Vec<Address>,
    pub timing: Timing,
    /// How long the endpoint may take for an answer.
    pub rpc_timeout: Duration,
}

impl Default for SellerOptions {
    fn default() -> Self {
        Self {
            finality: Finality::Finalized,
            gas: GasCeilings::default(),
            factories: Vec::new(),
            timing: Timing {
                lease: Duration::from_secs(2),
                stuck: Duration::from_secs(3),
                settle_budget: Duration::from_secs(20),
                ..Timing::default()
            },
            rpc_timeout: Duration::from_secs(5),
        }
    }
}

/// A money path without HTTP: ledger, facilitator, and the steps that the gate takes.
#[derive(Debug)]
pub struct Seller {
    pub ledger: Ledger,
    pub facilitator: Facilitator,
    pub requirement: Requirement,
}

const HOLD: Duration = Duration::from_secs(60);

impl Seller {
    pub fn open(chain: &Devchain, rpc_url: &str, ledger: &Path, options: SellerOptions) -> Result<Self> {
        static SELLERS: AtomicU64 = AtomicU64::new(0);
        let who = format!("seller-{}", SELLERS.fetch_add(1, Ordering::Relaxed));
        let ledger = Ledger::open(&Place::File(ledger), Clock::System, who)?;
        let setup = ChainSetup {
            chain: chain_of(options.finality),
            rpc: Rpc::new(rpc_url, options.rpc_timeout)?,
            settler: Key::from_bytes(chain.settler().key)?,
            gas: options.gas,
            factories: options.factories,
        };
        let facilitator = Facilitator::start(&ledger, vec![setup], Vec::new(), options.timing);
        Ok(Self { ledger, facilitator, requirement: price(chain.seller()) })
    }

    /// Verifies and reserves, as the gate does before it forwards.
    pub async fn reserve(&self, payment: &Payment) -> Result<Reservation> {
        let verified = match self.verify(payment).await {
            Ok(verified) => verified,
            Err(refusal) => return Ok(Reservation::Refused(refusal)),
        };
        let offer = OfferId { namespace: "demo".to_owned(), name: "demo-hello".to_owned() };
        let origin = Origin { fingerprint: payment.authorization.nonce, client: B256::ZERO };
        let new = verified.new_payment(payment, offer, origin);
        Ok(self.ledger.reserve(new, HOLD).await?)
    }

    /// The upstream did its part.
    pub async fn owe(&self, held: Held<held::Reserved>) -> Result<Held<held::Owed>> {
        match self.ledger.owe(held, None).await? {
            Ok(Owing::SettleFirst(owed)) => {
                self.facilitator.wake(CHAIN);
                Ok(owed)
            }
            other => bail!("not to be settled first: {other:?}"),
        }
    }

    pub async fn outcome(&self, held: &Held<held::Owed>) -> Result<Outcome> {
        let until = tokio::time::Instant::now() + self.facilitator.timing().settle_budget;
        Ok(self.ledger.outcome(held.id(), until).await?)
    }

    /// A whole sale: verified, reserved, owed, settled, delivered.
    pub async fn sell(&self, payment: &Payment) -> Result<()> {
        match self.attempt(payment).await? {
            Sale::Served => Ok(()),
            other => bail!("not served: {other:?}"),
        }
    }
}
