//! Our own buyer's payments, and every way in which a payment header can be wrong.

use alloy_primitives::{Address, B256, Bytes, U256};
use base64::{Engine, engine::general_purpose::STANDARD};
use obol_core::{
    Amount, Authorization, ChainId, Payment, Reason, Refusal, Registry, Requirement, TransferMethod,
    WireVersion,
};
use obol_wire::{ChallengeTemplate, MAX_HEADER, Offered, Receipt, Sale, decode};
use serde_json::{Value, json};
use std::sync::Arc;

const PAYEE: Address = Address::repeat_byte(0x11);
const PAYER: Address = Address::repeat_byte(0x22);

fn requirement(chain: u64) -> Requirement {
    Requirement {
        asset: Arc::clone(Registry::built_in().default_asset(ChainId::new(chain)).expect("USDC")),
        pay_to: PAYEE,
        amount: Amount::from(10_000),
        max_timeout_seconds: 300,
    }
}

fn payment(requirement: &Requirement, version: WireVersion) -> Payment {
    Payment {
        version,
        chain: requirement.asset.chain,
        asset: requirement.asset.address,
        method: TransferMethod::Eip3009,
        authorization: Authorization {
            from: PAYER,
            to: requirement.pay_to,
            value: requirement.amount,
            valid_after: U256::from(5),
            valid_before: U256::MAX,
            nonce: B256::repeat_byte(0x33),
        },
        signature: Bytes::from(vec![0x44; 65]),
    }
}

/// The sale as a client of the version sees it.
fn sale(accepts: &[Requirement], version: WireVersion) -> Sale {
    let registry = Registry::built_in();
    let challenge = ChallengeTemplate::new(accepts, &registry, "a \"quoted\" thing").render(
        "http://x/\"y",
        None,
        version,
    );
    let header = Some(challenge.header.as_bytes()).filter(|_| version == WireVersion::V2);
    Sale::parse(header, challenge.body.as_bytes(), &registry).expect("a challenge")
}

fn only(sale: &Sale) -> &Offered {
    assert_eq!(sale.offered.len(), 1);
    &sale.offered[0]
}

/// A v2 payment as JSON, to be spoiled.
fn v2() -> Value {
    let requirement = requirement(84532);
    let sale = sale(std::slice::from_ref(&requirement), WireVersion::V2);
    let header = sale.pay(only(&sale), &payment(&requirement, WireVersion::V2), &Registry::built_in());
    serde_json::from_slice(&STANDARD.decode(header.value).expect("base64")).expect("JSON")
}

fn v1() -> Value {
    let requirement = requirement(84532);
    let sale = sale(std::slice::from_ref(&requirement), WireVersion::V1);
    let header = sale.pay(only(&sale), &payment(&requirement, WireVersion::V1), &Registry::built_in());
    serde_json::from_slice(&STANDARD.decode(header.value).expect("base64")).expect("JSON")
}

fn reason(v1: Option<&[u8]>, v2: Option<&[u8]>) -> Reason {
    let accepts = [requirement(84532)];
    match decode(v1, v2) {
        Err(refusal) => refusal.reason,
        Ok(None) => panic!("nothing came"),
        Ok(Some(claim)) => match claim.select(&accepts, &Registry::built_in()) {
            Err(refusal) => refusal.reason,
            Ok(taken) => panic!("taken: {taken:?}"),
        },
    }
}

fn spoiled(mut payment: Value, pointer: &str, value: Value) -> String {
    *payment.pointer_mut(pointer).expect(pointer) = value;
    STANDARD.encode(payment.to_string())
}

#[test]
fn a_payment_written_is_the_payment_read_in_both_versions() {
    for version in [WireVersion::V1, WireVersion::V2] {
        let accepts = [requirement(84532)];
        let sale = sale(&accepts, version);
        let paid = payment(&accepts[0], version);
        let header = sale.pay(only(&sale), &paid, &Registry::built_in());
        let value = Some(header.value.as_bytes());
        let claim = match header.name {
            "x-payment" => decode(value, None),
            "payment-signature" => decode(None, value),
            other => panic!("{other}"),
        };
        let claim = claim.expect("good").expect("there");
        let (selected, read) = claim.select(&accepts, &Registry::built_in()).expect("selected");
        assert_eq!((selected, read), (&accepts[0], paid));
    }
}

#[test]
fn of_several_requirements_the_accepted_one_is_selected() {
    let accepts = [requirement(8453), requirement(84532)];
    for version in [WireVersion::V1, WireVersion::V2] {
        let sale = sale(&accepts, version);
        for (offered, requirement) in sale.offered.iter().zip(&accepts) {
            let header = sale.pay(offered, &payment(requirement, version), &Registry::built_in());
            let value = Some(header.value.as_bytes());
            let claim = if version == WireVersion::V1 { decode(value, None) } else { decode(None, value) };
            let claim = claim.expect("good").expect("there");
            let (selected, _) = claim.select(&accepts, &Registry::built_in()).expect("selected");
            assert_eq!(selected, requirement);
        }
    }
}

#[test]
fn no_payment_header_is_no_payment() {
    assert_eq!(decode(None, None), Ok(None));
}

#[test]
fn what_is_not_base64_of_a_payment_is_refused() {
    let too_long = vec![b'A'; MAX_HEADER + 4];
    let deep = STANDARD.encode("[".repeat(10_000));
    let url_safe = "-_-_".to_owned();
    let unpadded = STANDARD.encode(v2().to_string()).trim_end_matches('=').to_owned() + "A";
    let twice = STANDARD.encode(r#"{"x402Version":2,"x402Version":2}"#);
    for header in ["", "{}", " ", "AAAA", "bnVsbA==", "W10=", &url_safe, &unpadded, &deep, &twice, "\u{ff}"] {
        for (v1, v2) in [(Some(header.as_bytes()), None), (None, Some(header.as_bytes()))] {
            assert_eq!(reason(v1, v2), Reason::InvalidPayload, "{header:?}");
        }
    }
    assert_eq!(reason(None, Some(&too_long)), Reason::InvalidPayload);
}

#[test]
fn each_field_that_is_wrong_has_its_reason() {
    for (pointer, value, expected) in [
        ("/x402Version", json!(3), Reason::InvalidVersion),
        ("/x402Version", json!(1), Reason::InvalidVersion),
        ("/x402Version", json!("2"), Reason::InvalidPayload),
        ("/x402Version", json!(-2), Reason::InvalidPayload),
        ("/accepted/scheme", json!("upto"), Reason::UnsupportedScheme),
        ("/accepted/network", json!("eip155:1"), Reason::NetworkMismatch),
        ("/accepted/network", json!("base-sepolia"), Reason::NetworkMismatch),
        ("/accepted/asset", json!(Address::repeat_byte(9)), Reason::NoMatchingRequirement),
        ("/accepted/payTo", json!(PAYER), Reason::RecipientMismatch),
        ("/accepted/amount", json!("9999"), Reason::ValueMismatch),
        ("/accepted/amount", json!("10001"), Reason::ValueMismatch),
        ("/accepted/amount", json!(10000), Reason::InvalidPayload),
        ("/accepted/amount", json!("1e4"), Reason::InvalidPayload),
        ("/payload", json!({"permit2Authorization": {}}), Reason::UnsupportedScheme),
        ("/payload", json!("0x"), Reason::InvalidPayload),
        ("/payload/signature", json!("44"), Reason::InvalidPayload),
        ("/payload/signature", json!("0x4"), Reason::InvalidPayload),
        ("/payload/signature", json!(null), Reason::InvalidPayload),
        ("/payload/authorization/from", json!("0x22"), Reason::InvalidPayload),
        ("/payload/authorization/to", json!("22".repeat(20)), Reason::InvalidPayload),
        ("/payload/authorization/value", json!("-1"), Reason::InvalidPayload),
        ("/payload/authorization/value", json!("0x2710"), Reason::InvalidPayload),
        ("/payload/authorization/value", json!("9".repeat(79)), Reason::InvalidPayload),
        ("/payload/authorization/validAfter", json!(0), Reason::InvalidPayload),
        ("/payload/authorization/validBefore", json!(""), Reason::InvalidPayload),
        ("/payload/authorization/nonce", json!("0x33"), Reason::InvalidPayload),
    ] {
        let header = spoiled(v2(), pointer, value.clone());
        assert_eq!(reason(None, Some(header.as_bytes())), expected, "{pointer} = {value}");
    }
    for (pointer, value, expected) in [
        ("/x402Version", json!(2), Reason::InvalidVersion),
        ("/scheme", json!("Exact"), Reason::UnsupportedScheme),
        ("/network", json!("base"), Reason::NetworkMismatch),
        ("/network", json!("no such chain"), Reason::NetworkMismatch),
        ("/network", json!(null), Reason::InvalidPayload),
        ("/payload/authorization/nonce", json!(7), Reason::InvalidPayload),
    ] {
        let header = spoiled(v1(), pointer, value.clone());
        assert_eq!(reason(Some(header.as_bytes()), None), expected, "{pointer} = {value}");
    }
}

#[test]
fn both_headers_have_to_hold_the_same_payment() {
    let (old, new) = (STANDARD.encode(v1().to_string()), STANDARD.encode(v2().to_string()));
    let claim = decode(Some(old.as_bytes()), Some(new.as_bytes())).expect("the same").expect("there");
    assert_eq!(claim.version(), WireVersion::V2);
    let other = spoiled(v1(), "/payload/authorization/nonce", json!(B256::repeat_byte(9)));
    assert_eq!(reason(Some(other.as_bytes()), Some(new.as_bytes())), Reason::ConflictingPayments);
    assert_eq!(reason(Some(b"x"), Some(new.as_bytes())), Reason::InvalidPayload);
}

#[test]
fn v1_clients_are_offered_nothing_that_their_payment_could_not_tell_apart() {
    let usdc = requirement(84532);
    let mut other = usdc.clone();
    other.asset = Arc::new(obol_core::Asset { address: Address::repeat_byte(9), ..(*usdc.asset).clone() });
    let accepts = [usdc, other];
    assert_eq!(sale(&accepts, WireVersion::V1).offered.len(), 1);
    assert_eq!(sale(&accepts, WireVersion::V2).offered.len(), 2);
}

#[test]
fn an_offer_on_a_chain_without_a_v1_name_shows_v2_terms_in_its_body() {
    let challenge = ChallengeTemplate::new(&[requirement(1)], &Registry::built_in(), "").render(
        "http://x/",
        None,
        WireVersion::V2,
    );
    let body: Value = serde_json::from_str(&challenge.body).expect("JSON");
    assert_eq!((&body["x402Version"], &body["accepts"][0]["network"]), (&json!(2), &json!("eip155:1")));
}

#[test]
fn a_refused_payments_challenge_says_why_in_the_words_of_its_version() {
    let template = ChallengeTemplate::new(&[requirement(84532)], &Registry::built_in(), "hello");
    let refusal = Refusal::new(Reason::InsufficientBalance, "the balance is 3");
    let challenge = template.render("http://x/", Some(&refusal), WireVersion::V1);
    let body: Value = serde_json::from_str(&challenge.body).expect("JSON");
    assert_eq!(body["error"], "insufficient_funds");
    assert_eq!(body["reason"], "invalid_exact_evm_insufficient_balance");
    assert_eq!(body["detail"], "the balance is 3");
    assert_eq!((&body["retriable"], &body["paymentVerified"]), (&json!(true), &json!(false)));
    assert_eq!((&body["x402Version"], &body["accepts"][0]["resource"]), (&json!(1), &json!("http://x/")));
    let header: Value =
        serde_json::from_slice(&STANDARD.decode(challenge.header).expect("base64")).expect("JSON");
    assert_eq!(header["error"], "invalid_exact_evm_insufficient_balance");
    assert_eq!(header["resource"], json!({"url": "http://x/", "description": "hello"}));
}

/// The header is put together from parts that were encoded apart.
#[test]
fn a_challenge_is_one_text_for_urls_of_every_length_and_spelling() {
    let template = ChallengeTemplate::new(&[requirement(84532)], &Registry::built_in(), "a \"quoted\" thing");
    for tail in ["", "a", "ab", "abc", "\"", "\\\n", "\u{e9}\u{1f642}"] {
        let url = format!("http://x/{tail}");
        for refusal in [None, Some(Reason::NonceUsed), Some(Reason::Expired), Some(Reason::TermsChanged)] {
            let refusal = refusal.map(Refusal::from);
            let challenge = template.render(&url, refusal.as_ref(), WireVersion::V2);
            let header = STANDARD.decode(&challenge.header).expect("padded at its end only");
            let header: Value = serde_json::from_slice(&header).expect("JSON");
            let body: Value = serde_json::from_str(&challenge.body).expect("JSON");
            let code =
                refusal.map_or(Reason::PaymentRequired, |refusal| refusal.reason).code(WireVersion::V2);
            assert_eq!(header["error"], code);
            assert_eq!(
                (&header["resource"]["url"], &body["accepts"][0]["resource"]),
                (&json!(url), &json!(url))
            );
            assert_eq!(header["resource"]["description"], "a \"quoted\" thing");
            assert_eq!(header["accepts"][0]["amount"], "10000");
        }
    }
}

#[test]
fn receipts_round_trip_and_name_the_chain_as_the_version_does() {
    let registry = Registry::built_in();
    let chain = ChainId::new(84532);
    let settled = Receipt::Settled {
        chain,
        transaction: B256::repeat_byte(1),
        payer: PAYER,
        amount: Some(Amount::from(10_000)),
    };
    assert_eq!(
        Receipt::decode(settled.encode(WireVersion::V2, &registry).as_bytes(), &registry),
        Ok(settled.clone())
    );
    let v1: Value =
        serde_json::from_slice(&STANDARD.decode(settled.encode(WireVersion::V1, &registry)).expect("base64"))
            .expect("JSON");
    assert_eq!((&v1["network"], &v1["success"]), (&json!("base-sepolia"), &json!(true)));
    let pending = Receipt::Unsettled {
        chain,
        transaction: Some(B256::repeat_byte(1)),
        payer: PAYER,
        reason: "settlement_pending".to_owned(),
    };
    assert_eq!(
        Receipt::decode(pending.encode(WireVersion::V2, &registry).as_bytes(), &registry),
        Ok(pending)
    );
}

/// Deterministic: the same mutations each run.
#[test]
fn no_mutation_of_a_payment_makes_the_decoder_panic_or_change_the_money() {
    let good = v2().to_string().into_bytes();
    let mut state = 0x5eed_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits")
    };
    let accepts = [requirement(84532)];
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random() % 3 {
            let at = random() % bytes.len();
            match random() % 4 {
                0 => bytes[at] = u8::try_from(random() % 256).expect("a byte"),
                1 if bytes.len() > 8 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\"{}[]:,0x\\"[random() % 10]),
                _ => bytes.truncate(at.max(8)),
            }
        }
        let header = STANDARD.encode(&bytes);
        if let Ok(Some(claim)) = decode(None, Some(header.as_bytes()))
            && let Ok((requirement, _)) = claim.select(&accepts, &Registry::built_in())
        {
            assert_eq!(requirement, &accepts[0]);
        }
        for raw in [decode(Some(&bytes), None), decode(None, Some(&bytes))] {
            assert!(raw.is_err(), "JSON without base64 was taken");
        }
    }
}
