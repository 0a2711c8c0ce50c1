//! What gas costs, and who pays for it.

use alloy_primitives::{Address, U256, address};
use anyhow::Result;
use obol_core::{Payment, Reason};
use obol_devchain::{Devchain, Mining, Options};
use obol_evm::gas_limit_of;
use obol_facilitator::SettlerState;
use obol_ledger::State;
use obol_tests::{Rig, Sale, Seller, SellerOptions, assert_ledger_equals_chain, contracts, until};
use std::{collections::HashSet, time::Duration};

const GWEI: u64 = 1_000_000_000;

async fn assert_settler_unavailable(seller: &Seller, payment: &Payment) -> Result<()> {
    match seller.attempt(payment).await? {
        Sale::Refused(refusal) => assert_eq!(refusal.reason, Reason::SettlerUnavailable, "{refusal}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

async fn base_fee(rig: &Rig, gwei: u64) -> Result<()> {
    rig.chain.set_next_base_fee(U256::from(gwei) * U256::from(GWEI)).await?;
    Ok(rig.chain.mine(1).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_beyond_the_ceiling_stops_sales_until_it_is_cheaper() -> Result<()> {
    let rig = Rig::start(Mining::Manual, SellerOptions::default()).await?;
    let (waits, later) = (rig.pay(0), rig.pay(1));
    let held = rig.seller.grant(&waits).await?;
    base_fee(&rig, 1_000).await?;
    rig.seller.trust(held).await?;
    rig.until_settler(SettlerState::TooExpensive).await?;
    assert_settler_unavailable(&rig.seller, &later).await?;
    // It waits at the settler's leisure: the endpoint is not asked all the time.
    let before = rig.rpc.requests();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = rig.rpc.requests() - before;
    assert!(asked < 100, "{asked} requests in a second");
    assert_eq!(rig.record(&waits).await?.state(), State::Due);
    base_fee(&rig, 1).await?;
    rig.mine_until(&waits, State::Settled).await?;
    rig.seller.trust(rig.seller.grant(&later).await?).await?;
    rig.mine_until(&later, State::Settled).await?;
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_go_on_when_gas_is_cheaper_also_if_nothing_was_left_due() -> Result<()> {
    let rig = Rig::start(Mining::Manual, SellerOptions::default()).await?;
    let payment = rig.pay(0);
    let held = rig.seller.grant(&payment).await?;
    base_fee(&rig, 1_000).await?;
    let owed = rig.seller.owe(held).await?;
    rig.until_settler(SettlerState::TooExpensive).await?;
    rig.seller.ledger.let_go(owed, "the client left").await?;
    assert_eq!(rig.record(&payment).await?.state(), State::Released);
    base_fee(&rig, 1).await?;
    rig.until_settler(SettlerState::Leading).await?;
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.mine_until(&payment, State::Settled).await?;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settler_without_gas_takes_no_payments_from_its_start_until_funded() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let settler = chain.settler().address;
    let funds = chain.rpc().balance(settler).await?;
    chain.set_balance(settler, U256::ZERO).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("ledger.db");
    let seller = Seller::open(&chain, chain.url(), &file, SellerOptions::default())?;
    let state = || seller.facilitator.states().next().map(|(_, state)| state);
    let is = async |wanted| {
        until(format!("{wanted:?}"), async || Ok((state() == Some(wanted)).then_some(()))).await
    };
    is(SettlerState::NoGas).await?;
    let payment = obol_tests::Buyer::of(chain.buyers()[0]).pay(&seller.requirement);
    assert_settler_unavailable(&seller, &payment).await?;
    chain.set_balance(settler, funds).await?;
    is(SettlerState::Leading).await?;
    seller.sell(&payment).await?;
    assert_ledger_equals_chain(&chain, &seller.ledger, chain.seller().address).await?.assert(1, &[]);
    seller.facilitator.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_when_the_gas_money_ends_is_settled_when_there_is_more() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    rig.seller.sell(&rig.pay(0)).await?;
    let settler = rig.chain.settler().address;
    let funds = rig.chain.rpc().balance(settler).await?;
    rig.chain.set_balance(settler, U256::from(GWEI)).await?;
    let waits = rig.pay(1);
    rig.seller.trust(rig.seller.grant(&waits).await?).await?;
    rig.until_settler(SettlerState::NoGas).await?;
    assert_settler_unavailable(&rig.seller, &rig.pay(2)).await?;
    rig.chain.set_balance(settler, funds).await?;
    rig.mine_until(&waits, State::Settled).await?;
    rig.seller.sell(&rig.pay(2)).await?;
    assert_eq!(rig.transactions_of(&waits), 1);
    rig.close().await?.assert(3, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_waits_too_long_is_replaced_at_a_higher_price() -> Result<()> {
    let mut options = SellerOptions::default();
    options.timing.stuck = Duration::from_secs(1);
    let rig = Rig::start(Mining::Manual, options).await?;
    let payment = rig.pay(0);
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    // More than twice the base fee that it was made for: no block takes it.
    base_fee(&rig, 20).await?;
    assert_eq!(rig.record(&payment).await?.state(), State::Submitted);
    until("it is replaced", async || Ok((rig.transactions_of(&payment) >= 2).then_some(()))).await?;
    let limits: HashSet<_> =
        rig.rpc.transactions().iter().map(|transaction| gas_limit_of(transaction)).collect();
    assert!(limits.len() == 1 && !limits.contains(&None), "the same work needs the same gas: {limits:?}");
    rig.mine_until(&payment, State::Settled).await?;
    assert_eq!(rig.spent().await?.len(), 1, "one of them was mined");
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_transaction_is_not_replaced_beyond_the_ceiling_and_sales_stop() -> Result<()> {
    let mut options = SellerOptions::default();
    options.timing.stuck = Duration::from_secs(1);
    options.gas.max_fee = 10 * u128::from(GWEI);
    let rig = Rig::start(Mining::Manual, options).await?;
    let (payment, later) = (rig.pay(0), rig.pay(1));
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    base_fee(&rig, 20).await?;
    rig.until_settler(SettlerState::TooExpensive).await?;
    assert_settler_unavailable(&rig.seller, &later).await?;
    assert_eq!(rig.transactions_of(&payment), 1);
    base_fee(&rig, 1).await?;
    rig.mine_until(&payment, State::Settled).await?;
    rig.until_settler(SettlerState::Leading).await?;
    rig.seller.trust(rig.seller.grant(&later).await?).await?;
    rig.mine_until(&later, State::Settled).await?;
    rig.close().await?.assert(2, &[]);
    Ok(())
}

/// Where OP-stack chains have what tells the L1 data fee. Local chains have nothing there.
const GAS_PRICE_ORACLE: Address = address!("420000000000000000000000000000000000000F");

/// What each transaction costs for its data from now on.
async fn l1_fee(rig: &Rig, wei: u128) -> Result<()> {
    Ok(rig.chain.set_code(GAS_PRICE_ORACLE, &contracts::answering(U256::from(wei))).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_l1_fee_beyond_the_ceiling_stops_sales_until_it_is_cheaper() -> Result<()> {
    let options = SellerOptions::default();
    let ceiling = options.gas.l1_fee_per_payment;
    let rig = Rig::start(Mining::Manual, options).await?;
    l1_fee(&rig, ceiling).await?;
    let (bearable, waits, later) = (rig.pay(0), rig.pay(1), rig.pay(2));
    rig.seller.trust(rig.seller.grant(&bearable).await?).await?;
    rig.mine_until(&bearable, State::Settled).await?;
    let held = rig.seller.grant(&waits).await?;
    l1_fee(&rig, ceiling + 1).await?;
    rig.seller.trust(held).await?;
    rig.until_settler(SettlerState::TooExpensive).await?;
    assert_settler_unavailable(&rig.seller, &later).await?;
    assert_eq!(rig.record(&waits).await?.state(), State::Due);
    l1_fee(&rig, ceiling).await?;
    rig.mine_until(&waits, State::Settled).await?;
    rig.seller.trust(rig.seller.grant(&later).await?).await?;
    rig.mine_until(&later, State::Settled).await?;
    rig.close().await?.assert(3, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_transaction_is_not_replaced_beyond_the_l1_ceiling() -> Result<()> {
    let mut options = SellerOptions::default();
    options.timing.stuck = Duration::from_secs(1);
    let ceiling = options.gas.l1_fee_per_payment;
    let rig = Rig::start(Mining::Manual, options).await?;
    let payment = rig.pay(0);
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    l1_fee(&rig, ceiling + 1).await?;
    base_fee(&rig, 20).await?;
    rig.until_settler(SettlerState::TooExpensive).await?;
    // It is sent again as it is.
    let sent = rig.rpc.seen("eth_sendRawTransaction");
    until("it is sent again", async || Ok((rig.rpc.seen("eth_sendRawTransaction") > sent).then_some(())))
        .await?;
    assert_eq!(rig.transactions_of(&payment), 1);
    l1_fee(&rig, ceiling).await?;
    until("it is replaced", async || Ok((rig.transactions_of(&payment) >= 2).then_some(()))).await?;
    rig.mine_until(&payment, State::Settled).await?;
    rig.until_settler(SettlerState::Leading).await?;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_the_gas_money_settles_what_it_can() -> Result<()> {
    let rig = Rig::start(Mining::Manual, SellerOptions::default()).await?;
    let settler = rig.chain.settler().address;
    let payments: [_; 4] = std::array::from_fn(|n| rig.pay(n));
    let mut held = Vec::new();
    for payment in &payments {
        held.push(rig.seller.grant(payment).await?);
    }
    rig.chain.set_balance(settler, U256::from(GWEI)).await?;
    for held in held {
        rig.seller.trust(held).await?;
    }
    rig.until_settler(SettlerState::NoGas).await?;
    // For three payments at their worst; one of four needs more.
    let gas = SellerOptions::default().gas.per_payment * 3 + 60_000;
    let fees = rig.chain.rpc().suggested_tip().await? + 2 * rig.base_fee().await?;
    rig.chain.set_balance(settler, U256::from(gas) * U256::from(fees)).await?;
    // Before a block makes gas cheaper.
    rig.until_state(&payments[0], State::Submitted).await?;
    for payment in &payments {
        rig.mine_until(payment, State::Settled).await?;
        assert_eq!(rig.transactions_of(payment), 1);
    }
    assert!(rig.spent().await?.len() > 1, "not all in one");
    rig.close().await?.assert(4, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_send_takes_no_payments_either_without_gas_money() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    rig.until_settler(SettlerState::Leading).await?;
    let other = Seller::open(&rig.chain, rig.rpc.url(), &rig.ledger_file(), SellerOptions::default())?;
    let is = async |wanted| {
        let state = || other.facilitator.states().next().map(|(_, state)| state);
        until(format!("{wanted:?}"), async || Ok((state() == Some(wanted)).then_some(()))).await
    };
    is(SettlerState::Following).await?;
    let settler = rig.chain.settler().address;
    let funds = rig.chain.rpc().balance(settler).await?;
    rig.chain.set_balance(settler, U256::ZERO).await?;
    is(SettlerState::NoGas).await?;
    assert_settler_unavailable(&other, &rig.pay(0)).await?;
    rig.chain.set_balance(settler, funds).await?;
    is(SettlerState::Following).await?;
    other.sell(&rig.pay(0)).await?;
    other.facilitator.stop().await;
    rig.close().await?.assert(1, &[]);
    Ok(())
}
