//! Who is shown a payment, reads it in the pool or forges one takes nothing of what others pay for, and
//! closes no shop.

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, header::HeaderValue};
use obol_core::Reason;
use obol_devchain::{
    Devchain, Mining, Options,
    fault::{Fault, FaultyRpc, Rule},
};
use obol_facilitator::SettlerState;
use obol_ledger::State;
use obol_tests::{
    AT, Answered, Buyer, Checking, Manner, PublishedServer, RemoteShop, ShopOptions, Stranger, Upstream,
    fetch, fetch_after, get, npm_clients, others, paid, reply, requirement, until,
};
use obol_verifier::TrustedProxies;
use obol_wire::PaymentHeader;
use serde_json::Value;
use std::net::SocketAddr;

const BUYER: &str = "203.0.113.7";
const THIEF: &str = "198.51.100.66";

/// Of a client that comes through a proxy.
fn request(client: &'static str, header: &PaymentHeader) -> Request<Full<Bytes>> {
    let mut request = paid(get(AT), header);
    request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static(client));
    request.headers_mut().insert("host", HeaderValue::from_static("shop.example"));
    request
}

async fn from(shop: SocketAddr, client: &'static str, header: &PaymentHeader) -> Result<Answered> {
    fetch(shop, request(client, header)).await
}

/// Behind a proxy, which names the clients.
fn proxied(options: &mut ShopOptions) {
    let here = "127.0.0.0/8".parse().expect("a network");
    options.trusted = TrustedProxies::new(vec![here]);
}

fn blind(options: &mut ShopOptions) {
    proxied(options);
    others(options).sees = false;
}

async fn slow_chain() -> Result<Devchain> {
    Ok(Devchain::start(Options { mining: Mining::Manual, ..Options::default() }).await?)
}

/// The header that goes with what a facilitator is asked: the question has it whole.
fn copied(question: &str) -> Result<PaymentHeader> {
    let question: Value = serde_json::from_str(question)?;
    let value = STANDARD.encode(question["paymentPayload"].to_string());
    Ok(PaymentHeader { name: obol_wire::header::PAYMENT_SIGNATURE, value })
}

/// The same payment until it is served.
async fn until_served(remote: &RemoteShop, client: &'static str, header: &PaymentHeader) -> Result<Answered> {
    until("served", async || {
        let answered = from(remote.shop.address, client, header).await?;
        Ok((answered.status == StatusCode::OK).then_some(answered))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_whether_a_payment_is_good_cannot_buy_with_it() -> Result<()> {
    let remote = RemoteShop::open_as(Manner::Honest, proxied).await?;
    remote.meddler.check(Checking::Waits);
    let (_, header) = remote.customer(0).payment(AT).await?;
    let steal = async {
        let question = until("the payment is shown", async || Ok(remote.meddler.shown().pop())).await?;
        let thief = from(remote.shop.address, THIEF, &copied(&question)?).await;
        remote.meddler.check(Checking::Honest);
        thief
    };
    let (buyer, thief) = tokio::try_join!(from(remote.shop.address, BUYER, &header), steal)?;
    thief.expect_refusal(Reason::InFlight)?;
    assert_eq!((buyer.status, remote.transfers().await?.len()), (StatusCode::OK, 1));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_left_unused_stays_unused() -> Result<()> {
    let remote = RemoteShop::open_as(Manner::refuses("settlement_pending"), proxied).await?;
    let customer = remote.customer(0);
    let (first, header) = customer.payment(AT).await?;
    let told = from(remote.shop.address, BUYER, &header).await?;
    told.expect_refusal(Reason::SettlementPending)?;
    let stranger = Stranger::on(&remote.shop.chain);
    stranger.done(stranger.settle(&first).await?).await?;
    remote.shop.until_payment(|record| record.state().is_paid()).await?;
    // Its client has another address by now, and pays anew: it is served for what it has paid.
    let (_, unused) = customer.payment(AT).await?;
    let served = from(remote.shop.address, "203.0.113.200", &unused).await?;
    assert_eq!(served.status, StatusCode::OK, "{served:?}");
    let thief = from(remote.shop.address, THIEF, &unused).await?;
    thief.expect_refusal(Reason::PayerUnproven)?;
    assert_eq!(remote.transfers().await?.len(), 1);
    remote.close().await
}

/// As the published facilitator answers when the node took its transaction and the node's answer was
/// lost: the transaction is in the pool, for all to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_doubtful_refusal_of_what_is_in_the_pool_gives_its_client_and_nobody_else_the_service() -> Result<()>
{
    let doubtful = Manner::refuses("invalid_exact_evm_transaction_failed");
    let remote = RemoteShop::open_on(slow_chain().await?, doubtful, proxied).await?;
    let (payment, header) = remote.customer(0).payment(AT).await?;
    let stranger = Stranger::on(&remote.shop.chain);
    let sent = stranger.settle(&payment).await?;
    let shop = remote.shop.address;
    from(shop, BUYER, &header).await?.expect_refusal(Reason::SettlementPending)?;
    from(shop, THIEF, &header).await?.expect_refusal(Reason::PayerUnproven)?;
    remote.shop.chain.mine(1).await?;
    stranger.done(sent).await?;
    until_served(&remote, BUYER, &header).await?;
    fetch_after(shop, || request(THIEF, &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    assert_eq!(remote.transfers().await?, [sent]);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubtful_refusal_of_what_is_in_the_pool_charges_nobody_twice_who_pays_anew() -> Result<()> {
    let doubtful = Manner::refuses("invalid_exact_evm_transaction_failed");
    let remote = RemoteShop::open_on(slow_chain().await?, doubtful, proxied).await?;
    let customer = remote.customer(0);
    let (first, header) = customer.payment(AT).await?;
    let stranger = Stranger::on(&remote.shop.chain);
    let sent = stranger.settle(&first).await?;
    let shop = remote.shop.address;
    from(shop, BUYER, &header).await?.expect_refusal(Reason::SettlementPending)?;
    let (second, header) = customer.payment(AT).await?;
    from(shop, BUYER, &header).await?.expect_refusal(Reason::SettlementPending)?;
    remote.shop.chain.mine(1).await?;
    stranger.done(sent).await?;
    until_served(&remote, BUYER, &header).await?;
    assert_eq!(remote.transfers().await?, [sent]);
    let nonce = second.authorization.nonce.to_string();
    assert!(remote.meddler.asked().iter().all(|question| !question.contains(&nonce)));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_payer_takes_nothing_of_what_a_payer_is_owed() -> Result<()> {
    // Without an endpoint, and with a facilitator that finds every payment good.
    let manner = Manner::SettlesAndFails(StatusCode::BAD_GATEWAY);
    let remote = RemoteShop::open_as(manner, blind).await?;
    remote.meddler.check(Checking::Blind);
    let (shop, victim) = (remote.shop.address, remote.customer(0));
    let sale = victim.challenge(AT).await?;
    let (_, header) = victim.pay(&sale)?;
    from(shop, BUYER, &header).await?.expect_refusal(Reason::SettlementPending)?;
    remote.meddler.behave(Manner::Honest);
    remote.shop.until_payment(|record| record.state() == State::Claimed).await?;

    let thief = Buyer::of(remote.shop.chain.buyers()[1]);
    let requirement = requirement(sale.offered.first().context("offered")?);
    let mut authorization = thief.authorize(&requirement);
    authorization.from = victim.buyer.key.address();
    let forged = victim.header(&sale, &thief.sign(&requirement, authorization))?;
    from(shop, THIEF, &forged).await?.expect_refusal(Reason::FacilitatorRefused)?;
    assert_eq!(from(shop, BUYER, &header).await?.status, StatusCode::OK);
    assert_eq!(remote.transfers().await?.len(), 1);
    remote.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_facilitator_rejects_as_odd_does_not_close_the_shop() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::Honest).await?;
    remote.meddler.check(Checking::Strict);
    let (shop, thief) = (remote.shop.address, remote.customer(1));
    let sale = thief.challenge(AT).await?;
    let (mut odd, _) = thief.pay(&sale)?;
    odd.signature = vec![7; 66].into();
    let header = thief.header(&sale, &odd)?;
    for _ in 0..3 {
        fetch(shop, paid(get(AT), &header)).await?.expect_refusal(Reason::FacilitatorRefused)?;
        let (honest, refused) = tokio::try_join!(
            async { remote.customer(2).buy(AT).await },
            fetch(shop, paid(get(AT), &header))
        )?;
        assert_eq!(honest.status, StatusCode::OK, "{honest:?}");
        refused.expect_refusal(Reason::FacilitatorRefused)?;
    }
    assert_eq!(remote.transfers().await?.len(), 3);
    remote.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_is_asked_too_often_is_asked_again_by_the_next_buyer() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Honest).await?;
    remote.meddler.check(Checking::Says(StatusCode::TOO_MANY_REQUESTS, String::new()));
    for _ in 0..3 {
        remote.customer(1).buy(AT).await?.expect_refusal(Reason::FacilitatorUnavailable)?;
    }
    assert!(remote.shop.settler_states().all(|(_, state)| state != SettlerState::FacilitatorDown));
    remote.meddler.check(Checking::Honest);
    assert_eq!(remote.customer(2).buy(AT).await?.status, StatusCode::OK);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_never_spent_is_shown_to_the_facilitator_four_times() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Honest).await?;
    // Refuses a request as services do: nothing is charged.
    let upstream = Upstream::start(|request| {
        std::future::ready(match request.uri().query() {
            Some(_) => reply(StatusCode::NOT_FOUND, "no"),
            None => reply(StatusCode::OK, "hello"),
        })
    })
    .await?;
    remote.shop.sell(AT, &upstream)?;
    let (_, header) = remote.customer(1).payment(AT).await?;
    let ask = || paid(get(&format!("{AT}?missing")), &header);
    for _ in 0..4 {
        assert_eq!(fetch_after(remote.shop.address, ask).await?.status, StatusCode::NOT_FOUND);
    }
    for _ in 0..8 {
        fetch_after(remote.shop.address, ask).await?.expect_refusal(Reason::TooManyAttempts)?;
    }
    assert_eq!((remote.meddler.shown().len(), upstream.count()), (4, 4));
    assert_eq!(remote.customer(2).buy(AT).await?.status, StatusCode::OK);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_facilitator_whose_nodes_answer_was_lost_charges_once_and_tells_no_address()
-> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    let chain = slow_chain().await?;
    let node = FaultyRpc::start(chain.url()).await?;
    node.set_rules([Rule::of(Fault::LoseAnswer).on(["eth_sendRawTransaction"]).times(1)]);
    let published = PublishedServer::facilitator_through(&packages, &chain, node.url()).await?;
    let remote = RemoteShop::open_on(chain, Manner::Honest, |options| {
        proxied(options);
        others(options).urls = vec![format!("http://{}", published.address)];
    })
    .await?;
    let (_, header) = remote.customer(0).payment(AT).await?;
    let shop = remote.shop.address;
    let told = from(shop, BUYER, &header).await?;
    told.expect_refusal(Reason::SettlementPending)?;
    let text = format!("{:?} {}", told.headers, String::from_utf8_lossy(&told.body));
    let host = node.url().trim_start_matches("http://").trim_end_matches('/');
    assert!(!text.contains(host), "the buyer reads where the facilitator's node is: {text}");
    // Anybody reads the payment in the pool.
    from(shop, THIEF, &header).await?.expect_refusal(Reason::PayerUnproven)?;
    remote.shop.chain.mine(1).await?;
    until_served(&remote, BUYER, &header).await?;
    assert_eq!(remote.transfers().await?.len(), 1);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_the_time_without_an_endpoint_delivers_nothing_until_it_is_seen() -> Result<()> {
    let remote = RemoteShop::open_as(Manner::Hangs, blind).await?;
    let (_, header) = remote.customer(0).payment(AT).await?;
    let told = from(remote.shop.address, BUYER, &header).await?;
    told.expect_refusal(Reason::SettlementPending)?;
    remote.meddler.behave(Manner::claims(alloy_primitives::B256::repeat_byte(0x77)));
    remote.shop.until_payment(|record| record.state() == State::Claimed).await?;
    remote.meddler.behave(Manner::Hangs);
    let remote = remote.reopen_as(proxied).await?;
    let told = from(remote.shop.address, BUYER, &header).await?;
    told.expect_refusal(Reason::SettlementPending)?;
    remote.meddler.behave(Manner::Honest);
    until_served(&remote, BUYER, &header).await?;
    assert_eq!(remote.transfers().await?.len(), 1);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_which_the_endpoint_does_not_tell_delivers_nothing_and_stays_a_claim() -> Result<()> {
    let chain = Devchain::start(Options { mining: Mining::Automine, ..Options::default() }).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let remote = RemoteShop::open_on(chain, Manner::Hangs, blind).await?;
    let (_, header) = remote.customer(0).payment(AT).await?;
    let told = from(remote.shop.address, BUYER, &header).await?;
    told.expect_refusal(Reason::SettlementPending)?;
    remote.meddler.behave(Manner::Honest);
    remote.shop.until_payment(|record| record.state() == State::Claimed).await?;
    let no_logs = || Rule::of(Fault::Answer(serde_json::json!([]))).on(["eth_getLogs"]);
    let no_receipts = Rule::of(Fault::Answer(Value::Null)).on(["eth_getTransactionReceipt"]);
    rpc.set_rules([no_logs(), no_receipts]);
    let remote = remote
        .reopen_as(|options| {
            proxied(options);
            options.rpc = Some(rpc.url().to_owned());
        })
        .await?;
    for _ in 0..2 {
        let told = from(remote.shop.address, BUYER, &header).await?;
        told.expect_refusal(Reason::SettlementPending)?;
        let payments = remote.shop.payments().await?;
        assert!(payments.iter().all(|record| record.state() == State::Claimed), "{payments:?}");
    }
    // It is looked for when its client comes, and not only now and then; where it is said to be first.
    rpc.set_rules([no_logs()]);
    let served = from(remote.shop.address, BUYER, &header).await?;
    assert_eq!((served.status, remote.transfers().await?.len()), (StatusCode::OK, 1));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_the_buyer_sent_vouches_for_no_facilitator() -> Result<()> {
    let (remote, _second) = RemoteShop::open_with_second(Manner::Hangs).await?;
    let (payment, header) = remote.customer(0).payment(AT).await?;
    fetch(remote.shop.address, paid(get(AT), &header)).await?.expect_refusal(Reason::SettlementPending)?;
    assert_eq!(remote.customer(1).buy(AT).await?.status, StatusCode::OK, "by the second");
    let asked = remote.meddler.asked().len();
    until("it is asked again", async || Ok((remote.meddler.asked().len() > asked).then_some(()))).await?;
    let stranger = Stranger::on(&remote.shop.chain);
    stranger.done(stranger.settle(&payment).await?).await?;
    until("it is seen", async || {
        let payments = remote.shop.payments().await?;
        Ok(payments.iter().all(|record| record.state().is_paid()).then_some(()))
    })
    .await?;
    let before = remote.meddler.asked().len();
    let answered = remote.customer(2).buy(AT).await?;
    assert_eq!((answered.status, remote.meddler.asked().len() - before), (StatusCode::OK, 0));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitators_words_stay_words() -> Result<()> {
    for shape in [proxied, blind] {
        let remote = RemoteShop::open_as(Manner::Honest, shape).await?;
        let evil = "</script><script>alert(1)</script>\u{2028}\u{202e}\r\nX-Payment-Payer: 0x1";
        let words = serde_json::json!({"isValid": false, "invalidReason": evil, "invalidMessage": evil});
        remote.meddler.check(Checking::Says(StatusCode::OK, words.to_string()));
        let (_, header) = remote.customer(0).payment(AT).await?;
        let mut page = paid(get(AT), &header);
        page.headers_mut().insert("accept", "text/html".parse()?);
        let page = fetch(remote.shop.address, page).await?;
        assert_eq!(page.status, StatusCode::PAYMENT_REQUIRED, "{page:?}");
        assert_eq!(page.header("x-payment-payer"), None);
        let text = String::from_utf8_lossy(&page.body);
        assert!(!text.contains("<script>alert") && !text.contains("X-Payment-Payer"), "{text}");
        remote.close().await?;
    }
    Ok(())
}
