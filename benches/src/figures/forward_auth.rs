//! What a proxy that asks at `/verify` waits for.

use super::block_on;
use crate::{
    figure::{Figure, Wanted},
    load::{Connection, Load, get},
    measure::{Turns, rate},
    peer::Peer,
    stage::{self, Payer},
};
use anyhow::Result;
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(700);
/// Of each connection in a round.
const PAID: usize = 40;
/// Payments of one payer, over all rounds.
const PER_PAYER: usize = 4;

/// What proxies say of a request for the offer.
fn ask(more: &[(&str, &str)]) -> Vec<u8> {
    let described = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", stage::OFFER_PATH),
        ("x-forwarded-host", "bench.example"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
    ];
    get("/verify", &[&described[..], more].concat())
}

/// Pays once with each question; tells how many a second.
async fn pay(connections: &mut [Connection], payer: &Payer, round: usize) -> Result<f64> {
    let mut questions = Vec::with_capacity(connections.len());
    for at in 0..connections.len() {
        let first = (round * connections.len() + at) * PAID;
        let signed: Result<Vec<_>> = (first..first + PAID)
            .map(|number| {
                let payment = payer.pay(&stage::key("forward", number / PER_PAYER)?, "forward", number);
                Ok(ask(&[("payment-signature", &payer.header(&payment))]))
            })
            .collect();
        questions.push(signed?);
    }
    let count = questions.len() * PAID;
    let begun = Instant::now();
    try_join_all(connections.iter_mut().zip(&questions).map(async |(connection, questions)| {
        for question in questions {
            connection.exchange(question).await?.expect("200")?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(rate(count, begun.elapsed()))
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let folder = stage::folder()?;
    let ledger = folder.path().join("ledger.db");
    let chain = Peer::start(["chain"])?;
    let gate = Peer::start([
        "gate".as_ref(),
        "--verify-only".as_ref(),
        "--ledger".as_ref(),
        ledger.as_os_str(),
        "--chain".as_ref(),
        chain.url().as_ref(),
    ])?;
    let bare = Peer::start(["bare", &gate.address().to_string(), stage::OFFER_PATH])?;
    let (unpaid, paid) = block_on(async {
        let mut ours = Load::open(gate.address(), CONNECTIONS, ask(&[]), "402").await?;
        let mut reference = Load::open(bare.address(), CONNECTIONS, ask(&[]), "402").await?;
        let paying = (0..CONNECTIONS).map(|_| Connection::open(gate.address()));
        let (mut paying, payer) = (try_join_all(paying).await?, Payer::new()?);
        let (mut unpaid, mut paid) = (Turns::default(), Turns::default());
        for round in 0..=ROUNDS {
            let bare = rate(reference.run(ROUND).await?.len(), ROUND);
            let rates = (rate(ours.run(ROUND).await?.len(), ROUND), pay(&mut paying, &payer, round).await?);
            // The first round warms up.
            if round > 0 {
                unpaid.add(rates.0, bare);
                paid.add(rates.1, bare);
            }
        }
        anyhow::Ok((unpaid, paid))
    })?;
    let figure = |bench, unit, turns: &Turns| {
        let (ours, reference) = turns.medians();
        let reference_name = "bare hyper server with the unpaid answer".to_owned();
        Figure { bench, unit, ours, reference, reference_name, wanted: Wanted::Nothing }
    };
    Ok(vec![
        figure("verify_unpaid", "/verify per second, unpaid, c=64", &unpaid),
        figure("verify_paid", "/verify per second, paid and waived, c=64", &paid),
    ])
}
