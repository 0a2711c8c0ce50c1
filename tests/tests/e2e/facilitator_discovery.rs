//! What is sold through the facilitator is found there: a published server declares it, a published
//! client pays for it, and another lists it.

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use obol_core::WireVersion;
use obol_devchain::{Installed, Mining};
use obol_facilitator_server::{Callers, Discovery};
use obol_tests::{
    Answered, CounterOptions, FacilitatorStage, PublishedServer, client_script, fetch, get, npm_clients,
    request, run_script, until,
};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::sync::watch;

const TOKEN: &str = "0123456789abcdef";

/// A facilitator that lists, and the file in which it keeps what it lists.
struct Market {
    stage: FacilitatorStage,
    discovery: Discovery,
    folder: TempDir,
}

impl Market {
    async fn open(mining: Mining, callers: Callers) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let discovery = Discovery::open(folder.path().join("catalogue.json"))?;
        let options = CounterOptions {
            mining,
            callers,
            discovery: Some(discovery.clone()),
            ..CounterOptions::default()
        };
        Ok(Self { stage: FacilitatorStage::open(options).await?, discovery, folder })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("catalogue.json")
    }

    async fn resources(&self, query: &str) -> Result<Value> {
        fetch(self.stage.address, get(&format!("/discovery/resources{query}"))).await?.json()
    }

    /// What a published server sends about the payment of this buyer, with a declaration.
    fn question(&self, buyer: usize, resource: &str, declaration: Value) -> Value {
        let payment = self.stage.buyer(buyer).pay(&self.stage.requirement);
        let mut question = self.stage.question(&payment, WireVersion::V2);
        question["paymentPayload"]["resource"]["url"] = resource.into();
        question["paymentPayload"]["extensions"] = json!({"bazaar": declaration});
        question
    }
}

fn declaration() -> Value {
    json!({"info": {"input": {"type": "http", "method": "GET"}}, "schema": {"type": "object"}})
}

/// What the header says about the listing.
fn told(answered: &Answered) -> Result<Option<Value>> {
    let Some(header) = answered.headers.get("extension-responses") else { return Ok(None) };
    let decoded: Value = serde_json::from_slice(&STANDARD.decode(header)?)?;
    Ok(Some(decoded["bazaar"].clone()))
}

async fn listed(packages: &Installed, market: &Market, params: Value) -> Result<Value> {
    let mut list = client_script(packages, "list")?;
    list.arg(format!("http://{}", market.stage.address)).arg(params.to_string());
    let output = tokio::time::timeout(Duration::from_secs(120), list.output()).await??;
    let words = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).with_context(|| format!("no JSON, but said: {words}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_published_middleware_sells_is_found_by_the_published_client() -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    let mining = Mining::Interval(Duration::from_secs(1));
    let market = Market::open(mining, Callers::parse(&format!("shop {TOKEN}"))?).await?;
    let stage = &market.stage;
    let seller = stage.chain.seller().address.to_checksum(None);
    let server =
        PublishedServer::node(&packages, "sell-listed", (stage.address, &seller), Some(TOKEN)).await?;
    let none = listed(&packages, &market, json!({})).await?;
    assert_eq!(none["extensions"], json!(["bazaar"]), "{none}");
    assert_eq!(none["listed"]["items"], json!([]));
    for (buyer, target, body) in [(0, "/users/7", None), (1, "/users/8", None), (2, "/orders", Some("{}"))] {
        let payer = stage.chain.buyers()[buyer];
        let printed = run_script(&packages, "pay-v2", payer, (server.address, target), body).await?;
        assert_eq!((printed.error, printed.status), (None, Some(200)));
    }
    let found = listed(&packages, &market, json!({})).await?["listed"].take();
    assert_eq!((&found["x402Version"], &found["pagination"]["total"]), (&2.into(), &2.into()), "{found}");
    let base = format!("http://127.0.0.1:{}", server.address.port());
    let (order, user) = (&found["items"][0], &found["items"][1]);
    assert_eq!(order["resource"], format!("{base}/orders"));
    assert_eq!(user["resource"], format!("{base}/users/:id"), "two requests, one resource");
    assert_eq!((&user["type"], &user["x402Version"]), (&"http".into(), &2.into()));
    assert_eq!((&user["description"], &user["mimeType"]), (&"a user".into(), &"application/json".into()));
    assert_eq!(user["extensions"]["bazaar"]["info"]["output"]["example"]["name"], "Ada");
    assert_eq!(order["extensions"]["bazaar"]["info"]["input"]["method"], "POST");
    let accepts = &user["accepts"][0];
    assert_eq!((&accepts["amount"], &accepts["payTo"]), (&"10000".into(), &seller.as_str().into()));
    ensure!(user["lastUpdated"].as_str().is_some_and(|time| time.ends_with('Z')), "{user}");
    for (params, total) in [
        (json!({"type": "http", "payTo": seller.to_lowercase(), "network": "eip155:84532", "limit": 1}), 2),
        (json!({"type": "mcp"}), 0),
        (json!({"network": "eip155:8453"}), 0),
        (json!({"scheme": "exact", "extensions": "bazaar", "offset": 1}), 2),
    ] {
        let page = listed(&packages, &market, params.clone()).await?["listed"].take();
        assert_eq!(page["pagination"]["total"], total, "{params}");
        assert_eq!(page["items"].as_array().map(Vec::len), Some(usize::from(total == 2)), "{params}");
    }
    drop(server);
    market.stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_settlement_is_the_same_whatever_becomes_of_the_listing() -> Result<()> {
    let market = Market::open(Mining::default(), Callers::anybody()).await?;
    let mut other = declaration();
    other["schema"] = json!({"$ref": "https://schema.example/x.json"});
    for (buyer, declared, status) in
        [(0, declaration(), "success"), (1, other, "rejected"), (2, json!(7), "rejected")]
    {
        let question = market.question(buyer, "https://shop.example/a", declared);
        let verified = market.stage.post("/verify", &question).await?;
        assert_eq!(told(&verified)?, None, "nothing is listed before it is paid for");
        let settled = market.stage.post("/settle", &question).await?;
        let told = told(&settled)?.context("a declaration")?;
        assert_eq!(told["status"], status, "{told}");
        ensure!(status == "success" || told["rejectedReason"].is_string(), "{told}");
        let answer = settled.json()?;
        let mut fields: Vec<_> = answer.as_object().context("an object")?.keys().collect();
        fields.sort();
        assert_eq!(fields, ["amount", "network", "payer", "success", "transaction"]);
        assert_eq!((settled.status.as_u16(), &answer["success"]), (200, &true.into()));
    }
    assert_eq!(market.resources("").await?["pagination"]["total"], 1);
    let mut unpaid = market.question(3, "https://shop.example/unpaid", declaration());
    unpaid["paymentPayload"]["payload"]["authorization"]["value"] = "1".into();
    let refused = market.stage.post("/settle", &unpaid).await?;
    assert_eq!((told(&refused)?, &refused.json()?["success"]), (None, &false.into()));
    assert_eq!(market.resources("").await?["pagination"]["total"], 1, "what is not paid is not listed");
    market.stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_of_one_caller_is_not_anothers() -> Result<()> {
    let callers = Callers::parse(&format!("shop {TOKEN}\nother other-{TOKEN}"))?;
    let market = Market::open(Mining::default(), callers).await?;
    let as_caller = async |buyer, token: &str, description: &str| {
        let mut question = market.question(buyer, "https://shop.example/a", declaration());
        question["paymentPayload"]["resource"]["description"] = description.into();
        told(&market.stage.post_as("/settle", question.to_string(), Some(token)).await?)
    };
    assert_eq!(as_caller(0, TOKEN, "ours").await?, Some(json!({"status": "success"})));
    let refused = as_caller(1, &format!("other-{TOKEN}"), "theirs").await?.context("told")?;
    assert_eq!(refused["rejectedReason"], "another caller has listed this resource");
    assert_eq!(market.resources("").await?["items"][0]["description"], "ours");
    assert_eq!(as_caller(2, TOKEN, "ours, changed").await?, Some(json!({"status": "success"})));
    assert_eq!(market.resources("").await?["items"][0]["description"], "ours, changed");
    market.stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_is_on_disk_soon_and_whole() -> Result<()> {
    let market = Market::open(Mining::default(), Callers::anybody()).await?;
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(market.discovery.clone().keep(stopped));
    for buyer in 0..3 {
        let question = market.question(buyer, &format!("https://shop.example/{buyer}"), declaration());
        market.stage.post("/settle", &question).await?;
    }
    until("all three are on disk", async || {
        let kept: Value = serde_json::from_slice(&std::fs::read(market.file())?)?;
        Ok((kept["entries"].as_array().map(Vec::len) == Some(3)).then_some(()))
    })
    .await?;
    stop.send(true)?;
    keeping.await?;
    market.stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_lists_nothing_says_so() -> Result<()> {
    let stage = FacilitatorStage::open(CounterOptions::default()).await?;
    let supported = fetch(stage.address, get("/supported")).await?.json()?;
    assert_eq!(supported["extensions"], json!([]));
    let none = fetch(stage.address, get("/discovery/resources?limit=5")).await?.json()?;
    let expected =
        json!({"x402Version": 2, "items": [], "pagination": {"limit": 5, "offset": 0, "total": 0}});
    assert_eq!(none, expected);
    let mut question = stage.question(&stage.buyer(0).pay(&stage.requirement), WireVersion::V2);
    question["paymentPayload"]["extensions"] = json!({"bazaar": declaration()});
    let settled = stage.post("/settle", &question).await?;
    assert_eq!((told(&settled)?, &settled.json()?["success"]), (None, &true.into()));
    for (at, status) in [("?limit=0", 400), ("?limit=101", 400), ("?offset=-1", 400), ("?limit=100", 200)] {
        let answered = fetch(stage.address, get(&format!("/discovery/resources{at}"))).await?;
        assert_eq!(answered.status.as_u16(), status, "{at}");
    }
    let posted = fetch(stage.address, request(hyper::Method::POST, "/discovery/resources", "")).await?;
    assert_eq!(posted.status, 405);
    stage.close().await
}
