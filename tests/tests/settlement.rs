//! The money path on a real chain, without HTTP in front of it.

use anyhow::Result;
use futures_util::{StreamExt, stream};
use obol_core::Amount;
use obol_devchain::{Devchain, Options};
use obol_ledger::State;
use obol_tests::{Buyer, Seller, SellerOptions};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_settled_once_and_the_ledger_knows_where() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let seller =
        Seller::open(&chain, chain.url(), &folder.path().join("ledger.db"), SellerOptions::default())?;
    let payment = Buyer::of(chain.buyers()[0]).pay(&seller.requirement);
    seller.sell(&payment).await?;
    let record = seller.ledger.payment_by_key(payment.key()).await?.expect("stored");
    assert!(matches!(record.state(), State::Included | State::Settled), "{:?}", record.state());
    let transfers = chain.transfer_events(4).await?;
    let to_seller: Vec<_> = transfers.iter().filter(|t| t.to == chain.seller().address).collect();
    assert_eq!(to_seller.len(), 1);
    assert_eq!(Some(to_seller[0].transaction), record.inclusion.map(|i| i.tx));
    assert_eq!(chain.usdc_balance(chain.seller().address).await?, Amount::from(10_000));
    seller.facilitator.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_payments_at_once_all_settle_and_none_twice() -> Result<()> {
    const PAYMENTS: usize = 500;
    let chain = Devchain::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let seller = Arc::new(Seller::open(
        &chain,
        chain.url(),
        &folder.path().join("ledger.db"),
        SellerOptions::default(),
    )?);
    let buyers: Vec<_> = chain.buyers().iter().copied().map(Buyer::of).collect();
    let sales = (0..PAYMENTS).map(|n| {
        let payment = buyers[n % buyers.len()].pay(&seller.requirement);
        let seller = Arc::clone(&seller);
        async move { seller.sell(&payment).await }
    });
    let results: Vec<_> = stream::iter(sales).buffer_unordered(32).collect().await;
    for result in results {
        result?;
    }
    let expected = Amount::from(10_000 * PAYMENTS as u64);
    assert_eq!(chain.usdc_balance(chain.seller().address).await?, expected);
    let earnings = seller.ledger.earnings().await?;
    assert_eq!((earnings[0].payments, earnings[0].amount), (PAYMENTS as u64, expected));
    Ok(())
}
