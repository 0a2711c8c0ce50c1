//! The facilitator for others, over HTTP.

use super::{admission::Signed, settlement::Bench as Settlement};
use crate::{
    figure::{Figure, Wanted},
    load::{Connection, post},
    measure::{Turns, rate},
    peer::Peer,
    stage,
};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use obol_core::Payment;
use obol_tests::question;
use std::time::Instant;

const ROUNDS: usize = 3;
const VERIFIED: usize = 2_000;
const AT_ONCE: usize = 64;

/// Asks about all, some at once; tells how many a second.
async fn ask(facilitator: &Peer, at: &str, payments: &[Payment], at_once: usize, good: &str) -> Result<f64> {
    let requirement = stage::requirement()?;
    let questions: Vec<_> = payments
        .iter()
        .map(|payment| post(at, &question(payment, &requirement, payment.version).to_string()))
        .collect();
    let connections = (0..at_once).map(|_| Connection::open(facilitator.address()));
    let mut connections = try_join_all(connections).await?;
    let share = questions.len().div_ceil(at_once);
    let begun = Instant::now();
    try_join_all(connections.iter_mut().zip(questions.chunks(share)).map(async |(connection, questions)| {
        for question in questions {
            let answer = connection.exchange(question).await?.expect("200")?;
            let text = std::str::from_utf8(answer.body())?;
            ensure!(text.contains(good), "{text}");
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(rate(payments.len(), begun.elapsed()))
}

async fn measure() -> Result<Vec<Figure>> {
    let mut bench = Settlement::start().await?;
    let folder = stage::folder()?;
    let ledger = folder.path().join("ledger.db");
    bench.settler("settler").await?;
    let facilitator = Peer::start([
        "facilitator".as_ref(),
        "--ledger".as_ref(),
        ledger.as_os_str(),
        "--chain".as_ref(),
        bench.url().as_ref(),
    ])?;
    let mut verify = Turns::default();
    let counts = [(1, 40), (16, 400), (64, 800)];
    let mut settle = [Turns::default(), Turns::default(), Turns::default()];
    for round in 0..ROUNDS {
        let payments = bench.payments(VERIFIED, usize::MAX);
        let signed = payments.iter().map(Signed::of).collect::<Result<Vec<_>>>()?;
        let ours = ask(&facilitator, "/verify", &payments, AT_ONCE, r#""isValid":true"#).await?;
        let begun = Instant::now();
        super::admission::recover_all(&signed)?;
        verify.add(ours, rate(signed.len(), begun.elapsed()));
        let (time, singles) = bench.settle_singly(round).await?;
        for ((at_once, count), turns) in counts.into_iter().zip(&mut settle) {
            let payments = bench.payments(count, usize::MAX);
            let ours = ask(&facilitator, "/settle", &payments, at_once, r#""success":true"#).await?;
            turns.add(ours, rate(singles.len(), time));
        }
    }
    drop(facilitator);
    bench.stop().await;
    let figure = |bench, unit, turns: &Turns, reference: &str| {
        let ((ours, reference), reference_name) = (turns.medians(), reference.to_owned());
        Figure { bench, unit, ours, reference, reference_name, wanted: Wanted::Nothing }
    };
    let singles = "single transfers, a transaction each, 8 on their way";
    let [one, sixteen, many] = &settle;
    Ok(vec![
        figure(
            "fac_verify",
            "/verify per second over HTTP, c=64",
            &verify,
            "bare secp256k1 recovery, one core",
        ),
        figure("fac_settle_1", "/settle per second over HTTP, c=1, automining anvil", one, singles),
        figure("fac_settle_16", "the same, c=16", sixteen, singles),
        figure("fac_settle_64", "the same, c=64", many, singles),
    ])
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    runtime.block_on(measure())
}
