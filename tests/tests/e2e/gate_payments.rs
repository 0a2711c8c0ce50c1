//! Payment headers that are malformed, doubled or not what was asked: each is refused with its
//! published reason, in the body and in the challenge, and nothing is stored or forwarded.

use alloy_primitives::{Address, U256};
use anyhow::Result;
use base64::{Engine, engine::general_purpose};
use hyper::StatusCode;
use obol_core::{Amount, Reason, WireVersion};
use obol_tests::{Buyer, PaymentStage, fetch, get, paid};
use obol_wire::PaymentHeader;
use serde_json::{Value, json};

const AT: &str = "/services/paid";
const V1: &str = "x-payment";
const V2: &str = "payment-signature";

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_not_base64_of_one_json_payment_is_an_invalid_payload() -> Result<()> {
    let stage = PaymentStage::open().await?;
    for (name, version) in [(V1, WireVersion::V1), (V2, WireVersion::V2)] {
        let text = stage.text(version)?;
        let good = general_purpose::STANDARD.encode(&text);
        let (head, tail) = good.split_at(40);
        // Padded to one byte beyond a multiple of three, and with letters of both alphabets.
        let odd = format!("{}{}", text.replacen('{', r#"{"x":"~~~???~~~","#, 1), " ");
        let odd = format!("{odd}{}", " ".repeat((4 - odd.len() % 3) % 3));
        let plus = general_purpose::STANDARD.encode(&odd);
        assert!(plus.ends_with("==") && plus.contains('/'), "{plus}");
        for (what, value) in [
            ("empty", String::new()),
            ("a space within", format!("{head} {tail}")),
            ("a tab within", format!("{head}\t{tail}")),
            ("the alphabet of URLs", general_purpose::URL_SAFE.encode(&odd)),
            ("no padding", plus.trim_end_matches('=').to_owned()),
            ("half of the padding", plus.trim_end_matches('=').to_owned() + "="),
            ("more padding", format!("{plus}=")),
            ("text after the padding", format!("{plus}{plus}")),
            ("two in a list", format!("{good}, {good}")),
            ("quoted", format!("\"{good}\"")),
            ("a scheme before it", format!("x402 {good}")),
            ("plain JSON", text.clone()),
            ("base64 twice", general_purpose::STANDARD.encode(&good)),
            ("too long", general_purpose::STANDARD.encode(format!("{text}{}", " ".repeat(16 * 1024)))),
            ("a bit in the padding", plus.replace("A==", "B==").replace("g==", "h==")),
        ] {
            stage.refused(&[(name, value)], Reason::InvalidPayload, what).await?;
        }
    }
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_not_exactly_a_payment_is_an_invalid_payload() -> Result<()> {
    let stage = PaymentStage::open().await?;
    for version in [WireVersion::V1, WireVersion::V2] {
        let text = stage.text(version)?;
        let deep = "[".repeat(4_000) + &"]".repeat(4_000);
        let twice = |field: &str| {
            let at = text.find(&format!("\"{field}\":")).expect("a field");
            let value =
                if field == "x402Version" { version.number().to_string() } else { "\"0\"".to_owned() };
            format!("{}\"{field}\":{value},{}", &text[..at], &text[at..])
        };
        let mut wrong = vec![
            "not JSON".to_owned(),
            "null".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            "7".to_owned(),
            format!("[{text}]"),
            format!("{text}{text}"),
            text[..text.len() - 1].to_owned(),
            deep.clone(),
            format!("{{\"x402Version\":{deep}}}"),
            twice("x402Version"),
            twice("signature"),
            twice("value"),
            twice("nonce"),
            twice("scheme"),
            twice("network"),
            text.replace("x402Version", "x402version"),
            text.replace("\"payload\"", "\"Payload\""),
            text.replace(&format!("\"x402Version\":{}", version.number()), "\"x402Version\":\"2\""),
            text.replace(&format!("\"x402Version\":{}", version.number()), "\"x402Version\":2.0"),
            stage.with(version, "/payload", json!(deep))?,
            stage.with(version, "/payload", Value::Null)?,
            stage.with(version, "/payload/authorization", json!([]))?,
        ];
        for (field, value) in [
            ("signature", json!("0xzz")),
            ("signature", json!("no hex")),
            ("authorization/value", json!(10_000)),
            ("authorization/value", json!("-1")),
            ("authorization/value", json!("0x2710")),
            ("authorization/value", json!("1".repeat(80))),
            ("authorization/validBefore", json!("soon")),
            ("authorization/nonce", json!("0x00")),
            ("authorization/from", json!("vitalik.eth")),
            ("authorization/to", json!(null)),
        ] {
            wrong.push(stage.with(version, &format!("/payload/{field}"), value)?);
        }
        for json in wrong {
            stage.text_refused(version, &json, Reason::InvalidPayload).await?;
        }
    }
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_offered_is_refused_by_its_name() -> Result<()> {
    use WireVersion::{V1 as Old, V2 as New};
    let stage = PaymentStage::open().await?;
    let other = json!(Address::repeat_byte(7));
    for (version, path, value, reason) in [
        (New, "/x402Version", json!(3), Reason::InvalidVersion),
        (New, "/x402Version", json!(1), Reason::InvalidVersion),
        (New, "/x402Version", json!(0), Reason::InvalidVersion),
        (Old, "/x402Version", json!(2), Reason::InvalidVersion),
        (New, "/accepted/scheme", json!("upto"), Reason::UnsupportedScheme),
        (New, "/accepted/scheme", json!("EXACT"), Reason::UnsupportedScheme),
        (Old, "/scheme", json!("upto"), Reason::UnsupportedScheme),
        (New, "/accepted/network", json!("eip155:1"), Reason::NetworkMismatch),
        (New, "/accepted/network", json!("eip155:987654321"), Reason::NetworkMismatch),
        (New, "/accepted/network", json!("solana:mainnet"), Reason::NetworkMismatch),
        (New, "/accepted/network", json!("mars"), Reason::NetworkMismatch),
        (Old, "/network", json!("base"), Reason::NetworkMismatch),
        (Old, "/network", json!("mars"), Reason::NetworkMismatch),
        (New, "/accepted/asset", other.clone(), Reason::NoMatchingRequirement),
        (New, "/accepted/payTo", other.clone(), Reason::RecipientMismatch),
        (New, "/accepted/amount", json!("1"), Reason::ValueMismatch),
        (New, "/payload/authorization/to", other.clone(), Reason::RecipientMismatch),
        (Old, "/payload/authorization/to", other, Reason::RecipientMismatch),
        (New, "/payload/authorization/value", json!("9999"), Reason::ValueMismatch),
        (Old, "/payload/authorization/value", json!("10001"), Reason::ValueMismatch),
        (New, "/payload/signature", json!("0x"), Reason::InvalidSignature),
        (New, "/payload/signature", json!(format!("0x{}", "11".repeat(64))), Reason::InvalidSignature),
        (Old, "/payload/signature", json!(format!("0x{}", "00".repeat(65))), Reason::InvalidSignature),
        (
            New,
            "/payload/authorization/nonce",
            json!(format!("0x{}", "ab".repeat(32))),
            Reason::InvalidSignature,
        ),
    ] {
        stage.text_refused(version, &stage.with(version, path, value)?, reason).await?;
    }
    for version in [Old, New] {
        let permit2 = json!({ "signature": "0x00", "permit2Authorization": { "from": "0x00" } });
        stage
            .text_refused(version, &stage.with(version, "/payload", permit2)?, Reason::UnsupportedScheme)
            .await?;
    }
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_has_to_be_good_now_and_paid_for() -> Result<()> {
    let stage = PaymentStage::open().await?;
    let settler = Buyer::of(stage.shop.chain.settler());
    let seller = Buyer::of(stage.shop.chain.seller());
    let fresh = || stage.buyer.authorize(&stage.requirement);
    let (mut early, mut late, mut short) = (fresh(), fresh(), fresh());
    early.valid_after = late.valid_before;
    late.valid_before = U256::from(1_700_000_000);
    short.valid_before -= U256::from(590);
    let mut stolen = fresh();
    stolen.from = settler.key.address();
    let mut less = fresh();
    less.value = Amount::from(9_999);
    let signed = |authorization| stage.buyer.sign(&stage.requirement, authorization);
    for (what, payment, reason) in [
        ("before its time", signed(early), Reason::NotYetValid),
        ("after its time", signed(late), Reason::Expired),
        ("over before it could be settled", signed(short), Reason::Expired),
        ("another's money", signed(stolen), Reason::InvalidSignature),
        ("a smaller sum", signed(less), Reason::ValueMismatch),
        ("no money", settler.pay(&stage.requirement), Reason::InsufficientBalance),
        ("the seller's own", seller.pay(&stage.requirement), Reason::InvalidPayload),
    ] {
        for (name, version) in [(V1, WireVersion::V1), (V2, WireVersion::V2)] {
            stage.refused(&[(name, stage.header(version, &payment)?.value)], reason, what).await?;
        }
    }
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_payment_headers_are_one_payment_or_refused() -> Result<()> {
    let stage = PaymentStage::open().await?;
    let other = stage.buyer.pay(&stage.requirement);
    let old = stage.header(WireVersion::V1, &stage.payment)?.value;
    let new = stage.header(WireVersion::V2, &stage.payment)?.value;
    let other_old = stage.header(WireVersion::V1, &other)?.value;
    let other_new = stage.header(WireVersion::V2, &other)?.value;
    for (what, headers) in [
        ("two v2 payments", [(V2, &new), (V2, &other_new)]),
        ("a v2 payment twice", [(V2, &new), (V2, &new)]),
        ("two v1 payments", [(V1, &old), (V1, &other_old)]),
        ("a payment in v1 and another in v2", [(V1, &old), (V2, &other_new)]),
        ("a payment in v2 and another in v1", [(V2, &new), (V1, &other_old)]),
    ] {
        let headers = headers.map(|(name, value)| (name, value.clone()));
        stage.refused(&headers, Reason::ConflictingPayments, what).await?;
    }
    let broken = [(V1, "!".to_owned()), (V2, new.clone())];
    stage.refused(&broken, Reason::InvalidPayload, "one of two is broken").await?;
    assert_eq!(stage.upstream.count(), 0);

    // The same payment under both names is one payment.
    let PaymentStage { shop, upstream, payment, v1, v2, .. } = stage;
    let (old, new) = (v1.0.header(&v1.1, &payment)?, v2.0.header(&v2.1, &payment)?);
    let answered = fetch(shop.address, paid(paid(get(AT), &old), &new)).await?;
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!((upstream.count(), shop.payments().await?.len()), (1, 1));
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn harmless_variants_of_a_payment_are_that_payment() -> Result<()> {
    let stage = PaymentStage::open().await?;
    let mut json: Value = serde_json::from_str(&stage.text(WireVersion::V2)?)?;
    let lower = |value: &mut Value| *value = json!(value.as_str().expect("text").to_lowercase());
    for path in
        ["/accepted/asset", "/accepted/payTo", "/payload/authorization/from", "/payload/authorization/to"]
    {
        lower(json.pointer_mut(path).expect("an address"));
    }
    json["accepted"]["network"] = json!("EIP155:84532");
    json["extensions"] = json!({ "anything": { "info": 1 } });
    // Recovery ids of 0 and 1, as some wallets write them.
    let signature = json["payload"]["signature"].as_str().expect("text").to_owned();
    let (rest, v) = signature.split_at(signature.len() - 2);
    json["payload"]["signature"] = json!(format!("{rest}{}", if v == "1b" { "00" } else { "01" }));
    let value = general_purpose::STANDARD.encode(serde_json::to_string_pretty(&json)?);
    let answered = fetch(stage.shop.address, paid(get(AT), &PaymentHeader { name: V2, value })).await?;
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    stage.shop.close().await
}
