//! A facilitator that goes without a word leaves its settler's place to the next.

use anyhow::{Result, ensure};
use obol_devchain::{Devchain, Options};
use obol_facilitator::SettlerState;
use obol_tests::{Seller, SellerOptions};
use std::time::{Duration, Instant};

async fn until_leading(seller: &Seller) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while seller.facilitator.states().any(|(_, state)| state != SettlerState::Leading) {
        ensure!(Instant::now() < deadline, "{:?}", seller.facilitator.states().collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_is_dropped_stops_sending_and_gives_its_place_up() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ledger.db");
    let first = Seller::open(&chain, chain.url(), &file, SellerOptions::default())?;
    until_leading(&first).await?;
    drop(first);
    let second = Seller::open(&chain, chain.url(), &file, SellerOptions::default())?;
    until_leading(&second).await?;
    second.facilitator.stop().await;
    Ok(())
}
