//! Other programs read our files, and we read theirs.

use crate::home::{ADDRESS, Home, KEY, PASSWORD};
use anyhow::{Result, ensure};
use obol_tests::{Cast, PythonClient};

#[tokio::test]
async fn cast_reads_what_we_write_and_we_read_what_cast_writes() -> Result<()> {
    let Some(cast) = Cast::fetched().await? else { return Ok(()) };
    let home = Home::new()?;
    let key = home.file("key", KEY)?;
    home.done(&format!("import ours --key-file {key}"))?;
    let folder = home.wallets();
    let said = cast.open((&folder, "ours.json"), PASSWORD).await?;
    ensure!(said.contains(KEY), "{said}");
    ensure!(cast.open((&folder, "ours.json"), "another").await.is_err());
    cast.seal((&folder, "theirs"), KEY, PASSWORD).await?;
    assert_eq!(home.done("address theirs")?, format!("{ADDRESS}\n"));
    Ok(())
}

#[tokio::test]
async fn eth_account_reads_what_we_write_and_we_read_what_it_writes() -> Result<()> {
    let Some(python) = PythonClient::fetched().await? else { return Ok(()) };
    let home = Home::new()?;
    let key = home.file("key", KEY)?;
    home.done(&format!("import ours --key-file {key}"))?;
    let file = |name: &str| home.wallets().join(name).to_string_lossy().into_owned();
    assert_eq!(python.keystore(&["open", &file("ours.json"), PASSWORD]).await?.trim_end(), KEY);
    ensure!(python.keystore(&["open", &file("ours.json"), "another"]).await.is_err());
    for (kdf, cost) in [("scrypt", "8192"), ("pbkdf2", "100000")] {
        python.keystore(&["seal", &file(kdf), KEY, PASSWORD, kdf, cost]).await?;
        assert_eq!(home.done(&format!("address {kdf} --check"))?, format!("{ADDRESS}\n"), "{kdf}");
    }
    Ok(())
}
