//! What a real Prometheus makes of a verifier: recorded figures are the ledger's, whatever happens
//! to processes in between.

use crate::{Running, json, obol, settler_key};
use anyhow::{Context, Result, ensure};
use obol_core::WireVersion;
use obol_devchain::{Devchain, Options};
use obol_tests::{Buyer, Customer, Observer, Program, Scrape, Upstream, executable, until};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A verifier's process on a chain, with a folder of its own.
struct Shop {
    chain: Devchain,
    upstream: Upstream,
    folder: TempDir,
}

/// The process, and where it listens.
struct Selling {
    address: SocketAddr,
    admin: SocketAddr,
    _process: Running,
}

impl Shop {
    async fn open() -> Result<Self> {
        let chain = Devchain::start(Options::default()).await?;
        let shop = Self { chain, upstream: Upstream::hello().await?, folder: tempfile::tempdir()? };
        fs::create_dir(shop.offers())?;
        fs::write(shop.path("settler.key"), shop.chain.settler().key.to_string())?;
        shop.offer("hello", "base-sepolia")?;
        Ok(shop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn offers(&self) -> PathBuf {
        self.path("offers")
    }

    fn offer(&self, name: &str, network: &str) -> Result<()> {
        let manifest = format!(
            "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
             path: /services/{name}\n  upstream: {{url: \"{}\"}}\n  payment:\n    network: {network}\n    \
             payTo: \"{}\"\n    price: {{perRequest: \"0.01\"}}\n",
            self.upstream.base(),
            self.chain.seller().address.to_checksum(None)
        );
        Ok(fs::write(self.offers().join(format!("{name}.yaml")), manifest)?)
    }

    /// Starts the process, and waits until it sells.
    async fn sell(&self) -> Result<Selling> {
        let ports = [free()?, free()?];
        let process = obol()
            .args(["verifier", "--rpc", &format!("base-sepolia={}", self.chain.url())])
            .args(["--listen", &ports[0].to_string(), "--admin-listen", &ports[1].to_string()])
            .args(["--reconcile-every", "1"])
            .arg("--settler-key-file")
            .arg(self.path("settler.key"))
            .arg("--ledger")
            .arg(self.path("ledger.db"))
            .arg("--offers")
            .arg(self.offers())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.path("log"))?)
            .spawn()
            .map(Running)?;
        let [address, admin] = ports;
        let sells = until("it sells", async || {
            let told = Scrape::of(admin).await.ok();
            Ok(told.is_some_and(|told| told.one("offers_served", &[]).is_ok_and(|n| n > 0)).then_some(()))
        });
        sells.await.with_context(|| fs::read_to_string(self.path("log")).unwrap_or_default())?;
        Ok(Selling { address, admin, _process: process })
    }

    async fn buy(&self, selling: &Selling, buyer: usize, name: &str) -> Result<()> {
        let buyer = Buyer::of(self.chain.buyers()[buyer]);
        let customer = Customer::new(buyer, selling.address, WireVersion::V2);
        let answered = customer.buy(&format!("/services/{name}")).await?;
        ensure!(answered.status == 200, "{answered:?}");
        Ok(())
    }
}

fn free() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

const OFFER: &str = r#"{offer_namespace="shop",offer_name="hello",chain="eip155:84532"}"#;
const REVENUE: [&str; 2] = ["x402:revenue:24h_by_offer_chain", "x402:revenue:7d_by_offer_chain"];
const LIFETIME: &str = r#"x402:revenue:lifetime_by_offer{offer_namespace="shop",offer_name="hello"}"#;

/// The figures become these, and stay so for some evaluations.
async fn recorded(prometheus: &Observer, payments: &str, units: &str) -> Result<()> {
    let amount = format!("x402:settled_amount:lifetime_by_offer_chain_asset{OFFER}");
    let figures = REVENUE.map(|record| (format!("{record}{OFFER}"), payments)).into_iter();
    let figures: Vec<_> = figures.chain([(LIFETIME.to_owned(), payments), (amount, units)]).collect();
    for (expression, value) in &figures {
        prometheus.until(expression, value).await?;
    }
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        for (expression, value) in &figures {
            let found = prometheus.query(expression).await?;
            ensure!(found.len() == 1 && found[0].value() == *value, "{expression} did not stay: {found:?}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_payments_are_recorded_as_two_over_restarts_gaps_and_new_instances() -> Result<()> {
    let Some(prometheus) = Observer::start().await? else { return Ok(()) };
    let shop = Shop::open().await?;
    let selling = shop.sell().await?;
    prometheus.target(&[selling.admin])?;
    // From zero, as increase() would need it, and before anything is earned.
    recorded(&prometheus, "0", "0").await?;
    ensure!(prometheus.query("x402:last_payment_age_seconds:by_offer_chain").await?.is_empty());
    for buyer in 0..2 {
        shop.buy(&selling, buyer, "hello").await?;
    }
    recorded(&prometheus, "2", "20000").await?;
    let head = shop.chain.rpc().latest_block().await?.seconds()?;
    let last = format!("obol_x402_verifier_last_payment_success_seconds{OFFER}");
    let told = prometheus.query(&last).await?;
    let told: i64 = told.first().context("no last success")?.value().parse()?;
    ensure!((head - 1..=head).contains(&told), "{told}, and the block's time is {head}");

    // Two restarts, each at another address: a gap, and another `instance`.
    drop(selling);
    for _ in 0..2 {
        let again = shop.sell().await?;
        prometheus.target(&[again.admin])?;
        let up = format!("up{{instance=\"{}\"}}", again.admin);
        prometheus.until(&up, "1").await?;
        recorded(&prometheus, "2", "20000").await?;
        let now = prometheus.query(&last).await?;
        let now: i64 = now.first().context("no last success")?.value().parse()?;
        ensure!(now == told, "{now}, not {told}");
    }

    // Two processes of one ledger at once: the figure is the ledger's, not twice that.
    let (one, two) = (shop.sell().await?, shop.sell().await?);
    prometheus.target(&[one.admin, two.admin])?;
    for instance in [one.admin, two.admin] {
        prometheus.until(&format!("up{{instance=\"{instance}\"}}"), "1").await?;
    }
    shop.buy(&one, 0, "hello").await?;
    shop.buy(&two, 1, "hello").await?;
    recorded(&prometheus, "4", "40000").await?;
    let charged = format!("sum(obol_x402_verifier_charged_requests_total{OFFER})");
    prometheus.until(&charged, "2").await?;
    prometheus.until("max(obol_x402_verifier_ledger_drift_payments)", "0").await?;

    // A Prometheus that has seen nothing of it.
    let Some(new) = Observer::start().await? else { return Ok(()) };
    new.target(&[two.admin])?;
    recorded(&new, "4", "40000").await?;

    // The offer under another name: the old one is gone, the new one begins at zero.
    fs::remove_file(shop.offers().join("hello.yaml"))?;
    shop.offer("renamed", "base-sepolia")?;
    new.until("count(x402:revenue:7d_by_offer_chain{offer_name=\"renamed\"} == 0)", "1").await?;
    until("the old name is gone", async || {
        Ok(new.query(&format!("{}{OFFER}", REVENUE[0])).await?.is_empty().then_some(()))
    })
    .await?;
    Ok(())
}

/// What a shop has none of that has sold twice, and to which nothing bad has happened.
const NOTHING: [&str; 6] = [
    "payment_failure_reasons_total",
    "refused_requests_total",
    "unsettled_amount_limit",
    "verifier_oldest_unsettled_seconds",
    "chain_oldest_unsettled_seconds",
    "facilitator_up",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_of_the_dashboard_shows_something_after_two_sales() -> Result<()> {
    let Some(prometheus) = Observer::start().await? else { return Ok(()) };
    let shop = Shop::open().await?;
    let selling = shop.sell().await?;
    prometheus.target(&[selling.admin])?;
    recorded(&prometheus, "0", "0").await?;
    for buyer in 0..2 {
        shop.buy(&selling, buyer, "hello").await?;
    }
    recorded(&prometheus, "2", "20000").await?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let mut asked = 0;
    for panel in panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().context("expr")?;
            let chosen = [
                ("$offer_namespace", ".+"),
                ("$offer_name", ".+"),
                ("$__rate_interval", "1m"),
                ("$__range", "1h"),
            ];
            let expression = chosen
                .iter()
                .fold(expression.to_owned(), |expression, (name, value)| expression.replace(name, value));
            ensure!(!expression.contains('$'), "{expression}");
            asked += 1;
            if NOTHING.iter().any(|family| expression.contains(family)) {
                ensure!(prometheus.query(&expression).await?.is_empty(), "{expression} shows something");
                continue;
            }
            until(format!("{} shows something by {expression}", panel["title"]), async || {
                let found = prometheus.query(&expression).await?;
                Ok((!found.is_empty() && found.iter().all(|sample| sample.value() != "NaN")).then_some(()))
            })
            .await?;
        }
    }
    ensure!(asked > 40, "{asked}");
    let earned = panels.iter().find(|panel| panel["title"] == "Earned by whole chains, ever");
    let earned = earned.and_then(|panel| panel["targets"][0]["expr"].as_str()).context("earned")?;
    let found = prometheus.query(earned).await?;
    let values: Vec<_> = found.iter().map(|sample| sample.value()).collect();
    ensure!(values.contains(&"0.02"), "in whole units: {values:?}");
    Ok(())
}

#[test]
fn the_demo_shows_what_prometheus_has_recorded_beside_the_ledger() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let Some(binary) = runtime.block_on(executable(Program::Prometheus))? else { return Ok(()) };
    let output =
        obol().args(["demo", "--once", "--output", "json"]).env("PROMETHEUS_BIN", binary).output()?;
    let document = json(&output)?;
    let recorded = document["recorded"].as_array().context("recorded")?;
    let line = |record: &str| recorded.iter().find(|line| line["record"] == record);
    for record in REVENUE.into_iter().chain(["x402:revenue:lifetime_by_offer"]) {
        let line = line(record).with_context(|| format!("{record}: {document}"))?;
        ensure!(line["value"] == "2" && line["offer_name"] == "demo-hello", "{line}");
    }
    ensure!(line(REVENUE[0]).is_some_and(|line| line["chain"] == "eip155:84532"), "{document}");
    let urls = &document["urls"];
    ensure!(urls["prometheus"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{urls}");
    let metrics = urls["metrics"].as_array().context("metrics")?;
    ensure!(metrics.len() == 1 && metrics[0].as_str().is_some_and(|url| url.ends_with("/metrics")), "{urls}");
    Ok(())
}

#[test]
fn the_demo_does_without_a_prometheus_that_does_not_run() -> Result<()> {
    let output =
        obol().args(["demo", "--once", "--output", "json"]).env("PROMETHEUS_BIN", "/nowhere").output()?;
    ensure!(output.status.success(), "{output:?}");
    let document = json(&output)?;
    ensure!(document["urls"]["prometheus"].is_null(), "{document}");
    ensure!(document["recorded"].as_array().is_some_and(Vec::is_empty), "{document}");
    ensure!(String::from_utf8_lossy(&output.stderr).contains("Going on without Prometheus"), "{output:?}");
    Ok(())
}

/// The chain of each offer's series.
async fn chains(admin: SocketAddr) -> Result<Vec<(String, String)>> {
    let told = Scrape::of(admin).await?;
    let label = |labels: &std::collections::BTreeMap<String, String>, name: &str| labels[name].clone();
    let all = told.all("requests_total", &[]);
    let mut chains: Vec<_> =
        all.map(|(labels, _)| (label(labels, "offer_name"), label(labels, "chain"))).collect();
    chains.sort();
    Ok(chains)
}

fn write_routes(path: &Path, default: &str) -> Result<()> {
    let route = |name: &str, chain: &str| {
        format!(
            "  - {{pattern: /{name}, price: \"0.01\", upstreamURL: \"http://127.0.0.1:9\", offerNamespace: shop, \
             offerName: {name}{chain}}}\n"
        )
    };
    let routes = [
        route("alias", ", network: base-sepolia"),
        route("caip", ", network: \"eip155:84532\""),
        route("inherits", ""),
    ];
    let wallet = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let text = format!("wallet: \"{wallet}\"\nchain: {default}\nroutes:\n{}", routes.concat());
    // Whole or not at all: it is watched.
    fs::write(path.with_extension("part"), text)?;
    Ok(fs::rename(path.with_extension("part"), path)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_is_the_resolved_one_by_alias_by_id_and_by_a_default_that_changes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (routes, admin) = (folder.path().join("pricing.yaml"), free()?);
    write_routes(&routes, "base-sepolia")?;
    fs::create_dir(folder.path().join("offers"))?;
    let nobody = "http://127.0.0.1:1";
    let _selling = obol()
        .args(["verifier", "--rpc", &format!("base-sepolia={nobody}"), "--rpc", &format!("base={nobody}")])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", &admin.to_string(), "--ledger", "ledger.db"])
        .args(["--offers", "offers", "--pricing", "pricing.yaml"])
        .args(["--settler-key-file", &settler_key(folder.path())?])
        .current_dir(folder.path())
        .stderr(fs::File::create(folder.path().join("log"))?)
        .spawn()
        .map(Running)?;
    let told = |inherited: &str| -> Vec<(String, String)> {
        [("alias", "eip155:84532"), ("caip", "eip155:84532"), ("inherits", inherited)]
            .map(|(name, chain)| (name.to_owned(), chain.to_owned()))
            .to_vec()
    };
    for (default, chain) in
        [("base-sepolia", "eip155:84532"), ("base", "eip155:8453"), ("eip155:84532", "eip155:84532")]
    {
        write_routes(&routes, default)?;
        let seen = until(format!("the default {default} is {chain}"), async || {
            let found = chains(admin).await.unwrap_or_default();
            Ok((found == told(chain)).then_some(()))
        });
        seen.await.with_context(|| fs::read_to_string(folder.path().join("log")).unwrap_or_default())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_does_not_load_is_told_until_it_is_mended() -> Result<()> {
    let shop = Shop::open().await?;
    let selling = shop.sell().await?;
    let faults = async |wanted: u64| {
        until(format!("{wanted} faults"), async || {
            let told = Scrape::of(selling.admin).await?;
            Ok((told.one("offer_faults", &[])? == wanted).then_some(told))
        })
        .await
    };
    assert_eq!(faults(0).await?.one("offers_served", &[])?, 1);
    shop.offer("bad", "nowhere")?;
    assert_eq!(faults(1).await?.one("offers_served", &[])?, 1);
    shop.offer("bad", "base-sepolia")?;
    assert_eq!(faults(0).await?.one("offers_served", &[])?, 2);
    Ok(())
}
