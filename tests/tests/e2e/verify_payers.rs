//! What the chain says about the payer: funds, blacklist, code.

use alloy_primitives::{Address, B256, Bytes, b256};
use alloy_sol_types::SolValue;
use anyhow::Result;
use futures_util::future::join_all;
use obol_core::{Amount, Asset, Payment, Reason, Requirement};
use obol_devchain::{Mining, fault::Fault};
use obol_facilitator::Terms;
use obol_ledger::{Reservation, State};
use obol_tests::{Rig, Sale, SellerOptions, Stranger, contracts};
use std::{sync::Arc, time::Duration};

fn reason(sale: &Sale) -> Option<Reason> {
    match sale {
        Sale::Refused(refusal) => Some(refusal.reason),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_without_enough_funds_is_refused_until_funded() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let payer = rig.chain.buyers()[0];
    let spender = Stranger::with(&rig.chain, payer);
    // One atomic unit short of the price is left.
    let left = rig.seller.requirement.amount.checked_sub(Amount::from(1)).expect("a price");
    let all = rig.chain.usdc_balance(payer.address).await?;
    let spent = all.checked_sub(left).expect("more than the price");
    spender.done(spender.give(Address::repeat_byte(7), spent).await?).await?;
    let payment = rig.pay(0);
    assert_eq!(reason(&rig.seller.attempt(&payment).await?), Some(Reason::InsufficientBalance));
    rig.chain.mined(rig.chain.mint_usdc(payer.address, Amount::from(1)).await?).await?;
    assert_eq!(rig.seller.attempt(&payment).await?, Sale::Served);
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_covers_one_payment_does_not_cover_two_open_ones() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let payer = rig.chain.buyers()[0];
    let spender = Stranger::with(&rig.chain, payer);
    let all = rig.chain.usdc_balance(payer.address).await?;
    let one_and_a_half = Amount::from(15_000);
    spender
        .done(spender.give(Address::repeat_byte(7), all.checked_sub(one_and_a_half).expect("more")).await?)
        .await?;
    let (first, second) = (rig.pay(0), rig.pay(0));
    let held = rig.seller.grant(&first).await?;
    match rig.seller.reserve(&second).await? {
        Reservation::Refused(refusal) => assert_eq!(refusal.reason, Reason::InsufficientBalance),
        other => panic!("{other:?}"),
    }
    // Given back, the first no longer counts.
    rig.seller.ledger.release(held, "the upstream failed").await??;
    assert_eq!(rig.seller.attempt(&second).await?, Sale::Served);
    assert_eq!(reason(&rig.seller.attempt(&first).await?), Some(Reason::InsufficientBalance));
    rig.close().await?.assert(1, &[(State::Released, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_the_token_would_block_is_refused_before_the_service() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let payment = rig.pay(0);
    let refused = Some(Reason::SimulationFailed);
    for account in [rig.chain.buyers()[0].address, rig.chain.seller().address] {
        rig.chain.mined(rig.chain.blacklist(account).await?).await?;
        assert_eq!(reason(&rig.seller.attempt(&payment).await?), refused, "blacklisted {account}");
        rig.chain.mined(rig.chain.unblacklist(account).await?).await?;
    }
    rig.chain.mined(rig.chain.set_usdc_paused(true).await?).await?;
    assert_eq!(reason(&rig.seller.attempt(&payment).await?), refused, "paused");
    rig.chain.mined(rig.chain.set_usdc_paused(false).await?).await?;
    assert_eq!(rig.seller.attempt(&payment).await?, Sale::Served);
    rig.close().await?.assert(1, &[]);
    Ok(())
}

/// The payer's account becomes a contract with this code; the payment's signature is not of 65
/// bytes, so only that code can call it good.
async fn contract_pays(rig: &Rig, n: usize, code: Bytes) -> Result<Payment> {
    let mut payment = rig.pay(n);
    rig.chain.set_code(payment.authorization.from, &code).await?;
    payment.signature = Bytes::from_static(b"whatever the contract wants");
    Ok(payment)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_pays_when_it_calls_the_signature_good() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let agreeing = contract_pays(&rig, 0, contracts::agreeing()).await?;
    assert_eq!(rig.seller.attempt(&agreeing).await?, Sale::Served);
    // It has code, so 65 bytes are its to judge as well, whoever's they are.
    let mut foreign = rig.pay(0);
    foreign.signature = rig.pay(1).signature;
    assert_eq!(rig.seller.attempt(&foreign).await?, Sale::Served);
    // Code that is a delegation counts, too: to a contract that agrees, and to nothing.
    let wallet = Address::repeat_byte(0x77);
    rig.chain.set_code(wallet, &contracts::agreeing()).await?;
    let delegated = contract_pays(&rig, 2, contracts::delegated(wallet)).await?;
    assert_eq!(rig.seller.attempt(&delegated).await?, Sale::Served);
    let mut nowhere = rig.pay(3);
    rig.chain.set_code(nowhere.authorization.from, &contracts::delegated(Address::repeat_byte(0x78))).await?;
    assert_eq!(reason(&rig.seller.attempt(&nowhere).await?), Some(Reason::InvalidSignature));
    nowhere.signature = Bytes::new();
    assert_eq!(reason(&rig.seller.attempt(&nowhere).await?), Some(Reason::InvalidSignature));
    rig.close().await?.assert(3, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_refuses_or_burns_the_gas_does_not_pay() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let refusing = contract_pays(&rig, 0, contracts::refusing()).await?;
    assert_eq!(reason(&rig.seller.attempt(&refusing).await?), Some(Reason::InvalidSignature));
    // Also with the signature of the key that the account once had.
    assert_eq!(reason(&rig.seller.attempt(&rig.pay(0)).await?), Some(Reason::InvalidSignature));
    let burning = contract_pays(&rig, 1, contracts::burning()).await?;
    // The token says so itself with the gas that its question to the contract left over.
    assert_eq!(reason(&rig.seller.attempt(&burning).await?), Some(Reason::InvalidSignature));
    assert!(rig.spent().await?.is_empty(), "the settler paid for it");
    rig.close().await?.assert(0, &[]);
    Ok(())
}

/// What marks a signature as ERC-6492's.
const SUFFIX: B256 = b256!("6492649264926492649264926492649264926492649264926492649264926492");

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_its_factory_has_yet_to_deploy_does_not_pay_through_an_unknown_factory() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let mut payment = rig.pay(0);
    let factory = Address::repeat_byte(0xfa);
    let wrapped = (factory, Bytes::from_static(b"create"), payment.signature.clone()).abi_encode_params();
    payment.signature = [&wrapped[..], SUFFIX.as_slice()].concat().into();
    assert_eq!(reason(&rig.seller.attempt(&payment).await?), Some(Reason::FactoryNotAllowed));
    payment.signature = SUFFIX.into();
    assert_eq!(reason(&rig.seller.attempt(&payment).await?), Some(Reason::InvalidSignature));
    rig.close().await?.assert(0, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_none_is_no_concern_of_the_payments_that_are_read_with_it() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let good = rig.seller.requirement.clone();
    let nothing = Asset { address: Address::repeat_byte(0x99), ..good.asset.as_ref().clone() };
    let bad = Requirement { asset: Arc::new(nothing), ..good.clone() };
    // While all reads are under way, questions gather for one request.
    rig.rpc.set(Fault::Delay(Duration::from_millis(300)));
    let payments: Vec<_> = (0..20)
        .map(|n| {
            let requirement = if n % 5 == 4 { bad.clone() } else { good.clone() };
            (rig.buyer(n).pay(&requirement), requirement)
        })
        .collect();
    let verdicts = payments.iter().map(|(payment, requirement)| {
        let terms = Terms { requirement, header_timeout: Duration::from_secs(10) };
        rig.seller.facilitator.verify(payment, terms)
    });
    let verdicts = join_all(verdicts).await;
    for ((payment, _), verdict) in payments.iter().zip(&verdicts) {
        let found = verdict.as_ref().err().map(|refusal| refusal.reason);
        let expected = (payment.asset == bad.asset.address).then_some(Reason::ChainUnavailable);
        assert_eq!(found, expected, "{verdict:?}");
    }
    assert!(rig.rpc.seen("eth_call") < 20, "each was read alone");
    rig.rpc.heal();
    rig.close().await?.assert(0, &[]);
    Ok(())
}
