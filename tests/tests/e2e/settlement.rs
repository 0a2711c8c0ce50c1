//! The money path on a real chain, without HTTP in front of it.

use alloy_primitives::Address;
use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use obol_core::Reason;
use obol_devchain::Mining;
use obol_ledger::State;
use obol_tests::{Rig, Sale, SellerOptions, Stranger, contracts};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_settled_once_and_the_ledger_knows_where() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let payment = rig.pay(0);
    rig.seller.sell(&payment).await?;
    match rig.seller.attempt(&payment).await? {
        Sale::Refused(refusal) => assert_eq!(refusal.reason, Reason::NonceUsed),
        other => panic!("{other:?}"),
    }
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_payments_at_once_all_settle_and_none_twice() -> Result<()> {
    const PAYMENTS: usize = 500;
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let sales = (0..PAYMENTS).map(|n| {
        let (payment, seller) = (rig.pay(n), &rig.seller);
        async move { seller.sell(&payment).await }
    });
    stream::iter(sales).buffer_unordered(32).try_collect::<()>().await?;
    rig.close().await?.assert(PAYMENTS, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_token_refuses_at_the_end_is_given_back_with_its_words() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let (chain, seller) = (&rig.chain, &rig.seller);
    let [poor, blocked, burning, good] = std::array::from_fn(|n| rig.pay(n));
    let payments = [&poor, &blocked, &burning, &good];
    let held = futures_util::future::try_join_all(payments.map(|payment| seller.grant(payment))).await?;
    let spender = Stranger::with(chain, chain.buyers()[0]);
    let all = chain.usdc_balance(poor.authorization.from).await?;
    spender.done(spender.give(Address::repeat_byte(7), all).await?).await?;
    chain.mined(chain.blacklist(blocked.authorization.from).await?).await?;
    chain.set_code(burning.authorization.from, &contracts::burning()).await?;
    for (held, word) in held.into_iter().zip(["exceeds balance", "blacklisted", "signature", ""]) {
        let owed = seller.owe(held).await?;
        match seller.finish(owed).await? {
            Sale::Released(Some(why)) if !word.is_empty() => assert!(why.contains(word), "{word}: {why}"),
            Sale::Served if word.is_empty() => {}
            other => panic!("{word}: {other:?}"),
        }
    }
    assert_eq!(rig.spent().await?.len(), 1, "gas was spent on the good one only");
    rig.close().await?.assert(1, &[(State::Released, 3)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_who_gets_agreeing_code_after_verification_settles_alone() -> Result<()> {
    let rig = Rig::start(Mining::Manual, SellerOptions::default()).await?;
    let seller = &rig.seller;
    let payments: [_; 3] = std::array::from_fn(|n| rig.pay(n));
    let mut held = Vec::new();
    for payment in &payments {
        held.push(seller.grant(payment).await?);
    }
    // One becomes a contract, one is delegated to it (EIP-7702), one stays as it is.
    let wallet = payments[0].authorization.from;
    rig.chain.set_code(wallet, &contracts::agreeing()).await?;
    rig.chain.set_code(payments[1].authorization.from, &contracts::delegated(wallet)).await?;
    for held in held {
        seller.trust(held).await?;
    }
    for payment in &payments {
        rig.mine_until(payment, State::Settled).await?;
    }
    assert_eq!(rig.spent().await?.len(), 3);
    rig.close().await?.assert(3, &[]);
    Ok(())
}
