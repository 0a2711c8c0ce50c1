use crate::home::{ADDRESS, Home, KEY, said};
use alloy_primitives::U256;
use anyhow::{Context, Result, ensure};
use obol_devchain::{Devchain, Options, USDC};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_exact_and_a_chain_that_is_silent_hides_no_other() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let home = Home::new()?;
    let key = home.file("key", KEY)?;
    home.done(&format!("import shop --key-file {key}"))?;
    let account = ADDRESS.parse()?;
    chain.set_balance(account, U256::from(1_000_000_000_000_000_001_u64)).await?;
    let rpc = format!("--rpc base-sepolia={}", chain.url());
    let shown = home.json(&format!("balance shop {rpc}"))?;
    assert_eq!(shown["address"], ADDRESS);
    let of = |shown: &Value, symbol: &str| {
        let mut rows = shown["balances"].as_array().into_iter().flatten();
        rows.find(|row| row["asset_symbol"] == symbol).cloned().context("no such row")
    };
    let coin = of(&shown, "coin")?;
    assert_eq!((&coin["amount"], &coin["decimals"]), (&"1000000000000000001".into(), &18.into()));
    assert_eq!((&coin["balance"], &coin["asset"]), (&"1.000000000000000001".into(), &Value::Null));
    assert_eq!(of(&shown, "USDC")?["amount"], "0");
    let absent = of(&shown, "OBOL")?;
    ensure!(
        absent["amount"].is_null() && absent["error"].as_str().is_some_and(|why| why.starts_with("absent"))
    );
    let buyer = chain.buyers()[0].address.to_checksum(None);
    let usdc = of(&home.json(&format!("balance {buyer} {rpc}"))?, "USDC")?;
    assert_eq!((&usdc["amount"], &usdc["balance"]), (&"1000000000".into(), &"1000".into()));
    assert_eq!(usdc["asset"], USDC.to_checksum(None));
    let output = home.obol(&format!("balance {buyer} {rpc} --rpc base=http://127.0.0.1:1")).output()?;
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(5), "{table}");
    ensure!(said(&output).contains("--rpc: base did not say"), "{}", said(&output));
    let rows = table.lines().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>());
    let rows: Vec<_> = rows.collect();
    ensure!(rows.contains(&vec!["base-sepolia", "USDC", "1000"]), "{table}");
    ensure!(rows.contains(&vec!["base", "USDC", "http://127.0.0.1:1"]), "{table}");
    let output = home.obol(&format!("balance {buyer} --rpc base={}", chain.url())).output()?;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    ensure!(String::from_utf8_lossy(&output.stdout).contains("serves eip155:84532, not eip155:8453"));
    Ok(())
}
