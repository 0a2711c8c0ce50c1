//! `obol sell probe`, of a verifier that sells what is written, something else, or nothing.

use crate::{stand::Stand, static_routes::hello};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::{fs, process::Output};
use tokio::process::Command;

async fn probe(stand: &Stand, offers: &str, more: &[&str]) -> Result<Output> {
    let url = format!("http://{}", stand.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_obol"));
    command.args(["sell", "probe", "hello", "--offers", offers, "--url", &url]).args(more);
    Ok(command.current_dir(stand.desk.path()).env("NO_PROXY", "*").output().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_sells_what_is_written_agrees_and_each_difference_is_a_line() -> Result<()> {
    let stand = Stand::open(&[], hello).await?;
    let agrees = probe(&stand, "offers", &[]).await?;
    let said = String::from_utf8_lossy(&agrees.stdout);
    ensure!(agrees.status.success() && said.ends_with("/services/hello as it is written.\n"), "{agrees:?}");
    let json = probe(&stand, "offers", &["--output", "json"]).await?;
    let json: Value = serde_json::from_slice(&json.stdout)?;
    assert_eq!((&json["agrees"], &json["status"]), (&true.into(), &402.into()));
    // Nothing was paid or forwarded for it.
    assert_eq!(stand.upstream.count(), 0);

    // What is written elsewhere is not what runs.
    let written = fs::read_to_string(stand.desk.path().join("offers/hello.yaml"))?;
    fs::create_dir(stand.desk.path().join("other"))?;
    let other = written
        .replace("0.05", "0.06")
        .replace(&stand.chain.seller().address.to_string(), "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed");
    fs::write(stand.desk.path().join("other/hello.yaml"), &other)?;
    let differs = probe(&stand, "other", &[]).await?;
    assert_eq!(differs.status.code(), Some(3), "{differs:?}");
    let lines = String::from_utf8(differs.stdout)?;
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(
        lines,
        [
            "amount on eip155:84532: 0.06 USDC is written, 0.05 USDC is asked for".to_owned(),
            format!(
                "payee on eip155:84532: 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed is written, {} is asked for",
                stand.chain.seller().address
            ),
        ]
    );
    fs::write(stand.desk.path().join("other/hello.yaml"), other.replace("base-sepolia", "polygon"))?;
    let differs = probe(&stand, "other", &["--output", "json"]).await?;
    assert_eq!(differs.status.code(), Some(3), "{differs:?}");
    let json: Value = serde_json::from_slice(&differs.stdout)?;
    assert_eq!(json["agrees"], false);
    assert_eq!(json["differences"].as_array().map(Vec::len), Some(2), "{json}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sold_or_not_there_is_told_apart() -> Result<()> {
    let stand = Stand::open(&[], hello).await?;
    stand.desk.done(&["pause", "hello"])?;
    stand.until_asked("/services/hello", |answered| answered.status == 503).await?;
    let paused = probe(&stand, "offers", &[]).await?;
    let said = String::from_utf8_lossy(&paused.stdout);
    ensure!(said == "it is not sold: the answer is 503 (offer_paused)\n", "{said}");
    assert_eq!(paused.status.code(), Some(3));
    // A port that nobody listens at any more.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    stand.desk.done(&["resume", "hello"])?;
    let output = Command::new(env!("CARGO_BIN_EXE_obol"))
        .args(["sell", "probe", "hello", "--offers", "offers", "--url", &format!("http://{free}")])
        .current_dir(stand.desk.path())
        .env("NO_PROXY", "*")
        .output()
        .await?;
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    Ok(())
}
