//! `obol sell pricing`: what it shows of the file, and the two fields that it writes.

use crate::{Desk, PAY_TO};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::fs;

const FILE: [&str; 3] = ["pricing", "--pricing", "pricing.yaml"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    FILE.iter().chain(more).copied().collect()
}

#[test]
fn a_file_is_made_with_a_wallet_and_a_chain_and_changed_line_by_line() -> Result<()> {
    let desk = Desk::new()?;
    let file = desk.path().join("pricing.yaml");
    desk.refused(&FILE, "pricing.yaml cannot be read")?;
    let said = desk.done(&with(&["--wallet", PAY_TO, "--chain", "base-sepolia"]))?;
    ensure!(
        said.contains(&format!("wallet  {PAY_TO}")) && said.ends_with("pricing.yaml is written.\n"),
        "{said}"
    );
    let made = fs::read_to_string(&file)?;
    ensure!(
        made.ends_with(&format!("wallet: \"{PAY_TO}\"\nchain: \"base-sepolia\"\nroutes: []\n")),
        "{made}"
    );

    let other = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
    let hand = format!(
        "# mine\nroutes: # all of them\n  - pattern: /a/*\n    price: 0.01 # cheap\n\nchain: base # for now\nwallet: '{PAY_TO}'\n"
    );
    fs::write(&file, &hand)?;
    desk.done(&with(&["--wallet", other]))?;
    assert_eq!(fs::read_to_string(&file)?, hand.replace(&format!("'{PAY_TO}'"), &format!("\"{other}\"")));
    fs::write(&file, &hand)?;
    desk.done(&with(&["--chain", "polygon"]))?;
    assert_eq!(fs::read_to_string(&file)?, hand.replace("chain: base #", "chain: \"polygon\" #"));
    let bare = "# mine\n\nroutes:\n  - {pattern: /a, price: 1, payTo: \"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC\"}\n";
    fs::write(&file, bare)?;
    desk.done(&with(&["--chain", "base"]))?;
    assert_eq!(fs::read_to_string(&file)?, bare.replace("\nroutes", "\nchain: \"base\"\nroutes"));
    Ok(())
}

#[test]
fn a_link_stays_one_and_what_it_leads_to_is_changed() -> Result<()> {
    let desk = Desk::new()?;
    fs::create_dir(desk.path().join("config"))?;
    fs::write(desk.path().join("config/real.yaml"), "chain: base\nroutes: []\n")?;
    std::os::unix::fs::symlink("config/real.yaml", desk.path().join("pricing.yaml"))?;
    desk.done(&with(&["--chain", "polygon"]))?;
    assert_eq!(fs::read_link(desk.path().join("pricing.yaml"))?, std::path::Path::new("config/real.yaml"));
    let changed = fs::read_to_string(desk.path().join("config/real.yaml"))?;
    assert_eq!(changed, "chain: \"polygon\"\nroutes: []\n");
    Ok(())
}

#[test]
fn what_would_be_wrong_is_not_written() -> Result<()> {
    let desk = Desk::new()?;
    let file = desk.path().join("pricing.yaml");
    let wrong = PAY_TO.replace("dc79C8", "dc79c8");
    for (args, says) in [
        (["--wallet", "0x22"], "--wallet: pricing.yaml:2: wallet: \"0x22\" is not an address"),
        (["--wallet", &wrong], "wrong checksum"),
        (["--wallet", "0x0000000000000000000000000000000000000000"], "the zero address"),
        (["--chain", "bse"], "--chain: pricing.yaml:2: chain: unknown chain \"bse\"; did you mean base?"),
    ] {
        desk.refused(&with(&args), says)?;
        ensure!(!file.exists(), "{args:?}");
    }
    // The asset of a route is on one chain only, and one wallet is a route's token.
    let text = format!(
        "wallet: \"{PAY_TO}\"\nchain: base\nroutes:\n  - {{pattern: /a, price: 1, assetAddress: \
         \"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913\"}}\n"
    );
    for (text, args, says) in [
        (text.as_str(), ["--chain", "polygon"], "routes[0].assetAddress"),
        (&text, ["--wallet", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"], "is the asset's own address"),
        ("wallet: [\n", ["--chain", "polygon"], "not valid YAML"),
        ("{wallet: '', routes: []}\n", ["--chain", "polygon"], "write chain: \"polygon\" at line 1 yourself"),
    ] {
        fs::write(&file, text)?;
        desk.refused(&with(&args), says)?;
        assert_eq!(fs::read_to_string(&file)?, text);
    }
    Ok(())
}

#[test]
fn the_file_is_shown_with_what_is_in_force_and_what_is_wrong() -> Result<()> {
    let desk = Desk::new()?;
    let text = format!(
        "wallet: \"{PAY_TO}\"\nchain: base-sepolia\nverifyOnly: true\nroutes:\n  - {{pattern: /a/*, price: 0.01, \
         upstreamAuth: Bearer hush, upstreamURL: 'http://127.0.0.1:9'}}\n  - {{pattern: /b, price: free}}\n  - {{pattern: \
         /A/*, price: 1}}\n"
    );
    fs::write(desk.path().join("pricing.yaml"), text)?;
    let table = desk.finds(2, &FILE)?;
    for shown in [
        &format!("wallet  {PAY_TO}\nchain   base-sepolia\n"),
        &format!("/a/*     0.01 USDC on base-sepolia  {PAY_TO}  http://127.0.0.1:9"),
        "\nNot sold as written:\n  pricing.yaml:6: routes[1].price: ",
        "is sold at /A already",
        "\nRead and not used:\n  pricing.yaml:3: verifyOnly: ",
    ] {
        ensure!(table.contains(shown), "{shown}: {table}");
    }
    let json: Value = serde_json::from_str(&desk.finds(2, &with(&["--output", "json"]))?)?;
    assert_eq!((&json["wallet"], &json["chain_name"]), (&PAY_TO.into(), &"base-sepolia".into()));
    assert_eq!(json["routes"][0]["accepts"][0]["pay_to"], PAY_TO);
    assert_eq!(
        (json["routes"].as_array().map(Vec::len), json["faults"].as_array().map(Vec::len)),
        (Some(2), Some(2))
    );
    ensure!(!table.contains("hush") && !json.to_string().contains("hush"));
    Ok(())
}
