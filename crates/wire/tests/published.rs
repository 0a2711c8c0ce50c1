//! What the published packages write is read, and what we write is what they read: the other
//! half of the latter is in the workspace's tests, where they pay.

use alloy_primitives::{B256, address};
use obol_core::{Amount, Asset, ChainId, Registry, Requirement, WireVersion};
use obol_wire::{Receipt, Sale, decode};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
struct Published {
    challenge_v2_header: String,
    challenge_v1_body: String,
    payment_v2_header: String,
    payment_v1_header: String,
    receipt_settled: String,
    receipt_pending: String,
    receipt_failed_v1: String,
}

fn published() -> Published {
    serde_json::from_str(include_str!("../testdata/published.json")).expect("the vectors")
}

fn usdc() -> Arc<Asset> {
    Arc::clone(Registry::built_in().default_asset(ChainId::new(84532)).expect("USDC"))
}

fn requirement() -> Requirement {
    Requirement {
        asset: usdc(),
        pay_to: address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        amount: Amount::from(10_000),
        max_timeout_seconds: 300,
    }
}

#[test]
fn payments_of_both_versions_are_read_to_the_same_terms() {
    let published = published();
    let registry = Registry::built_in();
    let v2 = decode(None, Some(published.payment_v2_header.as_bytes())).expect("v2").expect("a payment");
    let v1 = decode(Some(published.payment_v1_header.as_bytes()), None).expect("v1").expect("a payment");
    for (claim, version) in [(v2, WireVersion::V2), (v1, WireVersion::V1)] {
        let accepts = [requirement()];
        let (selected, payment) = claim.select(&accepts, &registry).expect("selected");
        assert_eq!(selected, &accepts[0]);
        assert_eq!(payment.version, version);
        assert_eq!(payment.authorization.from, address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"));
        assert_eq!(payment.authorization.to, accepts[0].pay_to);
        assert_eq!(payment.authorization.value, accepts[0].amount);
        assert_eq!(payment.signature.len(), 65);
    }
}

#[test]
fn challenges_of_both_versions_offer_the_same_thing() {
    let published = published();
    let registry = Registry::built_in();
    let v2 = Sale::parse(Some(published.challenge_v2_header.as_bytes()), b"{}", &registry).expect("v2");
    let v1 = Sale::parse(None, published.challenge_v1_body.as_bytes(), &registry).expect("v1");
    assert_eq!((v2.version, v1.version), (WireVersion::V2, WireVersion::V1));
    for sale in [v2, v1] {
        let [offered] = sale.offered.as_slice() else { panic!("one way to pay: {:?}", sale.offered) };
        let wanted = requirement();
        assert_eq!(
            (offered.chain, offered.asset, offered.pay_to, offered.amount, offered.max_timeout_seconds),
            (wanted.asset.chain, wanted.asset.address, wanted.pay_to, wanted.amount, 300)
        );
        assert_eq!(offered.domain, wanted.asset.domain);
    }
}

#[test]
fn receipts_say_what_became_of_the_payment() {
    let published = published();
    let registry = Registry::built_in();
    let transaction = B256::repeat_byte(0xab);
    let payer = address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
    let chain = ChainId::new(84532);
    let read = |header: &str| Receipt::decode(header.as_bytes(), &registry).expect("a receipt");
    assert_eq!(
        read(&published.receipt_settled),
        Receipt::Settled { chain, transaction, payer, amount: None }
    );
    assert_eq!(
        read(&published.receipt_pending),
        Receipt::Unsettled {
            chain,
            transaction: Some(transaction),
            payer,
            reason: "settlement_pending".to_owned()
        }
    );
    assert!(matches!(
        read(&published.receipt_failed_v1),
        Receipt::Unsettled { transaction: None, reason, .. } if reason == "insufficient_funds"
    ));
}
