//! The long hours of questions to facilitators: restarts, changes of who settles, reorganisations, lost
//! leases and bad moments. No payment is settled twice, lost, or asked for without an end.

use alloy_primitives::B256;
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hyper::StatusCode;
use obol_core::{Finality, Reason};
use obol_devchain::{
    Devchain, Mining, Options,
    fault::{Fault, FaultyRpc, Rule},
};
use obol_facilitator::SettlerState;
use obol_ledger::State;
use obol_tests::{AT, Answered, Manner, RemoteShop, ShopOptions, fetch, get, others, paid, until};
use obol_wire::PaymentHeader;
use rusqlite::Connection;
use std::{net::SocketAddr, time::Duration};

/// In no block.
pub(crate) const LIE: B256 = B256::repeat_byte(0x77);

fn blind(options: &mut ShopOptions) {
    others(options).sees = false;
}

/// By its own account.
fn by_itself(options: &mut ShopOptions) {
    options.others = None;
}

/// Deeper than every reorganisation here.
fn deep(options: &mut ShopOptions) {
    options.seller.finality = Finality::Depth(25);
}

/// Seeing, by this endpoint.
fn through(rpc: &FaultyRpc, remote: &RemoteShop) -> ShopOptions {
    ShopOptions { rpc: Some(rpc.url().to_owned()), ..remote.options() }
}

pub(crate) async fn chain() -> Result<Devchain> {
    Ok(Devchain::start(Options { mining: Mining::Automine, ..Options::default() }).await?)
}

/// The ledger's file, to do to it what time and other processes do.
pub(crate) fn file(remote: &RemoteShop) -> Result<Connection> {
    let file = Connection::open(remote.shop.ledger_file())?;
    file.busy_timeout(Duration::from_secs(5))?;
    Ok(file)
}

fn is_down(remote: &RemoteShop) -> bool {
    remote.shop.settler_states().any(|(_, state)| state == SettlerState::FacilitatorDown)
}

pub(crate) async fn until_served(shop: SocketAddr, header: &PaymentHeader) -> Result<Answered> {
    until("served", async || {
        let answered = fetch(shop, paid(get(AT), header)).await?;
        Ok((answered.status == StatusCode::OK).then_some(answered))
    })
    .await
}

async fn until_all_are_paid(remote: &RemoteShop) -> Result<()> {
    until("all are paid", async || {
        let payments = remote.shop.payments().await?;
        Ok(payments.iter().all(|record| record.state().is_paid()).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_was_put_ends_after_the_switch_to_an_own_settler() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Hangs).await?;
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    let remote = remote.reopen_as(by_itself).await?;
    remote.outlive().await?;
    remote.shop.until_payment(|record| record.state() == State::Failed).await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_claim_ends_after_the_switch_to_an_own_settler() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::claims(LIE)).await?;
    assert_eq!(remote.customer(0).buy(AT).await?.status, StatusCode::OK);
    let remote = remote.reopen_as(by_itself).await?;
    remote.outlive().await?;
    remote.shop.until_payment(|record| record.state() == State::Failed).await?;
    assert!(remote.transfers().await?.is_empty());
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blind_restart_after_the_end_asks_once_more() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::SettlesAndHangs).await?;
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    let settled = remote.transfers().await?;
    assert_eq!(settled.len(), 1);
    // As if it were down until eleven minutes after the end.
    file(&remote)?.execute("UPDATE payments SET valid_before = unixepoch() - 660", [])?;
    remote.meddler.behave(Manner::Honest);
    let remote = remote.reopen(false).await?;
    let record = remote.shop.until_payment(|record| record.state() == State::Claimed).await?;
    assert_eq!(record.claim, settled.first().copied());
    remote.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undelivered_payment_whose_block_is_gone_stays_asked_for_and_is_not_charged_twice() -> Result<()> {
    let remote = RemoteShop::open_as(Manner::Hangs, deep).await?;
    remote.shop.chain.mine(3).await?;
    let customer = remote.customer(0);
    customer.buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    remote.meddler.behave(Manner::Honest);
    let first = remote.shop.until_payment(|record| record.state() == State::Included).await?;
    remote.shop.chain.reorg(1).await?;
    let second = |at: Option<obol_ledger::Inclusion>| at.is_some() && at != first.inclusion;
    remote.shop.until_payment(|record| record.state() == State::Included && second(record.inclusion)).await?;
    // Its client comes back as clients do, with a fresh payment.
    let served = customer.buy(AT).await?;
    assert_eq!((served.status, remote.transfers().await?.len()), (StatusCode::OK, 1));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_with_an_endpoint_delivers_on_nobodys_word() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::claims(LIE)).await?;
    // An endpoint is added by a rolling restart: the process without one still runs.
    let second = remote.shop.second_till(remote.options()).await?;
    second.publish(&[remote.offer()])?;
    let mut customer = remote.customer(0);
    customer.shop = second.address;
    let (_, header) = customer.payment(AT).await?;
    let told = fetch(second.address, paid(get(AT), &header)).await?;
    told.expect_refusal(Reason::SettlementPending)?;
    remote.meddler.behave(Manner::Honest);
    until_served(second.address, &header).await?;
    assert_eq!(remote.transfers().await?.len(), 1);
    second.stop().await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_nothing_asks_nothing_while_somebody_does_who_sees() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::SettlesAndHangs).await?;
    let second = remote.shop.second_till(remote.options()).await?;
    let following = || remote.shop.settler_states().all(|(_, state)| state == SettlerState::Following);
    until("it follows", async || Ok(following().then_some(()))).await?;
    // The chain tells the second one what became of it, later than the first one would ask again.
    assert_eq!(remote.customer(0).buy(AT).await?.status, StatusCode::OK);
    assert_eq!((remote.meddler.asked().len(), remote.transfers().await?.len()), (1, 1));
    second.stop().await?;
    let leading = || remote.shop.settler_states().all(|(_, state)| state == SettlerState::Leading);
    until("it leads again", async || Ok(leading().then_some(()))).await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_nothing_follows_nobody_whose_endpoint_is_down() -> Result<()> {
    let chain = chain().await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let remote = RemoteShop::open_on(chain, Manner::Honest, blind).await?;
    let second = remote.shop.second_till(through(&rpc, &remote)).await?;
    let all = |wanted| remote.shop.settler_states().all(|(_, state)| state == wanted);
    until("it follows", async || Ok(all(SettlerState::Following).then_some(()))).await?;
    rpc.set(Fault::Status(503));
    until("it leads again", async || Ok(all(SettlerState::Leading).then_some(()))).await?;
    let down = || second.settler_states().all(|(_, state)| state == SettlerState::RpcDown);
    assert!(down());
    for number in 0..4 {
        let sold = remote.customer(number).buy(&format!("{AT}/{number}")).await?;
        assert_eq!(sold.status, StatusCode::OK, "{sold:?}");
    }
    rpc.heal();
    until("it follows again", async || Ok(all(SettlerState::Following).then_some(()))).await?;
    until_all_are_paid(&remote).await?;
    second.stop().await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_tell_is_no_reason_to_doubt_a_claim() -> Result<()> {
    let chain = chain().await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let remote = RemoteShop::open_on(chain, Manner::Honest, blind).await?;
    assert_eq!(remote.customer(0).buy(AT).await?.status, StatusCode::OK);
    // Deeper than any reorganisation that is thought of.
    remote.shop.chain.mine(200).await?;
    let pruned = Fault::Refuse { code: -32005, message: "too many requests".to_owned() };
    for fault in [Fault::Answer(serde_json::json!([])), pruned] {
        let no_receipt = Rule::of(Fault::Answer(serde_json::Value::Null)).on(["eth_getTransactionReceipt"]);
        rpc.set_rules([no_receipt, Rule::of(fault).on(["eth_getLogs"])]);
        let before = rpc.seen("eth_call");
        let remote = &remote;
        let second = remote.shop.second_till(through(&rpc, remote)).await?;
        // When it is looked at again, the first look is over.
        until("looked at twice", async || Ok((rpc.seen("eth_call") > before + 1).then_some(()))).await?;
        second.stop().await?;
        let payments = remote.shop.payments().await?;
        assert!(payments.iter().all(|record| record.state() == State::Claimed), "{payments:?}");
    }
    rpc.heal();
    let remote = remote.reopen(true).await?;
    until_all_are_paid(&remote).await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoints_fault_is_not_the_facilitators() -> Result<()> {
    let chain = chain().await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let through = |options: &mut ShopOptions| options.rpc = Some(rpc.url().to_owned());
    let remote = RemoteShop::open_on(chain, Manner::Honest, through).await?;
    rpc.set_rules([Rule::of(Fault::Status(503)).on(["eth_getTransactionReceipt"])]);
    // When the second waits no more, the first one's claim has been looked for in vain.
    for number in 0..2 {
        remote.customer(number).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    }
    assert!(!is_down(&remote));
    rpc.heal();
    until_all_are_paid(&remote).await?;
    assert_eq!(remote.customer(2).buy(AT).await?.status, StatusCode::OK);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_a_blind_day_keep_nobody_waiting() -> Result<()> {
    let chain = chain().await?;
    let slow = FaultyRpc::start(chain.url()).await?;
    let remote = RemoteShop::open_on(chain, Manner::Honest, blind).await?;
    let day = (0..20).map(|number| {
        let customer = remote.customer(number % 4);
        async move { customer.buy(AT).await }
    });
    let sold = try_join_all(day).await?;
    assert!(sold.iter().all(|sold| sold.status == StatusCode::OK), "{sold:?}");
    slow.set(Fault::Delay(Duration::from_millis(100)));
    let remote = remote.reopen_as(|options| options.rpc = Some(slow.url().to_owned())).await?;
    // Within the time that a buyer waits.
    assert_eq!(remote.customer(5).buy(AT).await?.status, StatusCode::OK);
    slow.heal();
    until_all_are_paid(&remote).await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_not_on_the_chain_is_asked_for_again_while_it_is_valid() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::claims(LIE)).await?;
    assert_eq!(remote.customer(0).buy(AT).await?.status, StatusCode::OK);
    remote.meddler.behave(Manner::Honest);
    let remote = remote.reopen(true).await?;
    let record = remote.shop.until_payment(|record| record.state() == State::Included).await?;
    assert_eq!(remote.transfers().await?, [record.inclusion.context("included")?.tx]);
    assert_eq!(remote.meddler.asked().len(), 2);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_one_facilitator_has_refused_is_put_to_the_next_after_a_restart() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::refuses("insufficient_funds")).await?;
    let (_, header) = remote.customer(0).payment(AT).await?;
    let refused = fetch(remote.shop.address, paid(get(AT), &header)).await?;
    refused.expect_refusal(Reason::FacilitatorRefused)?;
    let (remote, first) = remote.reopen_with_another(Manner::Honest).await?;
    remote.trust_everybody()?;
    let served = fetch(remote.shop.address, paid(get(AT), &header)).await?;
    assert_eq!(served.status, StatusCode::OK, "{served:?}");
    remote.shop.until_payment(|record| record.state().is_paid()).await?;
    assert_eq!((first.asked().len(), remote.meddler.asked().len()), (1, 1));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn own_bytes_are_sent_once_after_a_reorganisation_under_a_facilitator() -> Result<()> {
    let own = |options: &mut ShopOptions| {
        by_itself(options);
        deep(options);
        options.seller.timing.stuck = Duration::from_secs(60);
    };
    let remote = RemoteShop::open_as(Manner::Hangs, own).await?;
    remote.shop.chain.mine(3).await?;
    assert_eq!(remote.customer(0).buy(AT).await?.status, StatusCode::OK);
    let first = remote.shop.until_payment(|record| record.state() == State::Included).await?;
    remote.shop.chain.set_mining(Mining::Manual).await?;
    let remote = remote.reopen_as(deep).await?;
    remote.shop.chain.reorg(1).await?;
    remote.shop.chain.drop_all_transactions().await?;
    remote.shop.chain.mine(1).await?;
    remote.shop.until_payment(|record| !record.state().is_paid()).await?;
    remote.shop.chain.set_mining(Mining::Automine).await?;
    let remote = remote.reopen_as(own).await?;
    let again = remote.shop.until_payment(|record| record.state() == State::Included).await?;
    assert_eq!(again.inclusion.map(|at| at.tx), first.inclusion.map(|at| at.tx), "the same bytes");
    let batches = file(&remote)?.query_row("SELECT count(*) FROM batches", [], |row| row.get(0));
    assert_eq!((again.misses, batches), (0, Ok(1)));
    assert!(remote.meddler.asked().is_empty());
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_moment_with_eight_questions_out_is_one_failure() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::SettlesAndFails(StatusCode::BAD_GATEWAY)).await?;
    let sales = (0..8).map(|number| {
        let customer = remote.customer(number);
        async move { customer.buy(AT).await }
    });
    let sold = try_join_all(sales).await?;
    assert!(sold.iter().all(|sold| sold.status == StatusCode::OK), "{sold:?}");
    assert!(is_down(&remote));
    remote.meddler.behave(Manner::Honest);
    // Eight failures would be as many minutes.
    until("asked again", async || {
        let sold = remote.customer(1).buy(AT).await?;
        Ok((sold.status == StatusCode::OK).then_some(()))
    })
    .await?;
    assert!(!is_down(&remote));
    assert_eq!(remote.transfers().await?.len(), 9);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_hangs_keeps_no_question_of_the_next_one_waiting() -> Result<()> {
    let (remote, second) = RemoteShop::open_with_second(Manner::Hangs).await?;
    let sales = (0..80).map(|number| {
        let customer = remote.customer(number % 4);
        async move { customer.buy(&format!("{AT}/{number}")).await }
    });
    for sold in try_join_all(sales).await? {
        sold.expect_refusal(Reason::SettlementPending)?;
    }
    let asked = remote.meddler.asked().len();
    for number in 0..4 {
        // Less than a question that hangs is waited for.
        let (customer, target) = (remote.customer(5), format!("{AT}/next-{number}"));
        let sale = tokio::time::timeout(Duration::from_secs(3), customer.buy(&target));
        let sold = sale.await.context("kept waiting")??;
        assert_eq!(sold.status, StatusCode::OK, "{sold:?}");
    }
    assert!(asked >= 80 && second.asked().len() == 4, "{asked}, {}", second.asked().len());
    remote.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_bad_hour_nothing_is_open_and_the_ledger_tells_what_the_chain_does() -> Result<()> {
    let chain = chain().await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let hasty = |options: &mut ShopOptions| {
        options.rpc = Some(rpc.url().to_owned());
        options.seller.finality = Finality::Depth(12);
        options.seller.timing.settle_budget = Duration::from_secs(2);
    };
    let mut remote = RemoteShop::open_on(chain, Manner::Honest, hasty).await?;
    remote.shop.chain.mine(13).await?;
    let hour = [
        Manner::Honest,
        Manner::SettlesAndFails(StatusCode::BAD_GATEWAY),
        Manner::refuses("insufficient_funds"),
        Manner::Hangs,
        Manner::SettlesAndHangs,
        Manner::html(),
        Manner::refuses("nonce_already_used"),
        Manner::claims(LIE),
    ];
    for (round, manner) in hour.into_iter().enumerate() {
        remote.meddler.behave(manner);
        if round % 3 == 1 {
            rpc.set_rules([Rule::of(Fault::Status(503)).on(["eth_getTransactionReceipt", "eth_getLogs"])]);
        }
        let sales = (0..6).map(|number| {
            let (customer, target) = (remote.customer(number), format!("{AT}/{round}-{number}"));
            async move { customer.buy(&target).await }
        });
        try_join_all(sales).await?;
        rpc.heal();
        if round % 4 == 2 {
            remote.shop.chain.reorg(2).await?;
        }
        if round % 2 == 0 {
            let sees = |options: &mut ShopOptions| {
                hasty(options);
                others(options).sees = round != 4;
            };
            remote = remote.reopen_as(sees).await?;
        }
        if round % 4 == 0 {
            remote.trust_everybody()?;
        }
    }
    remote.meddler.behave(Manner::Honest);
    let remote = remote.reopen_as(hasty).await?;
    remote.outlive().await?;
    let mut open = Vec::new();
    let ended = until("nothing is open", async || {
        remote.shop.chain.mine(1).await?;
        open = remote.shop.payments().await?;
        open.retain(|record| !matches!(record.state(), State::Settled | State::Failed | State::Released));
        Ok(open.is_empty().then_some(()))
    })
    .await;
    ended.with_context(|| format!("{open:#?}"))?;
    assert!(!remote.transfers().await?.is_empty());
    remote.close().await
}
