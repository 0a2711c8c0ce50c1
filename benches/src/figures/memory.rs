//! What a verifier keeps in memory when it waits for requests.

use super::block_on;
use crate::{
    figure::{Figure, Wanted},
    peer::{Obol, Peer},
    verifier::Verifier,
};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// How long its memory may go on moving.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Looks in which memory has to stay as it is.
const STEADY: usize = 10;

const MANY: usize = 10_000;

/// Resident bytes once they have stopped moving.
async fn steady(obol: &Obol) -> Result<u64> {
    let begun = Instant::now();
    let (mut last, mut steady) = (obol.resident()?, 0);
    while steady < STEADY && begun.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = obol.resident()?;
        // A few pages come and go with the loading of the chain's head.
        steady = if now.abs_diff(last) < 256 * 1024 { steady + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

/// Megabytes (10^6) of a verifier with so many offers.
fn resident(chain: &Peer, offers: usize) -> Result<f64> {
    let verifier = Verifier::start(chain, offers)?;
    block_on(async {
        verifier.until_sold(offers - 1, LOOK_AGAIN).await?;
        steady(&verifier.obol).await.map(|bytes| bytes as f64 / 1e6)
    })
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let chain = Peer::start(["chain"])?;
    let figure = |bench, offers, bound: f64| {
        anyhow::Ok(Figure {
            bench,
            unit: "resident MB of obol verifier, ready",
            ours: resident(&chain, offers).context(bench)?,
            reference: bound,
            reference_name: "the wanted bound".to_owned(),
            wanted: Wanted::AtMost(bound),
        })
    };
    Ok(vec![figure("memory_idle", 1, 15.0)?, figure("memory_10k_offers", MANY, 80.0)?])
}
