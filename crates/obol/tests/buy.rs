//! `obol buy` as people and scripts use it, against a gate on a chain.

use anyhow::{Context, Result, ensure};
use obol_tests::{Shop, ShopOptions, Upstream, reply, streamed, until};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::TempDir;
use tokio::process::Command;

const AT: &str = "/services/hello";

/// A shop, its upstream, and a payer's folder.
struct Stage {
    shop: Shop,
    upstream: Upstream,
    home: TempDir,
}

impl Stage {
    async fn set(upstream: Upstream) -> Result<Self> {
        let shop = Shop::open(ShopOptions::default()).await?;
        shop.sell(AT, &upstream)?;
        let home = tempfile::tempdir()?;
        fs::write(home.path().join("payer.key"), shop.chain.buyers()[0].key.to_string())?;
        Ok(Self { shop, upstream, home })
    }

    fn url(&self) -> String {
        format!("http://{}{AT}", self.shop.address)
    }

    fn pay(&self, more: &[&str]) -> Command {
        let mut command = obol(self.home.path(), &["buy", "pay", &self.url(), "--key-file", "payer.key"]);
        command.args(["--max-amount", "0.01"]).args(more);
        command
    }

    fn rpc(&self) -> String {
        format!("base-sepolia={}", self.shop.chain.url())
    }

    /// Payments that were signed and not accounted for.
    fn open_payments(&self) -> Result<Vec<PathBuf>> {
        files(&self.home.path().join(".obol/purchases"))
    }

    fn done(&self) -> Result<Vec<PathBuf>> {
        files(&self.home.path().join(".obol/purchases/done"))
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(_) => return Ok(Vec::new()),
    };
    let paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect())
}

fn obol(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obol"));
    command.args(args).current_dir(home).env("HOME", home).env("NO_PROXY", "*");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Standard output of a command that ends so.
async fn ran(mut command: Command, code: i32, says: &str) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().await?;
    let error = String::from_utf8_lossy(&stderr);
    ensure!(status.code() == Some(code), "{status}, not {code}: {error}");
    ensure!(error.contains(says), "does not say {says:?}: {error}");
    ensure!(!error.contains("panicked"), "{error}");
    Ok(String::from_utf8(stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_paid_for_and_its_answer_printed() -> Result<()> {
    let stage = Stage::set(Upstream::hello().await?).await?;
    let body = ran(stage.pay(&[]), 0, "paid 0.01 USDC to").await?;
    assert_eq!(body, "hello");
    assert_eq!((stage.open_payments()?.len(), stage.done()?.len()), (0, 1));
    let document: Value = serde_json::from_str(&ran(stage.pay(&["--output", "json"]), 0, "").await?)?;
    assert_eq!((&document["status"], &document["body"]), (&200.into(), &"hello".into()));
    let paid = &document["paid"];
    assert_eq!((&paid["amount"], &paid["settled"]), (&"10000".into(), &true.into()));
    let transfers = stage.shop.chain.transfer_events(0).await?;
    let named = transfers.iter().filter(|transfer| paid["transaction"] == transfer.transaction.to_string());
    assert_eq!(named.count(), 1);
    // Two runs are two purchases.
    assert_eq!((stage.shop.payments().await?.len(), stage.upstream.count()), (2, 2));
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_above_the_limit_is_paid_and_a_dry_run_pays_nothing() -> Result<()> {
    let stage = Stage::set(Upstream::hello().await?).await?;
    ran(stage.pay(&["--max-amount", "0.009999"]), 2, "cannot be used multiple times").await?;
    let mut dear = obol(stage.home.path(), &["buy", "pay", &stage.url(), "--key-file", "payer.key"]);
    dear.args(["--max-amount", "0.009999"]);
    ran(dear, 6, "the price is 0.01 USDC on eip155:84532, above --max-amount 0.009999").await?;
    let would = ran(stage.pay(&["--dry-run"]), 0, "").await?;
    ensure!(would.starts_with("It would pay 0.01 USDC to 0x"), "{would}");
    let probed = ran(obol(stage.home.path(), &["buy", "probe", &stage.url()]), 0, "").await?;
    ensure!(probed.contains("0.01 USDC  eip155:84532"), "{probed}");
    assert_eq!((stage.open_payments()?.len(), stage.shop.payments().await?.len()), (0, 0));
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_after_it_had_paid_is_gone_on_with_and_pays_once() -> Result<()> {
    let (upstream, mut asks) = Upstream::told().await?;
    let stage = Stage::set(upstream).await?;
    let mut killed = stage.pay(&[]).spawn()?;
    let told = asks.recv().await.context("asked")?;
    killed.kill().await?;
    let signed = stage.open_payments()?;
    assert_eq!(signed.len(), 1);
    drop(told);
    until("the gate has noticed", async || {
        let payments = stage.shop.payments().await?;
        Ok((payments.len() == 1 && payments[0].held_until.0 == 0).then_some(()))
    })
    .await?;
    let second = tokio::spawn(ran(stage.pay(&[]), 0, "going on with it"));
    let again = asks.recv().await.context("asked again")?;
    // Whoever waits has to be told; a client that left would not be.
    again.send("hello").map_err(|_| anyhow::anyhow!("the second run has left"))?;
    assert_eq!(second.await??, "hello");
    assert_eq!((stage.open_payments()?.len(), stage.done()?.len()), (0, 1));
    assert_eq!(stage.shop.payments().await?.len(), 1);
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_taken_is_found_on_the_chain_before_another_is_made() -> Result<()> {
    let stage = Stage::set(Upstream::hello().await?).await?;
    ran(stage.pay(&[]), 0, "").await?;
    // As a run leaves it that was killed between the answer's arrival and its note.
    let done = stage.done()?.pop().context("a payment")?;
    let name = files(&stage.home.path().join(".obol/purchases"))?;
    assert_eq!(name.len(), 0);
    let lock = fs::read_dir(stage.home.path().join(".obol/purchases"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "lock"))
        .context("a lock")?;
    let mut kept: Value = serde_json::from_slice(&fs::read(&done)?)?;
    assert_eq!((&kept["ended"], &kept["answer"]["status"]), (&"served".into(), &200.into()));
    (kept["ended"], kept["answer"]) = (Value::Null, Value::Null);
    fs::write(lock.with_extension("json"), kept.to_string())?;
    ran(stage.pay(&[]), 7, "give --rpc eip155:84532=<URL> to find out").await?;
    ran(stage.pay(&["--dry-run"]), 0, "").await?;
    ran(stage.pay(&["--rpc", &stage.rpc()]), 8, "was taken, and the seller does not serve it again").await?;
    assert_eq!(stage.shop.payments().await?.len(), 1);
    ran(stage.pay(&["--rpc", &stage.rpc()]), 0, "paid 0.01 USDC").await?;
    assert_eq!(stage.shop.payments().await?.len(), 2);
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_refused_is_kept_and_sent_again_and_no_second_one_signed() -> Result<()> {
    let stage =
        Stage::set(Upstream::answering(hyper::StatusCode::INTERNAL_SERVER_ERROR, "broken").await?).await?;
    ran(stage.pay(&[]), 7, "answered 500").await?;
    let first = fs::read(stage.open_payments()?.pop().context("kept")?)?;
    ran(stage.pay(&["--rpc", &stage.rpc()]), 7, "run the same command again").await?;
    assert_eq!(fs::read(stage.open_payments()?.pop().context("kept")?)?, first);
    assert_eq!(stage.shop.payments().await?.len(), 1);
    assert_eq!(
        stage
            .shop
            .chain
            .transfer_events(0)
            .await?
            .iter()
            .filter(|t| t.to == stage.shop.chain.seller().address)
            .count(),
        0
    );
    // Another request is another purchase.
    let mut other = stage.pay(&[]);
    other.args(["--data", "x"]);
    ran(other, 7, "answered 500").await?;
    assert_eq!(stage.open_payments()?.len(), 2);
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_free_costs_nothing_and_a_redirect_gets_no_payment() -> Result<()> {
    let stage = Stage::set(Upstream::hello().await?).await?;
    let free = Upstream::hello().await?;
    let home = stage.home.path();
    let url = |upstream: &Upstream| format!("{}/x", upstream.base());
    let pay = |url: &str| {
        let mut command = obol(home, &["buy", "pay", url, "--key-file", "payer.key"]);
        command.args(["--max-amount", "1"]);
        command
    };
    assert_eq!(ran(pay(&url(&free)), 0, "answered 200 without a payment").await?, "hello");
    let paid = stage.url();
    let elsewhere = Upstream::start(move |_| {
        let mut reply = reply(hyper::StatusCode::TEMPORARY_REDIRECT, "");
        reply.headers_mut().insert("location", paid.parse().expect("a URL"));
        std::future::ready(reply)
    })
    .await?;
    ran(pay(&url(&elsewhere)), 1, "answered 307").await?;
    // A token that nobody knows, and a known one with another's domain.
    for (change, says) in [
        ("0x036CbD53842c5426634e7929541eC2318f3dCF7f", "is no known asset"),
        ("\"name\":\"Other\"", "another EIP-712 domain"),
    ] {
        let challenge = challenge_of(&stage).await?;
        let changed = match change.starts_with("0x") {
            true => challenge.replace("0x036CbD53842c5426634e7929541eC2318f3dCF7e", change),
            false => challenge.replace("\"name\":\"USDC\"", change),
        };
        ensure!(changed != challenge, "nothing was changed in {challenge}");
        let liar = Upstream::start(move |_| {
            std::future::ready(reply(hyper::StatusCode::PAYMENT_REQUIRED, changed.clone()))
        })
        .await?;
        ran(pay(&url(&liar)), 1, says).await?;
        assert_eq!(liar.count(), 1);
    }
    assert_eq!(stage.open_payments()?.len(), 0);
    stage.shop.close().await
}

/// The body of the shop's 402, which v1 clients read.
async fn challenge_of(stage: &Stage) -> Result<String> {
    let answered = obol_tests::fetch(stage.shop.address, obol_tests::get(AT)).await?;
    Ok(String::from_utf8(answered.body.to_vec())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_paid_for_is_printed_by_the_next_run_when_it_could_not_be() -> Result<()> {
    let stage = Stage::set(Upstream::hello().await?).await?;
    let mut lost = stage.pay(&[]);
    lost.stdout(fs::File::options().write(true).open("/dev/full")?).stderr(Stdio::null());
    assert_eq!(lost.status().await?.code(), Some(1));
    let body = ran(stage.pay(&[]), 0, "nothing is paid now").await?;
    assert_eq!((body.as_str(), stage.open_payments()?.len()), ("hello", 0));
    assert_eq!((stage.shop.payments().await?.len(), stage.upstream.count()), (1, 1));
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_is_sold_is_told_with_its_place() -> Result<()> {
    let away = Upstream::start(|_| {
        let mut reply = reply(hyper::StatusCode::FOUND, "");
        reply.headers_mut().insert("location", "https://files.example/yours".parse().expect("a URL"));
        std::future::ready(reply)
    })
    .await?;
    let stage = Stage::set(away).await?;
    let told =
        ran(stage.pay(&["--output", "json"]), 0, "the answer is 302, to https://files.example/yours").await?;
    let told: Value = serde_json::from_str(&told)?;
    assert_eq!((&told["status"], &told["location"]), (&302.into(), &"https://files.example/yours".into()));
    assert_eq!((&told["paid"]["evidence"], stage.open_payments()?.len()), (&"claimed".into(), 0));
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_within_the_offer_is_not_charged_and_names_what_to_buy() -> Result<()> {
    let moved = Upstream::start(|request| {
        let within = request.uri().path().ends_with("/there");
        let mut reply = reply(if within { hyper::StatusCode::OK } else { hyper::StatusCode::FOUND }, "hello");
        if !within {
            reply.headers_mut().insert("location", "/there".parse().expect("a path"));
        }
        std::future::ready(reply)
    })
    .await?;
    let stage = Stage::set(moved).await?;
    let there = format!("to {AT}/there, and charges nothing for it");
    ran(stage.pay(&[]), 7, &there).await?;
    ran(stage.pay(&[]), 7, &there).await?;
    let paid = async || {
        let payments = stage.shop.payments().await?;
        anyhow::Ok(payments.iter().filter(|record| record.state().is_paid()).count())
    };
    assert_eq!((stage.open_payments()?.len(), paid().await?), (1, 0));
    let url = format!("{}/there", stage.url());
    let mut pay = obol(stage.home.path(), &["buy", "pay", &url, "--key-file", "payer.key"]);
    pay.args(["--max-amount", "0.01"]);
    assert_eq!(ran(pay, 0, "").await?, "hello");
    assert_eq!(paid().await?, 1);
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_what_is_not_sold_fails_with_what_was_answered() -> Result<()> {
    let home = tempfile::tempdir()?;
    for (status, code) in [
        (hyper::StatusCode::NOT_FOUND, 1),
        (hyper::StatusCode::SERVICE_UNAVAILABLE, 5),
        (hyper::StatusCode::OK, 0),
    ] {
        let seller = Upstream::answering(status, r#"{"reason":"elsewhere"}"#).await?;
        let url = format!("{}/x", seller.base());
        let says = if code == 0 { "" } else { "(elsewhere), and asks no payment" };
        ran(obol(home.path(), &["buy", "probe", &url]), code, says).await?;
        let document =
            ran(obol(home.path(), &["buy", "probe", &url, "--output", "json"]), code, says).await?;
        let document: Value = serde_json::from_str(&document)?;
        assert_eq!(document["status"], status.as_u16());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_that_fails_for_a_while_is_not_paid_again() -> Result<()> {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let upstream = Upstream::start(move |_| {
        let status = if failing.load(Ordering::Relaxed) { 502 } else { 200 };
        std::future::ready(reply(hyper::StatusCode::from_u16(status).expect("a status"), "hello"))
    })
    .await?;
    let stage = Stage::set(upstream).await?;
    for _ in 0..2 {
        ran(stage.pay(&["--rpc", &stage.rpc()]), 7, "answered 502").await?;
    }
    // Below what is signed already.
    let mut less = obol(stage.home.path(), &["buy", "pay", &stage.url(), "--key-file", "payer.key"]);
    less.args(["--max-amount", "0.001"]);
    ran(less, 6, "has signed 0.01 USDC for this request").await?;
    fails.store(false, Ordering::Relaxed);
    assert_eq!(ran(stage.pay(&["--rpc", &stage.rpc()]), 0, "going on with it").await?, "hello");
    assert_eq!(stage.shop.payments().await?.len(), 1);
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_payment_is_left_to_itself_only_for_another_one() -> Result<()> {
    let stage =
        Stage::set(Upstream::answering(hyper::StatusCode::INTERNAL_SERVER_ERROR, "broken").await?).await?;
    ran(stage.pay(&[]), 7, "answered 500").await?;
    let first = fs::read(stage.open_payments()?.pop().context("kept")?)?;
    // Nothing that could be paid instead is there.
    stage.shop.publish(&[])?;
    ran(stage.pay(&["--again"]), 1, "answered 404").await?;
    assert_eq!(fs::read(stage.open_payments()?.pop().context("kept")?)?, first);
    stage.shop.sell(AT, &stage.upstream)?;
    ran(stage.pay(&["--again"]), 7, "answered 500").await?;
    assert_ne!(fs::read(stage.open_payments()?.pop().context("kept")?)?, first);
    let left: Value = serde_json::from_slice(&fs::read(stage.done()?.pop().context("left")?)?)?;
    assert_eq!(left["ended"], "abandoned");
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_paid_for_and_told_as_that() -> Result<()> {
    let upstream = Upstream::start(|_| async {
        let (sender, reply) = streamed();
        tokio::spawn(async move {
            let _ = sender.send(Ok("half".into())).await;
            let _ = sender.send(Err(std::io::Error::other("broken off by the test"))).await;
        });
        reply
    })
    .await?;
    let stage = Stage::set(upstream).await?;
    let half = ran(stage.pay(&[]), 8, "was paid for, and its answer broke off").await?;
    assert_eq!((half.as_str(), stage.open_payments()?.len()), ("half", 0));
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_pays_with_its_password() -> Result<()> {
    let stage = Stage::set(Upstream::hello().await?).await?;
    let home = stage.home.path();
    fs::write(home.join("word"), "correct horse\n")?;
    let imported = ["wallet", "import", "payer", "--key-file", "payer.key", "--password-file", "word"];
    ran(obol(home, &imported), 0, "").await?;
    let pay = |word: &str| {
        let mut command =
            obol(home, &["buy", "pay", &stage.url(), "--max-amount", "0.01", "--wallet", "payer"]);
        command.args(["--password-file", word]);
        command
    };
    fs::write(home.join("wrong"), "battery staple\n")?;
    ran(pay("wrong"), 4, "password").await?;
    assert_eq!(ran(pay("word"), 0, "paid 0.01 USDC").await?, "hello");
    stage.shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_is_one_sentence_and_pays_nothing() -> Result<()> {
    let stage = Stage::set(Upstream::hello().await?).await?;
    let home = stage.home.path();
    fs::write(home.join("bad.key"), "0x1234")?;
    let url = stage.url();
    let base = |args: &[&str]| obol(home, &[&["buy", "pay"], args].concat());
    let common = ["--key-file", "payer.key", "--max-amount", "1"];
    let with = |args: &[&str]| base(&[args, &common[..]].concat());
    for (command, code, says) in [
        (with(&["nonsense"]), 4, "\"nonsense\" is no http:// or https:// address"),
        (with(&["ftp://x/"]), 4, "is no http:// or https:// address"),
        (with(&["http://127.0.0.1:1/"]), 5, "nothing was paid"),
        (with(&[&url, "--header", "x"]), 4, "--header: \"x\" is not `name: value`"),
        (with(&[&url, "--header", "X-Payment: x"]), 4, "is written by obol itself"),
        (with(&[&url, "--data", "@nowhere"]), 4, "--data: nowhere cannot be read"),
        (with(&[&url, "--method", "G T"]), 4, "--method"),
        (with(&[&url, "--rpc", "nowhere=http://x"]), 4, "unknown chain"),
        (with(&[&url, "--purchases", "payer.key"]), 4, "--purchases"),
        (with(&[&url, "--wait", "18446744073709551615"]), 2, "--wait"),
        (base(&[&url, "--max-amount", "1"]), 2, "--wallet"),
        (
            base(&[&url, "--key-file", "nowhere", "--max-amount", "1"]),
            4,
            "--key-file: nowhere cannot be read",
        ),
        (base(&[&url, "--key-file", "bad.key", "--max-amount", "1"]), 4, "not 32 bytes in hex"),
        (base(&[&url, "--key-file", "payer.key", "--max-amount", "1e3"]), 4, "--max-amount: \"1e3\""),
        (base(&[&url, "--key-file", "payer.key"]), 2, "--max-amount"),
    ] {
        ran(command, code, says).await?;
    }
    assert_eq!((stage.open_payments()?.len(), stage.shop.payments().await?.len()), (0, 0));
    stage.shop.close().await
}
