//! The facilitator for others: it answers as published servers expect, settles each payment once, and
//! only for whom and what it may.

use alloy_primitives::{Address, B256, U256};
use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use hyper::StatusCode;
use obol_core::{Amount, Payment, Reason, WireVersion};
use obol_devchain::Mining;
use obol_facilitator_server::Callers;
use obol_ledger::State;
use obol_tests::{CounterOptions, FacilitatorStage, fetch, get, question, request, until};
use serde_json::{Value, json};
use std::{num::NonZeroU32, time::Duration};

async fn ask(stage: &FacilitatorStage, at: &str, body: &Value) -> Result<Value> {
    let answered = stage.post(at, body).await?;
    ensure!(answered.status == StatusCode::OK, "{answered:?}");
    answered.json()
}

fn pay(stage: &FacilitatorStage, version: WireVersion) -> (Payment, Value) {
    let payment = stage.buyer(0).pay(&stage.requirement);
    let question = stage.question(&payment, version);
    (payment, question)
}

async fn transfers(stage: &FacilitatorStage) -> Result<Vec<B256>> {
    let seller = stage.chain.seller().address;
    let transfers = stage.chain.transfer_events(0).await?;
    Ok(transfers.into_iter().filter(|transfer| transfer.to == seller).map(|t| t.transaction).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_payment_is_verified_settled_and_told_again_without_a_second_transaction() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    for (version, network) in [(WireVersion::V2, "eip155:84532"), (WireVersion::V1, "base-sepolia")] {
        let (payment, question) = pay(&stage, version);
        let payer = payment.authorization.from.to_checksum(None);
        assert_eq!(ask(&stage, "/verify", &question).await?, json!({"isValid": true, "payer": payer}));
        let settled = ask(&stage, "/settle", &question).await?;
        let transaction = *transfers(&stage).await?.last().context("no transfer")?;
        let mut expected = json!({
            "success": true, "payer": payer, "transaction": transaction, "network": network,
        });
        if version == WireVersion::V2 {
            expected["amount"] = "10000".into();
        }
        assert_eq!(settled, expected);
        assert_eq!(ask(&stage, "/settle", &question).await?, expected);
        let verified = ask(&stage, "/verify", &question).await?;
        assert_eq!((&verified["isValid"], &verified["payer"]), (&false.into(), &json!(payer)));
        assert_eq!(verified["invalidReason"], Reason::NonceUsed.code(version));
    }
    assert_eq!(transfers(&stage).await?.len(), 2);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_questions_at_once_settle_one_payment_once() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    let (_, question) = pay(&stage, WireVersion::V2);
    let mut settled = 0;
    for answer in join_all((0..32).map(|_| ask(&stage, "/settle", &question))).await {
        let answer = answer?;
        match answer["success"] == true {
            true => settled += 1,
            false => assert_eq!(answer["errorReason"], Reason::InFlight.code(WireVersion::V2), "{answer}"),
        }
    }
    assert!(settled >= 1);
    assert_eq!(transfers(&stage).await?.len(), 1);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn success_is_told_again_only_while_one_request_can_be_meant() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    let (_, question) = pay(&stage, WireVersion::V2);
    for _ in 0..2 {
        assert_eq!(ask(&stage, "/verify", &question).await?["isValid"], true);
    }
    assert_eq!(ask(&stage, "/settle", &question).await?["success"], true);
    let again = ask(&stage, "/settle", &question).await?;
    assert_eq!(again["errorReason"], Reason::AlreadyServed.code(WireVersion::V2), "{again}");
    // With what has settled it, so that nobody takes it for lost.
    assert_eq!(again["transaction"], json!(transfers(&stage).await?.last()), "{again}");
    assert_eq!(transfers(&stage).await?.len(), 1);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_may_be_asked_for_any_number_of_times_while_it_is_pending() -> Result<()> {
    let mut options = slow();
    options.seller.timing.settle_budget = Duration::from_millis(300);
    let stage = FacilitatorStage::open(options).await?;
    let (_, question) = pay(&stage, WireVersion::V2);
    until("it is out", async || {
        let answer = ask(&stage, "/settle", &question).await?;
        Ok((answer["errorReason"] == "settlement_pending" && answer["transaction"] != "").then_some(()))
    })
    .await?;
    for _ in 0..30 {
        let answer = ask(&stage, "/settle", &question).await?;
        assert_eq!(answer["errorReason"], "settlement_pending", "{answer}");
    }
    mine_all(&stage).await?;
    assert_eq!(ask(&stage, "/settle", &question).await?["success"], true);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_those_who_wait_and_the_settlement_goes_on() -> Result<()> {
    let mut options = slow();
    options.seller.timing.settle_budget = Duration::from_secs(60);
    options.limits.grace = Duration::from_secs(4);
    let stage = FacilitatorStage::open(options).await?;
    let (payment, question) = pay(&stage, WireVersion::V2);
    let (answer, ()) = futures_util::try_join!(ask(&stage, "/settle", &question), async {
        until("a transaction is out", async || {
            let record = stage.ledger.payment_by_key(payment.key()).await?;
            Ok(record.is_some_and(|record| record.state() == State::Submitted).then_some(()))
        })
        .await?;
        stage.begin_stop();
        Ok(())
    })?;
    assert_eq!(answer["errorReason"], "settlement_pending", "{answer}");
    assert_ne!(answer["transaction"], "", "{answer}");
    mine_all(&stage).await?;
    assert_eq!(transfers(&stage).await?.len(), 1);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_settled_for_nothing() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    let mut free = stage.requirement.clone();
    free.amount = Amount::ZERO;
    let payment = stage.buyer(0).pay(&free);
    for version in [WireVersion::V1, WireVersion::V2] {
        let question = question(&payment, &free, version);
        assert_eq!(ask(&stage, "/verify", &question).await?["isValid"], false);
        assert_eq!(ask(&stage, "/settle", &question).await?["success"], false);
    }
    assert_eq!(stage.ledger.payment_by_key(payment.key()).await?, None);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_is_no_caller() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    let (payment, question) = pay(&stage, WireVersion::V2);
    let ask = async |headers: &[(&'static str, &str)]| {
        let mut request = request(hyper::Method::POST, "/settle", question.to_string());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        anyhow::Ok(fetch(stage.address, request).await?.status.as_u16())
    };
    let json = ("content-type", "application/json");
    for (headers, status) in [
        (&[("content-type", "text/plain")][..], 415),
        (&[], 415),
        (&[json, ("origin", "https://evil.example")], 403),
        (&[json, ("host", "evil.example:8090")], 403),
    ] {
        assert_eq!(ask(headers).await?, status, "{headers:?}");
    }
    assert_eq!(stage.ledger.payment_by_key(payment.key()).await?, None);
    assert_eq!(ask(&[("content-type", "application/json; charset=utf-8")]).await?, 200);
    stage.close().await
}

/// Blocks come only when asked for, and questions wait two seconds for them.
fn slow() -> CounterOptions {
    let mut options = CounterOptions { mining: Mining::Manual, ..CounterOptions::default() };
    options.seller.timing.settle_budget = Duration::from_secs(2);
    options.seller.timing.stuck = Duration::from_secs(600);
    options
}

async fn mine_all(stage: &FacilitatorStage) -> Result<()> {
    until("nothing is owed", async || {
        stage.chain.mine(1).await?;
        Ok(stage.ledger.owed(obol_devchain::CHAIN).await?.is_empty().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_comes_late_is_pending_and_told_when_it_is_there() -> Result<()> {
    let stage = FacilitatorStage::open(slow()).await?;
    let (payment, question) = pay(&stage, WireVersion::V2);
    let pending = ask(&stage, "/settle", &question).await?;
    assert_eq!((&pending["success"], &pending["errorReason"]), (&false.into(), &"settlement_pending".into()));
    let out = pending["transaction"].as_str().context("no transaction")?.to_owned();
    assert_eq!(out.len(), 66, "{pending}");
    let again = ask(&stage, "/settle", &question).await?;
    assert_eq!((&again["errorReason"], &again["transaction"]), (&"settlement_pending".into(), &json!(out)));
    // Its buyer comes back, and the server asks before it serves: what was taken is still owed.
    assert_eq!(ask(&stage, "/verify", &question).await?["isValid"], true);
    mine_all(&stage).await?;
    assert_eq!(ask(&stage, "/verify", &question).await?["isValid"], true);
    let settled = ask(&stage, "/settle", &question).await?;
    assert_eq!((&settled["success"], &settled["transaction"]), (&true.into(), &json!(out)));
    // Told once, it is served.
    assert_eq!(ask(&stage, "/verify", &question).await?["isValid"], false);
    let record = stage.ledger.payment_by_key(payment.key()).await?.context("no payment")?;
    assert!(record.state().is_paid(), "{record:?}");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_being_settled_is_good_for_nobody_else() -> Result<()> {
    let mut options = slow();
    options.seller.timing.settle_budget = Duration::from_secs(60);
    let stage = FacilitatorStage::open(options).await?;
    let (payment, question) = pay(&stage, WireVersion::V2);
    let (settled, ()) = futures_util::try_join!(ask(&stage, "/settle", &question), async {
        until("a transaction is out", async || {
            let record = stage.ledger.payment_by_key(payment.key()).await?;
            Ok(record.is_some_and(|record| record.state() == State::Submitted).then_some(()))
        })
        .await?;
        let verified = ask(&stage, "/verify", &question).await?;
        assert_eq!(verified["invalidReason"], Reason::InFlight.code(WireVersion::V2), "{verified}");
        mine_all(&stage).await
    })?;
    assert_eq!(settled["success"], true, "{settled}");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_loses_no_settlement() -> Result<()> {
    let stage = FacilitatorStage::open(slow()).await?;
    let (payment, question) = pay(&stage, WireVersion::V2);
    let asked = stage.post("/settle", &question);
    tokio::select! {
        answered = asked => anyhow::bail!("no block, and yet {answered:?}"),
        out = until("a transaction is out", async || {
            let record = stage.ledger.payment_by_key(payment.key()).await?;
            Ok(record.is_some_and(|record| record.state() == State::Submitted).then_some(()))
        }) => out?,
    }
    mine_all(&stage).await?;
    let settled = until("the first question is over", async || {
        let answer = ask(&stage, "/settle", &question).await?;
        Ok((answer["errorReason"] != Reason::InFlight.code(WireVersion::V2)).then_some(answer))
    })
    .await?;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(transfers(&stage).await?.len(), 1);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_payment_is_an_answer_in_the_words_of_its_version() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    type Change = fn(&mut Value);
    let cases: [(Reason, Change); 13] = [
        (Reason::ValueMismatch, |q| q["paymentPayload"]["payload"]["authorization"]["value"] = "9999".into()),
        (Reason::RecipientMismatch, |q| {
            q["paymentPayload"]["payload"]["authorization"]["to"] = json!(Address::repeat_byte(7));
        }),
        (Reason::Expired, |q| q["paymentPayload"]["payload"]["authorization"]["validBefore"] = "1".into()),
        (Reason::InvalidSignature, |q| {
            q["paymentPayload"]["payload"]["authorization"]["nonce"] = json!(B256::repeat_byte(7));
        }),
        (Reason::InvalidPayload, |q| q["paymentPayload"]["payload"] = json!({})),
        (Reason::InvalidPayload, |q| q["paymentPayload"] = json!("eyJ4IjoxfQ==")),
        (Reason::InvalidPayload, |q| q["paymentRequirements"] = Value::Null),
        (Reason::InvalidVersion, |q| q["x402Version"] = 3.into()),
        (Reason::InvalidVersion, |q| q["paymentPayload"]["x402Version"] = 3.into()),
        (Reason::UnsupportedScheme, |q| q["paymentRequirements"]["scheme"] = "upto".into()),
        (Reason::NetworkMismatch, |q| q["paymentRequirements"]["network"] = "eip155:1234567".into()),
        // A token that somebody made up could do anything with the settler's gas.
        (Reason::NoMatchingRequirement, |q| {
            q["paymentRequirements"]["asset"] = json!(Address::repeat_byte(9))
        }),
        (Reason::NoMatchingRequirement, |q| q["paymentRequirements"]["extra"]["name"] = "USD Coin".into()),
    ];
    for version in [WireVersion::V1, WireVersion::V2] {
        for (reason, change) in &cases {
            let (_, mut question) = pay(&stage, version);
            change(&mut question);
            // A payment of an unknown version is answered in the newest.
            let known =
                question["paymentPayload"]["x402Version"] != 3 && question["paymentPayload"].is_object();
            let code = reason.code(if known { version } else { WireVersion::V2 });
            let verified = ask(&stage, "/verify", &question).await?;
            assert_eq!(
                (&verified["isValid"], &verified["invalidReason"]),
                (&false.into(), &json!(code)),
                "{question}"
            );
            assert!(verified["invalidMessage"].is_string(), "{verified}");
            let settled = ask(&stage, "/settle", &question).await?;
            assert_eq!(
                (&settled["success"], &settled["errorReason"]),
                (&false.into(), &json!(code)),
                "{question}"
            );
            assert!(settled["transaction"] == "" && settled["network"].is_string(), "{settled}");
        }
    }
    assert_eq!(transfers(&stage).await?.len(), 0);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_stands_for_one_payment_and_another_with_it_is_refused() -> Result<()> {
    let stage = FacilitatorStage::open(slow()).await?;
    let (payment, question) = pay(&stage, WireVersion::V2);
    let pending = ask(&stage, "/settle", &question).await?;
    assert_eq!(pending["errorReason"], "settlement_pending", "{pending}");
    let mut other = payment.authorization.clone();
    other.valid_before += U256::from(1);
    let other = stage.buyer(0).sign(&stage.requirement, other);
    assert_eq!(other.key(), payment.key());
    let refused = ask(&stage, "/settle", &stage.question(&other, WireVersion::V2)).await?;
    assert_eq!(refused["errorReason"], Reason::TermsChanged.code(WireVersion::V2), "{refused}");
    mine_all(&stage).await?;
    let refused = ask(&stage, "/settle", &stage.question(&other, WireVersion::V2)).await?;
    assert_eq!(refused["errorReason"], Reason::NonceUsed.code(WireVersion::V2), "{refused}");
    assert_eq!(transfers(&stage).await?.len(), 1);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_has_to_cover_what_is_settled_for_it_already() -> Result<()> {
    let stage = FacilitatorStage::open(slow()).await?;
    let all = stage.chain.usdc_balance(stage.buyer(0).key.address()).await?;
    let mut dear = stage.requirement.clone();
    dear.amount = all;
    let payment = stage.buyer(0).pay(&dear);
    let pending = ask(&stage, "/settle", &question(&payment, &dear, WireVersion::V2)).await?;
    assert_eq!(pending["errorReason"], "settlement_pending", "{pending}");
    let (_, question) = pay(&stage, WireVersion::V2);
    for (at, word) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
        let refused = ask(&stage, at, &question).await?;
        assert_eq!(refused[word], Reason::InsufficientBalance.code(WireVersion::V2), "{refused}");
    }
    mine_all(&stage).await?;
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_callers_with_a_token_are_settled_for() -> Result<()> {
    let callers = Callers::parse("shop 0123456789abcdef\nother fedcba9876543210")?;
    let stage = FacilitatorStage::open(CounterOptions { callers, ..CounterOptions::default() }).await?;
    let (payment, question) = pay(&stage, WireVersion::V2);
    let question = question.to_string();
    for at in ["/verify", "/settle"] {
        for token in [None, Some("0123456789abcdeX"), Some("")] {
            let answered = stage.post_as(at, question.clone(), token).await?;
            assert_eq!(answered.status, StatusCode::UNAUTHORIZED, "{token:?}");
            assert_eq!(answered.header("www-authenticate"), Some("Bearer"));
        }
    }
    let settle = async |token| stage.post_as("/settle", question.clone(), Some(token)).await?.json();
    assert_eq!(settle("0123456789abcdef").await?["success"], true);
    // What was settled for one caller is no other's.
    assert_eq!(settle("fedcba9876543210").await?["errorReason"], Reason::AlreadyServed.code(WireVersion::V2));
    assert_eq!(settle("0123456789abcdef").await?["success"], true);
    let record = stage.ledger.payment_by_key(payment.key()).await?.context("no payment")?;
    assert_eq!(record.offer.to_string(), "facilitator/shop");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_ask_again() -> Result<()> {
    let rate = NonZeroU32::new(2).context("two")?;
    let stage = FacilitatorStage::open(CounterOptions { rate, ..CounterOptions::default() }).await?;
    let mut refused = None;
    for answered in join_all((0..50).map(|_| fetch(stage.address, get("/supported")))).await {
        let answered = answered?;
        match answered.status {
            StatusCode::OK => {}
            _ => refused = Some(answered),
        }
    }
    let refused = refused.context("fifty questions at once were answered")?;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    assert_eq!(fetch(stage.address, get("/healthz")).await?.status, StatusCode::OK);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_payees_are_settled_for() -> Result<()> {
    let payees = Some([Address::repeat_byte(5)].into());
    let stage = FacilitatorStage::open(CounterOptions { payees, ..CounterOptions::default() }).await?;
    let (payment, question) = pay(&stage, WireVersion::V2);
    for (at, word) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
        let refused = ask(&stage, at, &question).await?;
        assert_eq!(refused[word], Reason::RecipientMismatch.code(WireVersion::V2), "{refused}");
    }
    assert_eq!(stage.ledger.payment_by_key(payment.key()).await?, None);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_are_none_are_refused_by_name() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    let amount = Amount::from(1u64);
    let large = format!("{{\"x\":\"{}\"}}", "a".repeat(70_000));
    let post = async |at: &str, body: &str| stage.post_as(at, body.to_owned(), None).await;
    let answered = post("/verify", &large).await?;
    assert_eq!(
        (answered.status, &answered.json()?["error"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"body_too_large".into())
    );
    for body in ["", "{", "[]", "null", "\"x\"", &amount.to_string()] {
        let answered = post("/verify", body).await?;
        assert_eq!(
            (answered.status, &answered.json()?["invalidReason"]),
            (StatusCode::OK, &"invalid_payload".into())
        );
    }
    for (method, at, status) in [("GET", "/settle", 405), ("POST", "/supported", 405), ("GET", "/", 404)] {
        let mut request = get(at);
        *request.method_mut() = method.parse()?;
        let answered = fetch(stage.address, request).await?;
        assert_eq!(answered.status.as_u16(), status, "{method} {at}");
        assert!(answered.json()?["hint"].is_string());
    }
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_supported_names_each_chain_in_both_versions() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    let supported = fetch(stage.address, get("/supported")).await?.json()?;
    let settler = stage.chain.settler().address.to_checksum(None);
    let expected = json!({
        "kinds": [
            {"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
            {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
        ],
        "extensions": [],
        "signers": {"eip155:84532": [settler]},
    });
    assert_eq!(supported, expected);
    stage.close().await
}
