//! A payment for anything but the exact terms is refused, and says why.

use alloy_primitives::{Address, B256, U256, address};
use anyhow::Result;
use obol_core::{Amount, ChainId, Payment, Reason, TransferMethod};
use obol_devchain::Mining;
use obol_tests::{Rig, Sale, SellerOptions, Stranger};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Offers each payment, signed as its row left it, and compares the reasons.
async fn assert_refused(rig: &Rig, rows: &[(&str, Reason, Payment)]) -> Result<()> {
    for (name, reason, payment) in rows {
        match rig.seller.attempt(payment).await? {
            Sale::Refused(refusal) => assert_eq!(refusal.reason, *reason, "{name}: {refusal}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_made_out_for_other_terms_is_refused_with_its_reason() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let (buyer, terms) = (rig.buyer(0), rig.seller.requirement.clone());
    let price = terms.amount.atomic();
    let valued = |value: U256| {
        let mut authorization = buyer.authorize(&terms);
        authorization.value = Amount::from_atomic(value);
        buyer.sign(&terms, authorization)
    };
    let with = |change: &dyn Fn(&mut Payment)| {
        let mut payment = buyer.pay(&terms);
        change(&mut payment);
        payment
    };
    let to_nobody = {
        let mut authorization = buyer.authorize(&terms);
        authorization.to = Address::repeat_byte(9);
        buyer.sign(&terms, authorization)
    };
    let rows = [
        ("another chain", Reason::NetworkMismatch, with(&|p| p.chain = ChainId::new(8453))),
        (
            "another asset",
            Reason::NoMatchingRequirement,
            with(&|p| p.asset = address!("0a09371a8b011d5110656ceBCc70603e53FD2c78")),
        ),
        ("another method", Reason::UnsupportedScheme, with(&|p| p.method = TransferMethod::Permit2)),
        ("another payee", Reason::RecipientMismatch, to_nobody),
        ("one unit less", Reason::ValueMismatch, valued(price - U256::ONE)),
        ("one unit more", Reason::ValueMismatch, valued(price + U256::ONE)),
        ("nothing", Reason::ValueMismatch, valued(U256::ZERO)),
        ("all there can be", Reason::ValueMismatch, valued(U256::MAX)),
        ("the payee pays", Reason::InvalidPayload, with(&|p| p.authorization.from = terms.pay_to)),
        ("nobody pays", Reason::InvalidPayload, with(&|p| p.authorization.from = Address::ZERO)),
    ];
    assert_refused(&rig, &rows).await?;
    rig.close().await?.assert(0, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_has_to_outlive_the_upstream_and_the_settlement_and_to_have_begun() -> Result<()> {
    let options = SellerOptions::default();
    // What the helper's terms give the upstream, and what the seller's timing adds.
    let needed = Duration::from_secs(10) + options.timing.settle_budget + options.timing.clock_skew;
    let rig = Rig::start(Mining::Automine, options).await?;
    let (buyer, terms) = (rig.buyer(0), rig.seller.requirement.clone());
    let valid = |after: U256, before: U256| {
        let mut authorization = buyer.authorize(&terms);
        (authorization.valid_after, authorization.valid_before) = (after, before);
        buyer.sign(&terms, authorization)
    };
    let later = U256::from(now() + 600);
    let rows = [
        ("expired long ago", Reason::Expired, valid(U256::ZERO, U256::ONE)),
        ("expired a second ago", Reason::Expired, valid(U256::ZERO, U256::from(now() - 1))),
        ("expires while it is served", Reason::Expired, valid(U256::ZERO, U256::from(now() + 5))),
        (
            "expires while it settles",
            Reason::Expired,
            valid(U256::ZERO, U256::from(now() + needed.as_secs())),
        ),
        ("begins in a minute", Reason::NotYetValid, valid(U256::from(now() + 60), later)),
        ("never begins", Reason::NotYetValid, valid(U256::MAX, U256::MAX)),
        ("ends before it begins", Reason::Expired, valid(U256::from(now()), U256::ZERO)),
    ];
    assert_refused(&rig, &rows).await?;
    // Room for the seconds that pass until the seller looks.
    let enough = valid(U256::ZERO, U256::from(now() + needed.as_secs() + 10));
    assert_eq!(rig.seller.attempt(&enough).await?, Sale::Served);
    let forever = valid(U256::ZERO, U256::MAX);
    assert_eq!(rig.seller.attempt(&forever).await?, Sale::Served);
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_the_chain_has_seen_is_refused() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let stranger = Stranger::on(&rig.chain);
    let (sold, cancelled, unknown) = (rig.pay(0), rig.pay(1), B256::repeat_byte(1));
    rig.seller.sell(&sold).await?;
    let asset = &rig.seller.requirement.asset;
    stranger.done(stranger.cancel(asset, &rig.buyer(1), cancelled.authorization.nonce).await?).await?;
    // A use that this ledger knows nothing of: made out to somebody else.
    let mut elsewhere = rig.buyer(2).authorize(&rig.seller.requirement);
    (elsewhere.to, elsewhere.nonce) = (Address::repeat_byte(7), unknown);
    let elsewhere = rig.buyer(2).sign(&rig.seller.requirement, elsewhere);
    stranger.done(stranger.settle(&elsewhere).await?).await?;
    let mut used = rig.buyer(2).authorize(&rig.seller.requirement);
    used.nonce = unknown;
    let used = rig.buyer(2).sign(&rig.seller.requirement, used);
    let rows = [
        ("settled by us", Reason::NonceUsed, sold),
        ("cancelled by the payer", Reason::NonceUsed, cancelled),
        ("used for somebody else", Reason::NonceUsed, used),
    ];
    assert_refused(&rig, &rows).await?;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chains_clock_decides_when_it_is_ahead_of_the_machines() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    rig.chain.increase_time(Duration::from_secs(3_600)).await?;
    rig.chain.mine(1).await?;
    let rows = [("expired on the chain", Reason::Expired, rig.pay(0))];
    assert_refused(&rig, &rows).await?;
    let valid = |after: u64, before: u64| {
        let mut authorization = rig.buyer(0).authorize(&rig.seller.requirement);
        (authorization.valid_after, authorization.valid_before) = (U256::from(after), U256::from(before));
        rig.buyer(0).sign(&rig.seller.requirement, authorization)
    };
    // Begun on the chain, and not on this machine.
    let begun = valid(now() + 1_800, now() + 4_200);
    assert_eq!(rig.seller.attempt(&begun).await?, Sale::Served);
    rig.close().await?.assert(1, &[]);
    Ok(())
}
