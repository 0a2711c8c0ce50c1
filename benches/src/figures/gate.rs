//! What a paid request takes when it does not wait for a block.

use super::block_on;
use crate::{
    figure::{Figure, Wanted},
    load::{Connection, get},
    measure::quantile,
    peer::Peer,
    stage::{self, Payer},
};
use anyhow::Result;
use std::time::Instant;

const ROUNDS: usize = 10;
const REQUESTS: usize = 120;
/// Payments of one payer, over all rounds.
const PER_PAYER: usize = 4;

/// Milliseconds of each request, one after the other.
async fn each(connection: &mut Connection, requests: &[Vec<u8>]) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(requests.len());
    for request in requests {
        let begun = Instant::now();
        connection.exchange(request).await?.expect("200")?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

fn sign(payer: &Payer, round: usize) -> Result<Vec<Vec<u8>>> {
    (round * REQUESTS..(round + 1) * REQUESTS)
        .map(|number| {
            let payment = payer.pay(&stage::key("gate", number / PER_PAYER)?, "gate", number);
            Ok(get(stage::OFFER_PATH, &[("payment-signature", &payer.header(&payment))]))
        })
        .collect()
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let folder = stage::folder()?;
    let ledger = folder.path().join("ledger.db");
    let (upstream, chain) = (Peer::start(["upstream"])?, Peer::start(["chain"])?);
    let proxy = Peer::start(["proxy", &upstream.address().to_string()])?;
    let gate = Peer::start([
        "gate".as_ref(),
        "--ledger".as_ref(),
        ledger.as_os_str(),
        "--upstream".as_ref(),
        upstream.url().as_ref(),
        "--chain".as_ref(),
        chain.url().as_ref(),
    ])?;
    let (ours, reference) = block_on(async {
        let mut through_gate = Connection::open(gate.address()).await?;
        let mut through_proxy = Connection::open(proxy.address()).await?;
        let payer = Payer::new()?;
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let requests = sign(&payer, round)?;
            let times =
                (each(&mut through_gate, &requests).await?, each(&mut through_proxy, &requests).await?);
            // The first round warms up.
            if round > 0 {
                ours.extend(times.0);
                reference.extend(times.1);
            }
        }
        anyhow::Ok((ours, reference))
    })?;
    let figure = |bench, at| Figure {
        bench,
        unit: "ms of a paid request at c=1, absolute; the gate adds ours - reference",
        ours: quantile(&ours, at),
        reference: quantile(&reference, at),
        reference_name: "bare hyper reverse proxy before the same upstream".to_owned(),
        wanted: Wanted::Nothing,
    };
    Ok(vec![figure("gate_latency_p50", 0.5), figure("gate_latency_p99", 0.99)])
}
