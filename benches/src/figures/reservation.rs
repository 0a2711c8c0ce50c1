//! The ledger alone: reservations that survive a loss of power.

mod sqlite;

use crate::{
    figure::{Figure, Wanted},
    measure::{Turns, rate},
    stage,
};
use alloy_primitives::{Address, keccak256};
use anyhow::{Result, bail};
use obol_core::{Amount, OfferId, PaymentKey, SettlementCall, TransferMethod};
use obol_devchain::CHAIN;
use obol_ledger::{Clock, Ledger, NewPayment, Place, Proof, Reservation};
use std::{path::Path, time::Instant};
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
const PAYMENTS: usize = 4_096;
/// Payments of one payer, over all rounds.
const PER_PAYER: usize = 4;

/// Payments as verification gives them, without what it takes to sign them: the ledger does not
/// look at that.
fn payments(round: usize) -> Result<Vec<NewPayment>> {
    let requirement = stage::requirement()?;
    let one = |number: usize| NewPayment {
        key: PaymentKey {
            chain: CHAIN,
            asset: requirement.asset.address,
            method: TransferMethod::Eip3009,
            payer: Address::from_word(keccak256((number / PER_PAYER).to_be_bytes())),
            nonce: keccak256(format!("nonce {number}")),
        },
        payee: requirement.pay_to,
        amount: requirement.amount,
        // As long as a transferWithAuthorization.
        call: SettlementCall {
            token: requirement.asset.address,
            data: vec![7; 292].into(),
            deployment: None,
        },
        valid_before: i64::MAX,
        offer: OfferId { namespace: "bench".to_owned(), name: "bench".to_owned() },
        origin: stage::origin(keccak256(format!("request {number}"))),
        balance: Amount::from(1_000_000_000),
        verified_block: 1,
        proof: Proof::Signature,
        question: None,
    };
    Ok((round * PAYMENTS..(round + 1) * PAYMENTS).map(one).collect())
}

/// Reserves all, so many at once; tells how many each second.
async fn reserve_all(ledger: &Ledger, payments: Vec<NewPayment>, tasks: usize) -> Result<f64> {
    let mut shares: Vec<Vec<NewPayment>> = (0..tasks).map(|_| Vec::new()).collect();
    for (number, payment) in payments.into_iter().enumerate() {
        shares[number % tasks].push(payment);
    }
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for share in shares {
        let ledger = ledger.clone();
        running.spawn(async move {
            for payment in share {
                match ledger.reserve(payment, stage::HOLD).await? {
                    Reservation::Granted(_) => {}
                    other => bail!("not granted: {other:?}"),
                }
            }
            Ok(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(rate(PAYMENTS, begun.elapsed()))
}

async fn at_once(folder: &Path, tasks: usize, bench: &'static str, unit: &'static str) -> Result<Figure> {
    let path = folder.join(format!("{tasks}.db"));
    let ledger = Ledger::open(&Place::File(&path), Clock::System, "bench")?;
    let mut bare = sqlite::Bare::open(&folder.join(format!("{tasks}-bare.db")))?;
    let mut turns = Turns::default();
    let mut group = 0;
    for round in 0..=ROUNDS {
        let new = payments(round)?;
        let rows = sqlite::rows(&new);
        let groups = sqlite::commits(&path)?;
        let ours = reserve_all(&ledger, new, tasks).await?;
        group = PAYMENTS / (sqlite::commits(&path)? - groups).max(1);
        let reference = bare.insert_all(&rows, group)?;
        // The first round warms up.
        if round > 0 {
            turns.add(ours, reference);
        }
    }
    let (ours, reference) = turns.medians();
    let reference_name = format!("bare SQLite, the same two rows each, {group} in a commit");
    Ok(Figure { bench, unit, ours, reference, reference_name, wanted: Wanted::AtLeast(50_000.0) })
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let folder = stage::folder()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        Ok(vec![
            at_once(folder.path(), 64, "reservation_64", "durable reservations/s of 64 tasks").await?,
            at_once(folder.path(), 256, "reservation_256", "durable reservations/s of 256 tasks").await?,
            at_once(folder.path(), 1024, "reservation", "durable reservations/s of 1024 tasks").await?,
        ])
    })
}
