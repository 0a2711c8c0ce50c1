//! Two sellers on one ledger with one settler key: one of them sends, both sell.

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use obol_core::{Finality, Payment, Reason};
use obol_devchain::{
    Mining,
    fault::{Fault, FaultyRpc, Rule},
};
use obol_evm::BlockTag;
use obol_facilitator::SettlerState;
use obol_ledger::{Delivery, State};
use obol_tests::{Rig, Sale, Seller, SellerOptions, until};
use std::{collections::HashSet, time::Duration};

async fn second(rig: &Rig) -> Result<Seller> {
    Seller::open(&rig.chain, rig.rpc.url(), &rig.ledger_file(), SellerOptions::default())
}

/// The epoch of the only lease, and whether it was given back.
fn lease(rig: &Rig) -> Result<(i64, bool)> {
    let db = rusqlite::Connection::open(rig.ledger_file())?;
    Ok(db.query_row("SELECT epoch, expires_at = 0 FROM leases", [], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

fn state(seller: &Seller) -> Option<SettlerState> {
    seller.facilitator.states().next().map(|(_, state)| state)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_payments_spread_over_two_sellers_all_settle_and_none_twice() -> Result<()> {
    const PAYMENTS: usize = 500;
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let other = second(&rig).await?;
    let sales = (0..PAYMENTS).map(|n| {
        let (payment, seller) = (rig.pay(n), if n % 2 == 0 { &rig.seller } else { &other });
        async move { seller.sell(&payment).await }
    });
    stream::iter(sales).buffer_unordered(32).try_collect::<()>().await?;
    let distinct: HashSet<_> = rig.rpc.transactions().into_iter().collect();
    assert_eq!(rig.spent().await?.len(), distinct.len(), "each transaction was mined, none is left over");
    other.facilitator.stop().await;
    rig.close().await?.assert(PAYMENTS, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_offered_fifty_times_at_once_to_two_sellers_is_granted_once() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let other = second(&rig).await?;
    let payment = rig.pay(0);
    let tries = (0..50).map(|n| {
        let (payment, seller) = (payment.clone(), if n % 2 == 0 { &rig.seller } else { &other });
        async move { seller.attempt(&payment).await }
    });
    let mut served = 0;
    for sale in try_join_all(tries).await? {
        match sale {
            Sale::Served => served += 1,
            Sale::Refused(refusal) => {
                let expected = [Reason::InFlight, Reason::AlreadyServed, Reason::NonceUsed];
                assert!(expected.contains(&refusal.reason), "{refusal}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(served, 1);
    other.facilitator.stop().await;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_leads_and_the_other_takes_over_when_it_stops() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let other = second(&rig).await?;
    until("one leads and one follows", async || {
        let states = [state(&rig.seller), state(&other)];
        let one_of_each = [SettlerState::Leading, SettlerState::Following]
            .iter()
            .all(|wanted| states.contains(&Some(*wanted)));
        Ok(one_of_each.then_some(()))
    })
    .await?;
    // What the follower sells is settled by the leader.
    rig.seller.sell(&rig.pay(0)).await?;
    other.sell(&rig.pay(1)).await?;
    let payment = rig.pay(2);
    let held = rig.seller.grant(&payment).await?;
    other.facilitator.stop().await;
    rig.until_settler(SettlerState::Leading).await?;
    rig.seller.trust(held).await?;
    rig.mine_until(&payment, State::Settled).await?;
    rig.close().await?.assert(3, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_endpoint_is_away_lets_another_settle_until_it_is_back() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    rig.until_settler(SettlerState::Leading).await?;
    let healthy = Seller::open(&rig.chain, rig.chain.url(), &rig.ledger_file(), SellerOptions::default())?;
    until("it follows", async || Ok((state(&healthy) == Some(SettlerState::Following)).then_some(())))
        .await?;
    rig.rpc.set(Fault::Disconnect);
    until("it leads", async || Ok((state(&healthy) == Some(SettlerState::Leading)).then_some(()))).await?;
    healthy.sell(&rig.pay(0)).await?;
    rig.until_settler(SettlerState::RpcDown).await?;
    // Back, it sells, and follows who leads now.
    rig.rpc.heal();
    rig.until_settler(SettlerState::Following).await?;
    rig.seller.sell(&rig.pay(1)).await?;
    healthy.facilitator.stop().await;
    rig.until_settler(SettlerState::Leading).await?;
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gave_the_lead_away_and_is_alone_leads_again_when_its_endpoint_is_back() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    rig.until_settler(SettlerState::Leading).await?;
    let (epoch, _) = lease(&rig)?;
    rig.rpc.set(Fault::Disconnect);
    until("nobody leads", async || Ok(lease(&rig)?.1.then_some(()))).await?;
    assert_eq!(lease(&rig)?, (epoch, true), "and it takes it back for nothing");
    rig.rpc.heal();
    rig.until_settler(SettlerState::Leading).await?;
    assert_eq!(lease(&rig)?, (epoch + 1, false));
    rig.seller.sell(&rig.pay(0)).await?;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

fn no_receipts() -> Rule {
    Rule::of(Fault::Disconnect).on(["eth_getTransactionReceipt"])
}

/// A seller with a transaction out, whose endpoint fails in what only a leader asks.
async fn half_blind(fault: Rule) -> Result<(Rig, Payment)> {
    let rig = Rig::start(Mining::Manual, SellerOptions::default()).await?;
    let waits = rig.pay(0);
    rig.seller.trust(rig.seller.grant(&waits).await?).await?;
    rig.until_state(&waits, State::Submitted).await?;
    rig.rpc.set_rules([fault]);
    rig.until_settler(SettlerState::RpcDown).await?;
    Ok((rig, waits))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_sees_half_takes_no_payments_however_often_it_gives_the_lead_away() -> Result<()> {
    let (rig, waits) = half_blind(no_receipts()).await?;
    let (epoch, _) = lease(&rig)?;
    until("it has given the lead away twice", async || {
        assert_eq!(state(&rig.seller), Some(SettlerState::RpcDown));
        Ok((lease(&rig)?.0 >= epoch + 2).then_some(()))
    })
    .await?;
    rig.rpc.heal();
    rig.until_settler(SettlerState::Leading).await?;
    rig.mine_until(&waits, State::Settled).await?;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

async fn another_settles_what_was_sent(fault: Rule) -> Result<()> {
    let (rig, waits) = half_blind(fault).await?;
    let healthy = Seller::open(&rig.chain, rig.chain.url(), &rig.ledger_file(), SellerOptions::default())?;
    until("it leads", async || Ok((state(&healthy) == Some(SettlerState::Leading)).then_some(()))).await?;
    rig.mine_until(&waits, State::Settled).await?;
    rig.rpc.heal();
    healthy.facilitator.stop().await;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_sees_half_lets_another_settle_what_it_has_sent() -> Result<()> {
    another_settles_what_was_sent(no_receipts()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_endpoint_is_another_chains_lets_another_settle_what_it_has_sent() -> Result<()> {
    another_settles_what_was_sent(Rule::of(Fault::Answer("0x1".into())).on(["eth_chainId"])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_see_half_neither_takes_payments_while_the_lead_goes_to_and_fro() -> Result<()> {
    let (rig, waits) = half_blind(no_receipts()).await?;
    let (epoch, _) = lease(&rig)?;
    let other = second(&rig).await?;
    until("the other has led, and given the lead away", async || {
        Ok((lease(&rig)?.0 > epoch && state(&other) == Some(SettlerState::RpcDown)).then_some(()))
    })
    .await?;
    let (epoch, _) = lease(&rig)?;
    until("the lead has changed twice more", async || {
        assert_eq!([state(&rig.seller), state(&other)], [Some(SettlerState::RpcDown); 2]);
        Ok((lease(&rig)?.0 >= epoch + 2).then_some(()))
    })
    .await?;
    rig.rpc.heal();
    until("one leads", async || {
        Ok([state(&rig.seller), state(&other)].contains(&Some(SettlerState::Leading)).then_some(()))
    })
    .await?;
    rig.mine_until(&waits, State::Settled).await?;
    other.facilitator.stop().await;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_endpoint_hangs_is_not_dead() -> Result<()> {
    let mut options = SellerOptions::default();
    options.timing.patience = Duration::from_secs(2);
    options.rpc_timeout = Duration::from_secs(30);
    let rig = Rig::start(Mining::Automine, options.clone()).await?;
    rig.until_settler(SettlerState::Leading).await?;
    let slow = FaultyRpc::start(rig.chain.url()).await?;
    let follower = Seller::open(&rig.chain, slow.url(), &rig.ledger_file(), options)?;
    // A slow upstream, and a response that streams.
    let (waits, streams) = (rig.pay(0), rig.pay(1));
    let held = follower.grant(&waits).await?;
    let owed = follower.owe(follower.grant(&streams).await?).await?;
    follower.outcome(&owed).await?;
    let delivering = follower.ledger.start_delivery(owed).await??;
    slow.set(Fault::Hang);
    // As long as its settler is stuck in one call; the leader's time goes on by its own sales.
    let hung = std::time::Instant::now();
    let mut n = 2;
    while hung.elapsed() < 3 * Duration::from_secs(2) {
        rig.seller.sell(&rig.pay(n)).await?;
        n += 1;
    }
    let record = rig.record(&streams).await?;
    assert_eq!(record.delivery, Delivery::Started, "{:?}", rig.seller.ledger.events(record.id).await?);
    follower.ledger.finish_delivery(delivering, "delivered").await?;
    follower.owe(held).await?;
    assert_eq!(rig.record(&streams).await?.delivery, Delivery::Done);
    slow.heal();
    rig.mine_until(&waits, State::Included).await?;
    follower.facilitator.stop().await;
    rig.close().await?.assert(n, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sells_while_the_leaders_transaction_waits_for_a_block() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    rig.until_settler(SettlerState::Leading).await?;
    let endpoint = FaultyRpc::start(rig.chain.url()).await?;
    let other = Seller::open(&rig.chain, endpoint.url(), &rig.ledger_file(), SellerOptions::default())?;
    until("it follows", async || Ok((state(&other) == Some(SettlerState::Following)).then_some(()))).await?;
    rig.chain.set_mining(Mining::Manual).await?;
    let (waits, sold) = (rig.pay(0), rig.pay(1));
    rig.seller.trust(rig.seller.grant(&waits).await?).await?;
    rig.until_state(&waits, State::Submitted).await?;
    // Three more looks at the account.
    let looks = endpoint.seen("eth_getBalance");
    until("it has looked", async || Ok((endpoint.seen("eth_getBalance") >= looks + 3).then_some(()))).await?;
    assert_eq!(state(&other), Some(SettlerState::Following));
    other.trust(other.grant(&sold).await?).await?;
    rig.mine_until(&waits, State::Settled).await?;
    rig.mine_until(&sold, State::Settled).await?;
    other.facilitator.stop().await;
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sells_while_its_endpoint_is_behind_blocks_that_are_not_final() -> Result<()> {
    let options = SellerOptions { finality: Finality::Depth(10_000), ..SellerOptions::default() };
    let rig = Rig::start(Mining::Automine, options.clone()).await?;
    rig.until_settler(SettlerState::Leading).await?;
    let endpoint = FaultyRpc::start(rig.chain.url()).await?;
    let other = Seller::open(&rig.chain, endpoint.url(), &rig.ledger_file(), options)?;
    until("it follows", async || Ok((state(&other) == Some(SettlerState::Following)).then_some(()))).await?;
    let (mined, sold) = (rig.pay(0), rig.pay(1));
    let count = rig.chain.rpc().transaction_count(rig.chain.settler().address, BlockTag::Latest).await?;
    endpoint
        .set_rules([Rule::of(Fault::Answer(format!("{count:#x}").into())).on(["eth_getTransactionCount"])]);
    rig.seller.sell(&mined).await?;
    rig.until_state(&mined, State::Included).await?;
    // Three more looks at the account.
    let looks = endpoint.seen("eth_getTransactionCount");
    until(
        "it has looked",
        async || Ok((endpoint.seen("eth_getTransactionCount") >= looks + 3).then_some(())),
    )
    .await?;
    assert_eq!(state(&other), Some(SettlerState::Following));
    other.trust(other.grant(&sold).await?).await?;
    rig.until_state(&sold, State::Included).await?;
    other.facilitator.stop().await;
    rig.seller.facilitator.stop().await;
    Ok(())
}
