//! A proxy asks at /verify and forwards by itself: it is let pass what was paid for, once, after
//! the money has moved. Here the tests are the proxy.

use crate::gate_paths::{PAID, TARGETS, offers};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::{HeaderMap, Request, StatusCode};
use obol_core::{Charge, Exposure, Reason, WireVersion};
use obol_devchain::Mining;
use obol_ledger::{Delivery, State};
use obol_tests::{
    Answered, Buyer, Customer, Shop, ShopOptions, Upstream, fetch, get, paid, raw, send, until,
};
use obol_verifier::{ForwardAuth, TrustedProxies};
use obol_wire::{PaymentHeader, Receipt};
use std::time::Duration;

pub(crate) const VERIFY: &str = "/verify";
const AUTH_REQUEST: &str = "/verify/auth-request";
const RENDER: &str = "/verify/refusal";

const DESCRIBED: [&str; 4] = ["x-forwarded-uri", "x-forwarded-method", "x-forwarded-host", "x-forwarded-for"];

pub(crate) fn behind_a_proxy() -> Result<ShopOptions> {
    let trusted = TrustedProxies::new(vec!["127.0.0.1".parse()?]);
    Ok(ShopOptions { trusted, ..ShopOptions::default() })
}

async fn shop(options: ShopOptions) -> Result<(Shop, Upstream)> {
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    shop.publish(&offers(&shop, &upstream))?;
    Ok((shop, upstream))
}

fn customer(shop: &Shop, version: WireVersion) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, version)
}

/// What a proxy asks about a GET of this target.
pub(crate) fn about(at: &str, target: &str) -> Request<Full<Bytes>> {
    let mut request = get(at);
    let values = [target, "GET", "shop.example", "203.0.113.9"];
    for (name, value) in DESCRIBED.into_iter().zip(values) {
        request.headers_mut().insert(name, value.parse().expect("a header's value"));
    }
    request.headers_mut().insert("x-forwarded-proto", "https".parse().expect("a header's value"));
    request
}

async fn ask(shop: &Shop, at: &str, target: &str, payment: Option<&PaymentHeader>) -> Result<Answered> {
    let request = about(at, target);
    fetch(shop.address, payment.map_or(request.clone(), |payment| paid(request, payment))).await
}

/// What nginx's second question brings.
async fn rendered(
    shop: &Shop,
    refused: &Answered,
    target: &str,
    payment: &PaymentHeader,
) -> Result<Answered> {
    ensure!(refused.status == StatusCode::UNAUTHORIZED && refused.body.is_empty(), "{refused:?}");
    let note = refused.headers.get("x-obol-refusal").context("no note")?.clone();
    let mut request = paid(about(RENDER, target), payment);
    request.headers_mut().insert("x-obol-refusal", note);
    fetch(shop.address, request).await
}

fn let_pass(answered: &Answered, customer: &Customer) -> Result<()> {
    ensure!(answered.status == StatusCode::OK && answered.body.is_empty(), "{answered:?}");
    let payer = customer.buyer.key.address().to_checksum(None);
    ensure!(answered.header("x-payment-payer") == Some(&payer), "{answered:?}");
    ensure!(answered.header("authorization").is_none(), "{answered:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_may_forward_once_after_the_money_has_moved() -> Result<()> {
    let (shop, upstream) = shop(behind_a_proxy()?).await?;
    for (at, version) in
        [(VERIFY, WireVersion::V2), (VERIFY, WireVersion::V1), (AUTH_REQUEST, WireVersion::V2)]
    {
        let customer = customer(&shop, version);
        let (payment, header) = customer.payment(PAID).await?;
        let answered = ask(&shop, at, PAID, Some(&header)).await?;
        let_pass(&answered, &customer)?;
        let Receipt::Settled { transaction, .. } = customer.receipt(&answered)? else {
            bail!("{answered:?}")
        };
        let record = shop.ledger.payment_by_key(payment.key()).await?.context("no payment")?;
        ensure!(record.inclusion.map(|at| at.tx) == Some(transaction), "{record:?}");
        until("the delivery is noted", async || {
            let record = shop.ledger.payment_by_key(payment.key()).await?.context("no payment")?;
            Ok((record.delivery == Delivery::Done).then_some(()))
        })
        .await?;
        for at in [VERIFY, VERIFY, AUTH_REQUEST] {
            let again = ask(&shop, at, PAID, Some(&header)).await?;
            let again = match at {
                VERIFY => again,
                _ => rendered(&shop, &again, PAID, &header).await?,
            };
            again.expect_refusal(Reason::AlreadyServed)?;
        }
    }
    assert_eq!(upstream.count(), 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_questions_about_one_payment_let_one_pass() -> Result<()> {
    let (shop, _upstream) = shop(behind_a_proxy()?).await?;
    let (_, header) = customer(&shop, WireVersion::V2).payment(PAID).await?;
    let mut passed = 0;
    for answered in join_all((0..50).map(|_| ask(&shop, VERIFY, PAID, Some(&header)))).await {
        let answered = answered?;
        match answered.status {
            StatusCode::OK => passed += 1,
            StatusCode::CONFLICT => drop(answered.expect_refusal(Reason::InFlight)?),
            _ => drop(answered.expect_refusal(Reason::AlreadyServed)?),
        }
    }
    assert_eq!(passed, 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_client_gets_the_challenge_for_the_address_that_it_asked_for() -> Result<()> {
    let (shop, _upstream) = shop(behind_a_proxy()?).await?;
    let target = format!("{PAID}/x?y=1");
    let unpaid = ask(&shop, VERIFY, &target, None).await?;
    unpaid.expect_refusal(Reason::PaymentRequired)?;
    let challenge = unpaid.challenge()?;
    assert_eq!(challenge["resource"]["url"], format!("https://shop.example{target}"));
    let mut of_browser = about(VERIFY, &target);
    of_browser.headers_mut().insert("accept", "text/html".parse()?);
    let page = fetch(shop.address, of_browser).await?;
    assert_eq!(
        (page.status, page.header("content-type")),
        (StatusCode::PAYMENT_REQUIRED, Some("text/html; charset=utf-8"))
    );
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_describes_is_not_believed() -> Result<()> {
    let (shop, _upstream) = shop(ShopOptions::default()).await?;
    let (payment, header) = customer(&shop, WireVersion::V2).payment(PAID).await?;
    for at in [VERIFY, AUTH_REQUEST, RENDER] {
        ask(&shop, at, PAID, Some(&header)).await?.expect_refusal(Reason::ProxyNotTrusted)?;
    }
    assert_eq!(shop.ledger.payment_by_key(payment.key()).await?, None);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_is_not_whole_lets_nothing_pass() -> Result<()> {
    let (shop, _upstream) = shop(behind_a_proxy()?).await?;
    let (payment, header) = customer(&shop, WireVersion::V2).payment(PAID).await?;
    type Change = fn(&mut HeaderMap);
    let changes: [(&str, Change); 12] = [
        ("x-forwarded-uri is missing", |h| drop(h.remove("x-forwarded-uri"))),
        ("x-forwarded-method is missing", |h| drop(h.remove("x-forwarded-method"))),
        ("x-forwarded-host is missing", |h| drop(h.remove("x-forwarded-host"))),
        ("x-forwarded-for is missing", |h| drop(h.remove("x-forwarded-for"))),
        ("x-forwarded-uri came more than once", |h| assert!(h.append("x-forwarded-uri", value("/free")))),
        ("x-forwarded-method came more than once", |h| assert!(h.append("x-forwarded-method", value("GET")))),
        ("x-forwarded-uri cannot be read", |h| drop(h.insert("x-forwarded-uri", value("")))),
        ("x-forwarded-uri cannot be read", |h| drop(h.insert("x-forwarded-uri", value("/a b")))),
        ("x-forwarded-method cannot be read", |h| drop(h.insert("x-forwarded-method", value("")))),
        ("x-forwarded-method cannot be read", |h| drop(h.insert("x-forwarded-method", value("GET,PUT")))),
        ("whole address", |h| drop(h.insert("x-forwarded-uri", value("http://shop.example/services/paid")))),
        ("whole address", |h| drop(h.insert("x-forwarded-uri", value("shop.example:80")))),
    ];
    for (said, change) in changes {
        for at in [VERIFY, AUTH_REQUEST] {
            let mut request = paid(about(at, PAID), &header);
            change(request.headers_mut());
            let answered = fetch(shop.address, request).await?;
            let refusal = match at {
                VERIFY => answered,
                _ => rendered(&shop, &answered, PAID, &header).await?,
            };
            let body = refusal.expect_refusal(Reason::RequestRefused)?;
            ensure!(body["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{said}: {body}");
        }
    }
    assert_eq!(shop.ledger.payment_by_key(payment.key()).await?, None);
    shop.close().await
}

fn value(text: &str) -> hyper::header::HeaderValue {
    text.parse().expect("a header's value")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_described_path_passes_unpaid() -> Result<()> {
    let (shop, _upstream) = shop(behind_a_proxy()?).await?;
    let mut wrong = Vec::new();
    for &(target, expected) in TARGETS {
        let head = format!(
            "GET /verify HTTP/1.1\r\nHost: inside\r\nConnection: close\r\nX-Forwarded-Uri: {target}\r\n\
             X-Forwarded-Method: GET\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
        );
        let statuses: Vec<_> = raw(shop.address, head.as_bytes()).await?.iter().map(|r| r.status).collect();
        // A request line's fragment is dropped; a proxy may pass on what it describes.
        let expected = if target.contains('#') { 400 } else { expected };
        if statuses != [expected] {
            wrong.push(format!("{target}: {statuses:?}, not {expected}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_by_a_page_of_another_origin_is_no_leave_to_forward() -> Result<()> {
    let (shop, _upstream) = shop(behind_a_proxy()?).await?;
    for at in [VERIFY, AUTH_REQUEST] {
        let mut preflight = about(at, PAID);
        for (name, text) in [
            ("x-forwarded-method", "OPTIONS"),
            ("origin", "https://page.example"),
            ("access-control-request-method", "GET"),
        ] {
            preflight.headers_mut().insert(name, value(text));
        }
        let answered = fetch(shop.address, preflight).await?;
        ensure!(matches!(answered.status.as_u16(), 401 | 402), "{answered:?}");
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn under_verify_only_a_payment_passes_once_and_is_never_charged() -> Result<()> {
    let mut options = behind_a_proxy()?;
    options.forward_auth.verify_only = true;
    let (shop, _upstream) = shop(options).await?;
    let customer = customer(&shop, WireVersion::V2);
    let (payment, header) = customer.payment(PAID).await?;
    let answered = ask(&shop, VERIFY, PAID, Some(&header)).await?;
    let_pass(&answered, &customer)?;
    ensure!(answered.header("payment-response").is_none(), "a receipt for no money: {answered:?}");
    let record = shop.ledger.payment_by_key(payment.key()).await?.context("no payment")?;
    assert_eq!((record.state(), record.delivery), (State::Waived, Delivery::Done));
    ask(&shop, VERIFY, PAID, Some(&header)).await?.expect_refusal(Reason::AlreadyServed)?;
    // The gate itself charges all the same.
    fetch(shop.address, paid(get(PAID), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    assert_eq!(customer.buy(PAID).await?.status, StatusCode::OK);
    assert_eq!(
        shop.chain.transfer_events(0).await?.iter().filter(|t| t.to == shop.chain.seller().address).count(),
        1
    );
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_gets_401_with_a_note_and_for_the_note_what_others_get_at_once() -> Result<()> {
    let (shop, _upstream) = shop(behind_a_proxy()?).await?;
    let customer = customer(&shop, WireVersion::V2);
    let (payment, good) = customer.payment(PAID).await?;
    let spoilt = PaymentHeader { value: "e30=".to_owned(), ..good.clone() };
    let unpaid = fetch(shop.address, about(AUTH_REQUEST, PAID)).await?;
    let at_once = ask(&shop, VERIFY, PAID, None).await?;
    // The good payment is at hand when the refusal is rendered, and is not touched.
    let told = rendered(&shop, &unpaid, PAID, &good).await?;
    assert_eq!(
        (told.status, &told.body, told.challenge()?),
        (at_once.status, &at_once.body, at_once.challenge()?)
    );
    for (target, payment) in [(PAID, &spoilt), ("/nothing/here", &good), ("/a//b", &good)] {
        let refused = ask(&shop, AUTH_REQUEST, target, Some(payment)).await?;
        let at_once = ask(&shop, VERIFY, target, Some(payment)).await?;
        let told = rendered(&shop, &refused, target, &good).await?;
        assert_eq!((told.status, &told.body), (at_once.status, &at_once.body), "{target}");
    }
    assert_eq!(shop.ledger.payment_by_key(payment.key()).await?, None);
    let bare = ask(&shop, RENDER, PAID, Some(&good)).await?;
    bare.expect_refusal(Reason::RequestRefused)?;
    let_pass(&ask(&shop, AUTH_REQUEST, PAID, Some(&good)).await?, &customer)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_told_the_upstreams_credential_only_where_the_seller_says_so() -> Result<()> {
    for credentials in [false, true] {
        let mut options = behind_a_proxy()?;
        options.forward_auth = ForwardAuth { credentials, ..ForwardAuth::default() };
        let (shop, upstream) = shop(options).await?;
        let mut offer = shop.offer(PAID, &upstream);
        offer.upstream.authorization = Some("Bearer secret".to_owned());
        shop.publish(&[offer])?;
        let (_, header) = customer(&shop, WireVersion::V2).payment(PAID).await?;
        let refused = ask(&shop, VERIFY, PAID, None).await?;
        assert_eq!(refused.header("authorization"), None);
        let answered = ask(&shop, VERIFY, PAID, Some(&header)).await?;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.header("authorization"), credentials.then_some("Bearer secret"));
        shop.close().await?;
    }
    Ok(())
}

/// Blocks come only when asked for, and questions wait two seconds for them.
pub(crate) async fn slow_shop() -> Result<(Shop, Upstream)> {
    let mut options = ShopOptions { mining: Mining::Manual, ..behind_a_proxy()? };
    options.seller.timing.settle_budget = Duration::from_secs(2);
    options.seller.timing.stuck = Duration::from_secs(600);
    shop(options).await
}

pub(crate) async fn mined(shop: &Shop) -> Result<()> {
    until("all is settled", async || {
        shop.chain.mine(1).await?;
        Ok(shop.ledger.owed(obol_devchain::CHAIN).await?.is_empty().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_settles_late_passes_later_and_is_settled_once() -> Result<()> {
    for at in [VERIFY, AUTH_REQUEST] {
        let (shop, _upstream) = slow_shop().await?;
        let customer = customer(&shop, WireVersion::V2);
        let (_, header) = customer.payment(PAID).await?;
        let late = ask(&shop, at, PAID, Some(&header)).await?;
        let late = match at {
            VERIFY => late,
            _ => rendered(&shop, &late, PAID, &header).await?,
        };
        late.expect_refusal(Reason::SettlementPending)?;
        let Receipt::Unsettled { transaction: Some(out), .. } = customer.receipt(&late)? else {
            bail!("{late:?}")
        };
        mined(&shop).await?;
        let passed = ask(&shop, at, PAID, Some(&header)).await?;
        let_pass(&passed, &customer)?;
        let receipt = customer.receipt(&passed)?;
        ensure!(matches!(receipt, Receipt::Settled { transaction, .. } if transaction == out), "{receipt:?}");
        shop.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimistic_offer_lets_nothing_pass_before_the_money() -> Result<()> {
    let (shop, upstream) = slow_shop().await?;
    let mut offer = shop.offer(PAID, &upstream);
    let much = offer.accepts[0].amount.checked_add(offer.accepts[0].amount).context("small")?;
    offer.charge = Charge::Optimistic(Exposure { per_payer: much, per_offer: much });
    shop.publish(&[offer])?;
    let customer = customer(&shop, WireVersion::V2);
    let (_, header) = customer.payment(PAID).await?;
    ask(&shop, VERIFY, PAID, Some(&header)).await?.expect_refusal(Reason::SettlementPending)?;
    mined(&shop).await?;
    let_pass(&ask(&shop, VERIFY, PAID, Some(&header)).await?, &customer)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_proxy_hung_up_passes_when_it_returns() -> Result<()> {
    let (shop, _upstream) = slow_shop().await?;
    let customer = customer(&shop, WireVersion::V2);
    let (payment, header) = customer.payment(PAID).await?;
    let asked = tokio::spawn({
        let (to, request) = (shop.address, paid(about(VERIFY, PAID), &header));
        async move { send(to, request).await }
    });
    until("a transaction is out", async || {
        let record = shop.ledger.payment_by_key(payment.key()).await?;
        Ok(record.is_some_and(|record| record.state() == State::Submitted).then_some(()))
    })
    .await?;
    asked.abort();
    mined(&shop).await?;
    until("the proxy's absence is noticed", async || {
        let answered = ask(&shop, VERIFY, PAID, Some(&header)).await?;
        match answered.status {
            StatusCode::CONFLICT => Ok(None),
            _ => let_pass(&answered, &customer).map(Some),
        }
    })
    .await?;
    assert_eq!(shop.payments().await?.len(), 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_has_an_address_of_its_own() -> Result<()> {
    let (shop, _upstream) = slow_shop().await?;
    let customer = customer(&shop, WireVersion::V2);
    let (payment, header) = customer.payment(PAID).await?;
    let (asset, payer, nonce) = (payment.asset, payment.authorization.from, payment.authorization.nonce);
    let at = |chain: &str| format!("/receipts/{chain}/{asset:#x}/{payer}/{nonce}");
    let answer = async |target: &str| fetch(shop.address, get(target)).await;
    answer(&at("eip155:84532")).await?.expect_refusal(Reason::NoReceipt)?;
    ask(&shop, VERIFY, PAID, Some(&header)).await?.expect_refusal(Reason::SettlementPending)?;
    let pending = answer(&at("eip155:84532")).await?;
    pending.expect_refusal(Reason::SettlementPending)?;
    let Receipt::Unsettled { transaction: Some(out), .. } = customer.receipt(&pending)? else {
        bail!("{pending:?}")
    };
    mined(&shop).await?;
    for chain in ["eip155:84532", "eip155%3A84532", "base-sepolia"] {
        let told = answer(&at(chain)).await?;
        assert_eq!(told.status, StatusCode::OK, "{told:?}");
        let receipt = customer.receipt(&told)?;
        let expected = Receipt::Settled {
            chain: payment.chain,
            transaction: out,
            payer,
            amount: Some(payment.authorization.value),
        };
        assert_eq!(receipt, expected);
        assert_eq!(told.json()?["transaction"], out.to_string());
    }
    for wrong in [
        at("eip155:8453"),
        at("nowhere"),
        at("eip155:84532").replace(&nonce.to_string(), "0x00"),
        format!("{}/more", at("eip155:84532")),
        "/receipts/".to_owned(),
        format!("/receipts/eip155:84532/{asset:#x}/{payer}/0x{:064x}", 7),
    ] {
        answer(&wrong).await?.expect_refusal(Reason::NoReceipt)?;
    }
    shop.close().await
}
