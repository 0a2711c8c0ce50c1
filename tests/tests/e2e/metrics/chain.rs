//! Of the chain: what is outstanding, reorganised, claimed and spent, and whether it agrees.

use super::{AT, PAID, USDC, assert_counts, assert_ledger, customer, offer, open, refused_for, scrape};
use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use obol_core::{Amount, Charge, Exposure, Offer, Reason, Registry};
use obol_devchain::{
    CHAIN, Devchain, Mining, Options,
    fault::{Fault, FaultyRpc, Rule},
};
use obol_ledger::State;
use obol_tests::{Buyer, Checking, Manner, RemoteShop, Scrape, Shop, ShopOptions, Stranger, Upstream, until};
use std::time::Duration;

const LIFETIME: [(&str, &str); 3] = [USDC[0], USDC[1], ("window", "lifetime")];

#[tokio::test(flavor = "multi_thread")]
async fn exposure_is_told_beside_its_bound_until_it_is_settled() -> Result<()> {
    let options = ShopOptions { mining: Mining::Manual, ..ShopOptions::default() };
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    let exposure = Exposure { per_payer: Amount::from(20_000), per_offer: Amount::from(50_000) };
    let sold = Offer { charge: Charge::Optimistic(exposure), ..shop.offer(AT, &upstream) };
    shop.publish(std::slice::from_ref(&sold))?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let told = scrape(&shop).await?;
    assert_eq!(told.one("unsettled_payments", &offer(PAID))?, 1);
    assert_eq!(told.one("unsettled_amount", &offer(PAID))?, 10_000);
    assert_eq!(told.one("unsettled_amount_limit", &offer(PAID))?, 50_000);
    let taken = shop.payments().await?[0].created_at.seconds();
    assert_eq!(told.one("oldest_unsettled_seconds", &offer(PAID))?, taken.cast_unsigned());
    assert_eq!(told.one("charged_requests_total", &offer(PAID))?, 0);
    // Without its offer it is still to be settled.
    shop.publish(&[])?;
    let told = scrape(&shop).await?;
    assert_eq!(told.families_with(&[("offer_name", PAID)]), Vec::<&str>::new());
    assert_eq!(told.one("chain_unsettled_payments", &USDC)?, 1);
    assert_eq!(told.one("chain_unsettled_amount", &USDC)?, 10_000);
    assert_eq!(told.one("chain_oldest_unsettled_seconds", &USDC)?, taken.cast_unsigned());
    shop.publish(&[sold])?;
    shop.until_payment(|payment| payment.state() == State::Submitted).await?;
    shop.chain.mine(1).await?;
    shop.until_payment(|payment| payment.state() == State::Included).await?;
    let told = scrape(&shop).await?;
    assert_eq!(told.one("chain_unsettled_payments", &USDC)?, 0);
    assert_eq!(told.all("chain_oldest_unsettled_seconds", &[]).count(), 0);
    assert_eq!(told.one("unsettled_payments", &offer(PAID))?, 0);
    assert_eq!(told.all("oldest_unsettled_seconds", &[]).count(), 0);
    assert_eq!(told.one("charged_requests_total", &offer(PAID))?, 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_is_told_and_counts_no_payment_twice() -> Result<()> {
    let (shop, _upstream) = open().await?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    shop.chain.set_mining(Mining::Manual).await?;
    let payment = shop.until_payment(|payment| payment.inclusion.is_some()).await?;
    let at = payment.inclusion.context("in a block")?;
    shop.chain.reorg(shop.chain.block_number().await? - at.block + 1).await?;
    shop.until_payment(|payment| payment.inclusion.is_none()).await?;
    let told = scrape(&shop).await?;
    assert_eq!(told.one("charge_reversals_total", &offer(PAID))?, 1);
    assert_eq!(told.one("ledger_reversed_requests", &offer(PAID))?, 1);
    assert_eq!(told.one("ledger_reversed_amount", &offer(PAID))?, 10_000);
    assert_eq!(told.one("chain_ledger_reversed_requests", &LIFETIME)?, 1);
    assert_eq!(told.one("chain_ledger_reversed_amount", &LIFETIME)?, 10_000);
    assert_eq!(told.all("last_payment_success_seconds", &[]).count(), 0, "there is none on the chain");
    assert_ledger(&told, PAID, 1, 10_000)?;
    shop.chain.set_mining(Mining::default()).await?;
    shop.chain.mine(1).await?;
    shop.until_payment(|payment| payment.inclusion.is_some()).await?;
    let told = scrape(&shop).await?;
    assert_eq!(told.one("charged_requests_total", &offer(PAID))?, 1);
    assert_eq!(told.one("settled_amount_total", &offer(PAID))?, 10_000);
    assert_ledger(&told, PAID, 1, 10_000)?;
    assert_eq!(told.one("ledger_reversed_requests", &offer(PAID))?, 0, "it is back");
    assert_eq!(told.one("chain_ledger_reversed_requests", &LIFETIME)?, 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_and_will_never_be_paid_is_told_as_lost() -> Result<()> {
    let options = ShopOptions { mining: Mining::Manual, ..ShopOptions::default() };
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    let exposure = Exposure { per_payer: Amount::from(20_000), per_offer: Amount::from(50_000) };
    shop.publish(&[Offer { charge: Charge::Optimistic(exposure), ..shop.offer(AT, &upstream) }])?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let sold = shop.until_payment(|payment| payment.state() == State::Submitted).await?;
    // Its payer takes it back, and comes first.
    let asset = Registry::built_in().default_asset(CHAIN)?.clone();
    let payer = Buyer::of(shop.chain.buyers()[0]);
    Stranger::on(&shop.chain).eager().cancel(&asset, &payer, sold.key.nonce).await?;
    until("it has failed", async || {
        shop.chain.mine(1).await?;
        Ok((shop.payments().await?[0].state() == State::Failed).then_some(()))
    })
    .await?;
    let told = scrape(&shop).await?;
    assert_eq!(told.one("lost_payments", &offer(PAID))?, 1);
    assert_eq!(told.one("lost_amount", &offer(PAID))?, 10_000);
    assert_eq!(told.one("chain_lost_amount", &USDC)?, 10_000);
    assert_eq!(told.one("unsettled_payments", &offer(PAID))?, 0);
    assert_eq!(told.one("chain_unsettled_payments", &USDC)?, 0);
    assert_eq!(told.one("charged_requests_total", &offer(PAID))?, 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_read_is_told_and_what_was_read_stays() -> Result<()> {
    let (shop, _upstream) = open().await?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let told = scrape(&shop).await?;
    assert_eq!((told.one("ledger_up", &[])?, told.one("unsettled_payments", &offer(PAID))?), (1, 0));
    let db = rusqlite::Connection::open(shop.ledger_file())?;
    db.execute_batch("ALTER TABLE charges RENAME TO away")?;
    let told = scrape(&shop).await?;
    assert_eq!((told.one("ledger_up", &[])?, told.one("ledger_writable", &[])?), (0, 1));
    assert_ledger(&told, PAID, 1, 10_000)?;
    for family in ["unsettled_payments", "lost_amount", "chain_unsettled_amount", "chain_lost_amount"] {
        assert_eq!(told.all(family, &[]).count(), 0, "{family} is not known");
    }
    db.execute_batch("ALTER TABLE away RENAME TO charges")?;
    assert_eq!(scrape(&shop).await?.one("ledger_up", &[])?, 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_written_is_told_from_the_first_payment_that_it_does_not_take() -> Result<()>
{
    let shop = Shop::open(ShopOptions { ledger_refuses: true, ..ShopOptions::default() }).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    customer(&shop).buy(AT).await?.expect_refusal(Reason::LedgerUnavailable)?;
    let told = scrape(&shop).await?;
    assert_eq!((told.one("ledger_up", &[])?, told.one("ledger_writable", &[])?), (1, 0));
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_money_and_what_it_lasts_for_are_told() -> Result<()> {
    let (shop, _upstream) = open().await?;
    let balance = shop.chain.rpc().balance(shop.chain.settler().address).await?;
    let chain = [("chain", "eip155:84532")];
    until("the balance is told", async || {
        let told = scrape(&shop).await?;
        Ok(told.all("settler_balance_wei", &chain).any(|(_, wei)| wei == balance.to_string()).then_some(()))
    })
    .await?;
    let told = scrape(&shop).await?;
    assert!(told.one("settler_payments_left", &chain)? > 1_000);
    assert_eq!(told.one("settler_gas_spent_wei", &chain)?, 0);
    assert_eq!(told.all("settler_gas_days_left", &chain).count(), 0, "at no rate it lasts for ever");
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let spent = balance - shop.chain.rpc().balance(shop.chain.settler().address).await?;
    let told = scrape(&shop).await?;
    let (_, wei) = told.all("settler_gas_spent_wei", &chain).next().context("not told")?;
    assert_eq!(wei, spent.to_string());
    let (_, days) = told.all("settler_gas_days_left", &chain).next().context("not told")?;
    // The balance may have been looked at again since.
    let lasts: Vec<_> = [balance, balance - spent].iter().map(|wei| format!("{}.", wei / spent)).collect();
    assert!(lasts.iter().any(|whole| days.starts_with(whole)), "{days} days at {spent} of {balance}");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_tells_that_the_ledger_and_the_chain_agree_or_by_how_much_they_do_not() -> Result<()> {
    let mut options = ShopOptions::default();
    options.seller.timing.reconcile = Some(Duration::from_millis(200));
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let chain = [("chain", "eip155:84532")];
    let sold_at = std::time::SystemTime::now();
    let since = sold_at.duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
    let told = until("compared since the sale", async || {
        let told = scrape(&shop).await?;
        let compared = told.one("last_reconciliation_seconds", &chain).is_ok_and(|at| at > since);
        Ok(compared.then_some(told))
    })
    .await?;
    assert_eq!(told.one("ledger_drift_payments", &chain)?, 0);
    assert_eq!(told.one("ledger_drift_amount", &chain)?, 0);
    // The ledger has a payment that nobody has made.
    let db = rusqlite::Connection::open(shop.ledger_file())?;
    db.execute("UPDATE payments SET nonce = zeroblob(32)", [])?;
    until("the drift is told", async || {
        let told = scrape(&shop).await?;
        Ok((told.one("ledger_drift_payments", &chain)? == 1).then_some(()))
    })
    .await?;
    assert_eq!(scrape(&shop).await?.one("ledger_drift_amount", &chain)?, 10_000);
    // A process that has not compared yet remembers what the last one has found.
    let mut options = ShopOptions::default();
    options.seller.timing.reconcile = Some(Duration::from_secs(3_600));
    let shop = shop.reopen(options).await?;
    shop.sell(AT, &upstream)?;
    let told = scrape(&shop).await?;
    assert_eq!(told.one("ledger_drift_payments", &chain)?, 1);
    assert_eq!(told.one("ledger_drift_amount", &chain)?, 10_000);
    assert!(told.one("last_reconciliation_seconds", &chain)? > since);
    // One that never compares does not show how the last comparison ages.
    let shop = shop.reopen(ShopOptions::default()).await?;
    shop.sell(AT, &upstream)?;
    for family in ["ledger_drift_payments", "last_reconciliation_seconds", "reconciliation_up"] {
        assert_eq!(scrape(&shop).await?.all(family, &[]).count(), 0, "{family}");
    }
    shop.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_a_ledger_tell_the_same_comparison() -> Result<()> {
    let mut options = ShopOptions::default();
    options.seller.timing.reconcile = Some(Duration::from_millis(200));
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let mut options = ShopOptions::default();
    options.seller.timing.reconcile = Some(Duration::from_secs(3_600));
    let till = shop.second_till(options).await?;
    till.publish(&[shop.offer(AT, &upstream)])?;
    let chain = [("chain", "eip155:84532")];
    until("the one tells what the other has found", async || {
        let told = Scrape::of(till.admin).await?;
        Ok(told.one("last_reconciliation_seconds", &chain).is_ok().then_some(()))
    })
    .await?;
    till.stop().await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_agrees_does_not_silence_another_that_does_not() -> Result<()> {
    let mut options = ShopOptions::default();
    options.seller.timing.reconcile = Some(Duration::from_millis(200));
    let (shop, upstream) = (Shop::open(options.clone()).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    // One that has lost its logs.
    let forgetful = FaultyRpc::start(shop.chain.url()).await?;
    forgetful.set_rules([Rule::of(Fault::Answer(serde_json::json!([]))).on(["eth_getLogs"])]);
    let till = shop.second_till(ShopOptions { rpc: Some(forgetful.url().to_owned()), ..options }).await?;
    till.publish(&[shop.offer(AT, &upstream)])?;
    let chain = [("chain", "eip155:84532")];
    until("each tells what its endpoint shows", async || {
        let (well, forgetful) = (scrape(&shop).await?, Scrape::of(till.admin).await?);
        let drifts = |told: &Scrape| told.one("ledger_drift_payments", &chain).ok();
        Ok((drifts(&well) == Some(0) && drifts(&forgetful) == Some(1)).then_some(()))
    })
    .await?;
    // And goes on telling it.
    let compared = |told: &Scrape| told.one("last_reconciliation_seconds", &chain);
    let since = compared(&scrape(&shop).await?)?;
    until("the other has compared again", async || {
        Ok((compared(&scrape(&shop).await?)? > since + 1).then_some(()))
    })
    .await?;
    assert_eq!(Scrape::of(till.admin).await?.one("ledger_drift_payments", &chain)?, 1);
    till.stop().await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_to_a_payee_and_is_no_payment_is_told_and_no_drift() -> Result<()> {
    let mut options = ShopOptions::default();
    options.seller.timing.reconcile = Some(Duration::from_millis(200));
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let giver = Stranger::with(&shop.chain, shop.chain.buyers()[1]);
    giver.done(giver.give(shop.chain.seller().address, Amount::from(7)).await?).await?;
    let chain = [("chain", "eip155:84532")];
    let told = until("it is told", async || {
        let told = scrape(&shop).await?;
        Ok(told.one("unattributed_transfers", &chain).is_ok_and(|found| found == 1).then_some(told))
    })
    .await?;
    assert_eq!(told.one("unattributed_amount", &USDC)?, 7);
    assert_eq!(told.one("ledger_drift_payments", &chain)?, 0);
    assert_eq!(told.one("ledger_drift_amount", &USDC)?, 0);
    shop.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_comparison_came_to_nothing_is_told_until_one_works() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let mut options = ShopOptions { rpc: Some(rpc.url().to_owned()), ..ShopOptions::default() };
    options.seller.timing.reconcile = Some(Duration::from_millis(200));
    let (shop, upstream) = (Shop::open_on(chain, options).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    rpc.set(Fault::Disconnect);
    let up = [("chain", "eip155:84532")];
    for wanted in [0, 1] {
        until("how comparing goes is told", async || {
            Ok((scrape(&shop).await?.one("reconciliation_up", &up)? == wanted).then_some(()))
        })
        .await?;
        rpc.heal();
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_fails_is_told_by_its_url_and_its_refusals_as_failed_payments() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Honest).await?;
    let url = remote.meddler.url();
    let up = [("chain", "eip155:84532"), ("facilitator", url.as_str())];
    assert_eq!(scrape(&remote.shop).await?.one("facilitator_up", &up)?, 1);
    remote.meddler.check(Checking::Says(StatusCode::BAD_GATEWAY, String::new()));
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::FacilitatorUnavailable)?;
    let told = scrape(&remote.shop).await?;
    assert_eq!(told.one("facilitator_up", &up)?, 0);
    assert_eq!(told.one("settler_state", &[("state", "facilitator_down")])?, 1);
    assert_eq!(refused_for(&told, Reason::FacilitatorUnavailable)?, (1, 1));
    remote.meddler.check(Checking::Honest);
    until("sold", async || {
        let sold = remote.customer(1).buy(AT).await?;
        Ok((sold.status == StatusCode::OK).then_some(()))
    })
    .await?;
    assert_eq!(scrape(&remote.shop).await?.one("facilitator_up", &up)?, 1);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_facilitator_only_says_is_claimed_and_not_charged() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::Honest).await?;
    ensure!(remote.customer(0).buy(AT).await?.status == StatusCode::OK);
    let told = scrape(&remote.shop).await?;
    let counts = [
        ("requests_total", 2),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("claimed_requests_total", 1),
    ];
    assert_counts(&told, PAID, &counts)?;
    assert_ledger(&told, PAID, 0, 0)?;
    assert_eq!(told.all("last_payment_success_seconds", &[]).count(), 0);
    let claims = |told: &Scrape| -> Result<[u64; 6]> {
        let of = |family: &str, window| told.one(family, &[USDC[0], USDC[1], ("window", window)]);
        let of_offer = |family: &str, window| told.one(family, &[offer(PAID)[1], ("window", window)]);
        Ok([
            of_offer("ledger_claimed_requests", "24h")?,
            of_offer("ledger_claimed_requests", "lifetime")?,
            of_offer("ledger_claimed_amount", "7d")?,
            of_offer("ledger_claimed_amount", "lifetime")?,
            of("chain_ledger_claimed_amount", "24h")?,
            of("chain_ledger_claimed_amount", "lifetime")?,
        ])
    };
    let one = [1, 1, 10_000, 10_000, 10_000, 10_000];
    assert_eq!(claims(&told)?, one);
    let remote = remote.reopen(false).await?;
    assert_eq!(claims(&scrape(&remote.shop).await?)?, one, "the ledger remembers");
    // With an endpoint the chain says so, too.
    let remote = remote.reopen(true).await?;
    until("charged", async || {
        let told = scrape(&remote.shop).await?;
        Ok((told.one("chain_charged_requests_total", &USDC)? == 1).then_some(()))
    })
    .await?;
    let told = scrape(&remote.shop).await?;
    assert_ledger(&told, PAID, 1, 10_000)?;
    assert_eq!(told.all("ledger_claimed_requests", &[]).count(), 0, "nothing is, and there is an endpoint");
    assert_eq!(told.one("chain_ledger_claimed_amount", &[("window", "lifetime"), USDC[0], USDC[1]])?, 0);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_chains_head_is_told() -> Result<()> {
    let (shop, _upstream) = open().await?;
    let head = shop.chain.rpc().latest_block().await?.seconds()?;
    until("the head is told", async || {
        let told = scrape(&shop).await?;
        let chain = [("chain", "eip155:84532")];
        Ok(told.all("chain_head_seconds", &chain).any(|(_, at)| at == head.to_string()).then_some(()))
    })
    .await?;
    shop.close().await
}
