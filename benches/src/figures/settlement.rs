//! On a real chain: how fast payments get there, and what that costs.

use crate::{
    figure::{Figure, Wanted},
    measure::{Turns, rate},
    stage::{self, Payer},
};
use alloy_primitives::B256;
use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use obol_core::{Amount, Payment};
use obol_devchain::{CHAIN, Devchain, Mining, Options};
use obol_evm::{BlockTag, Fees, Key, Rpc, batch_call, sign_call};
use obol_facilitator::{Facilitator, Timing};
use obol_ledger::{Clock, Ledger, Owing, Place, Reservation};
use std::{
    collections::HashSet,
    path::Path,
    time::{Duration, Instant},
};

const ROUNDS: usize = 3;
/// Payments that are due when the settler begins.
const DUE: usize = 1_000;
const SINGLES: usize = 200;
/// Single transfers on their way at once, as many as the settler has batches.
const AT_ONCE: usize = 8;
/// The batch whose gas is told, and how many payers there are.
const BATCH: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

/// Ether in wei, for settlers of the benches' own.
const WEI: u128 = 1_000_000_000_000_000_000_000;

pub(super) struct Bench {
    chain: Devchain,
    payer: Payer,
    payers: Vec<Key>,
    signed: usize,
}

impl Bench {
    pub(super) async fn start() -> Result<Self> {
        let chain = Devchain::start(Options { mining: Mining::Automine, ..Options::default() }).await?;
        let payers: Vec<Key> = (0..BATCH).map(|number| stage::key("payer", number)).collect::<Result<_>>()?;
        for payer in &payers {
            let minted = chain.mint_usdc(payer.address(), Amount::from(1_000_000_000)).await?;
            chain.mined(minted).await?;
        }
        Ok(Self { chain, payer: Payer::new()?, payers, signed: 0 })
    }

    pub(super) fn url(&self) -> &str {
        self.chain.url()
    }

    pub(super) async fn stop(self) {
        self.chain.stop().await;
    }

    /// From so many payers in turn, or all.
    pub(super) fn payments(&mut self, count: usize, payers: usize) -> Vec<Payment> {
        let (first, payers) = (self.signed, payers.min(self.payers.len()));
        self.signed += count;
        let one = |number: usize| self.payer.pay(&self.payers[number % payers], "settlement", number);
        (first..first + count).map(one).collect()
    }

    /// An account with ether and without a past.
    pub(super) async fn settler(&self, name: &str) -> Result<Key> {
        let key = stage::key(name, 0)?;
        self.chain.set_balance(key.address(), alloy_primitives::U256::from(WEI)).await?;
        Ok(key)
    }

    /// Settles payments in batches; tells how long it took and in which transactions.
    async fn settle(&self, path: &Path, payments: &[Payment]) -> Result<(Duration, HashSet<B256>)> {
        let ledger = Ledger::open(&Place::File(path), Clock::System, "bench")?;
        owe(&ledger, payments).await?;
        let settler = self.settler(&path.display().to_string()).await?;
        let setup = stage::chain_setup(self.chain.url(), settler)?;
        let begun = Instant::now();
        let facilitator = Facilitator::start(&ledger, vec![setup], Vec::new(), Timing::default());
        while settled(&ledger).await? < payments.len() as u64 {
            if begun.elapsed() > PATIENCE {
                bail!("{} payments are not settled after {} s", payments.len(), PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let time = begun.elapsed();
        let mut transactions = HashSet::new();
        for payment in payments {
            let record = ledger.payment_by_key(payment.key()).await?.context("a payment is gone")?;
            transactions.insert(record.inclusion.context("a payment is not on the chain")?.tx);
        }
        facilitator.stop().await;
        Ok((time, transactions))
    }

    /// Settles each payment in a transaction of its own.
    pub(super) async fn settle_singly(&mut self, round: usize) -> Result<(Duration, HashSet<B256>)> {
        let payments = self.payments(SINGLES, BATCH);
        let settler = self.settler(&format!("singles {round}")).await?;
        let rpc = Rpc::new(self.chain.url(), PATIENCE)?;
        let fees = fees(&rpc).await?;
        let mut raw = Vec::with_capacity(SINGLES);
        for (nonce, payment) in payments.iter().enumerate() {
            let call = batch_call(&[stage::verified(payment)?.call]);
            raw.push(sign_call(&settler, CHAIN, u64::try_from(nonce)?, 120_000, fees, &call).raw);
        }
        let begun = Instant::now();
        let hashes: HashSet<B256> =
            stream::iter(&raw).map(|raw| rpc.send_raw(raw)).buffered(AT_ONCE).try_collect().await?;
        while rpc.transaction_count(settler.address(), BlockTag::Latest).await? < SINGLES as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok((begun.elapsed(), hashes))
    }

    /// Gas for each payment of these transactions.
    async fn gas(&self, transactions: &HashSet<B256>, payments: usize) -> Result<f64> {
        let mut gas = 0;
        for &transaction in transactions {
            let receipt = self.chain.rpc().receipt(transaction).await?.context("a receipt is gone")?;
            anyhow::ensure!(!receipt.status.is_zero(), "{transaction} reverted");
            gas += receipt.gas_used.to::<u64>();
        }
        Ok(gas as f64 / payments as f64)
    }
}

/// Brings payments to the point where only the settlement is left.
async fn owe(ledger: &Ledger, payments: &[Payment]) -> Result<()> {
    try_join_all(payments.iter().map(async |payment| {
        match ledger.reserve(stage::verified(payment)?, stage::HOLD).await? {
            Reservation::Granted(held) => match ledger.owe(held, None).await? {
                Ok(Owing::SettleFirst(_)) => Ok(()),
                other => bail!("not owed: {other:?}"),
            },
            other => bail!("not granted: {other:?}"),
        }
    }))
    .await
    .map(drop)
}

async fn settled(ledger: &Ledger) -> Result<u64> {
    Ok(ledger.earnings().await?.iter().map(|earning| earning.payments).sum())
}

async fn fees(rpc: &Rpc) -> Result<Fees> {
    let base: u128 = rpc.latest_block().await?.base_fee_per_gas.unwrap_or_default().saturating_to();
    Ok(Fees { max_fee: 2 * base + 1_000_000, tip: 1_000_000 })
}

async fn measure() -> Result<Vec<Figure>> {
    let mut bench = Bench::start().await?;
    let folder = stage::folder()?;
    let (mut rates, mut gas, mut gas_apart) = (Turns::default(), Turns::default(), Turns::default());
    for round in 0..ROUNDS {
        let file = |name: &str| folder.path().join(format!("{name}-{round}.db"));
        let due = bench.payments(DUE, BATCH);
        let (time, _) = bench.settle(&file("due"), &due).await?;
        let (single_time, singles) = bench.settle_singly(round).await?;
        rates.add(rate(DUE, time), rate(SINGLES, single_time));
        let single_gas = bench.gas(&singles, SINGLES).await?;
        for (payers, turns) in [(1, &mut gas), (BATCH, &mut gas_apart)] {
            let payments = bench.payments(BATCH, payers);
            let (_, batch) = bench.settle(&file(&format!("gas-{payers}")), &payments).await?;
            anyhow::ensure!(batch.len() == 1, "{BATCH} payments in {} transactions", batch.len());
            turns.add(bench.gas(&batch, BATCH).await?, single_gas);
        }
    }
    bench.stop().await;
    let figure = |bench, unit, turns: &Turns, reference: &str, wanted| {
        let ((ours, reference), reference_name) = (turns.medians(), reference.to_owned());
        Figure { bench, unit, ours, reference, reference_name, wanted }
    };
    let singles = "single transfers, a transaction each, 8 on their way";
    let single = "a single transfer";
    Ok(vec![
        figure(
            "settlement",
            "payments/s in batches, automining anvil",
            &rates,
            singles,
            Wanted::AtLeast(1_000.0),
        ),
        figure("gas", "gas per payment, 50 of one payer in a batch", &gas, single, Wanted::RatioAtMost(0.55)),
        figure(
            "gas_50_payers",
            "gas per payment, 50 of 50 payers in a batch",
            &gas_apart,
            single,
            Wanted::Nothing,
        ),
    ])
}

pub(super) fn run() -> Result<Vec<Figure>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}
