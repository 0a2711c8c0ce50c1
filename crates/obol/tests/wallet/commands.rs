use crate::home::{ADDRESS, Home, KEY, PASSWORD, mode, refused, said};
use anyhow::{Context, Result, ensure};
use std::{fs, io::Write, process::Stdio};

#[test]
fn a_new_wallet_is_its_owners_alone_and_says_whose_it_is() -> Result<()> {
    let home = Home::new()?;
    let made = home.json("new shop")?;
    let file = home.wallets().join("shop.json");
    assert_eq!((&made["name"], &made["file"]), (&"shop".into(), &file.to_str().into()));
    assert_eq!((mode(&file)?, mode(&home.wallets())?), (0o600, 0o700));
    let address = made["address"].as_str().context("an address")?;
    assert_eq!(home.done("address shop")?, format!("{address}\n"));
    assert_eq!(home.done("address shop --check")?, format!("{address}\n"));
    assert_eq!(home.json("address shop")?["checked"], false);
    assert_eq!(home.json("address shop --check")?["checked"], true);
    let other = home.json("new other")?;
    assert_ne!(other["address"], made["address"]);
    Ok(())
}

#[test]
fn a_key_from_a_file_or_a_pipe_has_the_address_that_anvil_gives_it() -> Result<()> {
    let home = Home::new()?;
    let file = home.file("key", &format!("{KEY}\n"))?;
    assert_eq!(home.json(&format!("import one --key-file {file}"))?["address"], ADDRESS);
    let mut import = home.obol("import two --key-file -");
    let mut import =
        import.env("OBOL_WALLET_PASSWORD", PASSWORD).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    import.stdin.take().context("a pipe")?.write_all(KEY.trim_start_matches("0x").as_bytes())?;
    let output = import.wait_with_output()?;
    let table = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && table.contains(ADDRESS), "{table}");
    assert_eq!(home.done("address two --check")?, format!("{ADDRESS}\n"));
    Ok(())
}

#[test]
fn another_keystore_is_encrypted_again_under_the_new_password() -> Result<()> {
    let home = Home::new()?;
    let cast = include_str!("../../../keystore/testdata/cast.json");
    let (cast, old) = (home.file("cast", cast)?, home.file("old", "testpassword\n")?);
    let imported = home.json(&format!("import mine --keystore {cast} --keystore-password-file {old}"))?;
    assert_eq!(imported["address"], ADDRESS);
    assert_eq!(home.done("address mine --check")?, format!("{ADDRESS}\n"));
    let said = refused(&mut home.obol(&format!("address mine --check --password-file {old}")), 4)?;
    ensure!(said.contains("the password is not the one"), "{said}");
    // The file says nothing, so the key is asked.
    assert_eq!(home.done(&format!("address {cast} --password-file {old}"))?, format!("{ADDRESS}\n"));
    Ok(())
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_of_what_was_refused() -> Result<()> {
    let home = Home::new()?;
    let key = home.file("key", KEY)?;
    home.done(&format!("import shop --key-file {key}"))?;
    let before = fs::read(home.wallets().join("shop.json"))?;
    for again in ["new shop", &format!("import shop --key-file {key}")] {
        let said = refused(&mut home.obol(again), 4)?;
        ensure!(said.contains("shop.json is there already"), "before a password is asked for: {said}");
    }
    assert_eq!(fs::read(home.wallets().join("shop.json"))?, before);
    assert_eq!(home.wallets().read_dir()?.count(), 1);
    Ok(())
}

#[test]
fn what_is_wrong_is_one_sentence_that_names_it() -> Result<()> {
    let home = Home::new()?;
    let (short, words) = (home.file("short", &KEY[..60])?, home.file("words", "my key")?);
    let zero = home.file("zero", &"0".repeat(64))?;
    let weak = include_str!("../../../keystore/testdata/cast.json").replace("8192", "1024");
    let weak = home.file("weak", &weak)?;
    for (words, expected) in [
        (format!("import a --key-file {short}"), &["--key-file", "short", "not 32 bytes in hex"][..]),
        (format!("import a --key-file {words}"), &["--key-file", "words", "64 hex digits"]),
        (format!("import a --key-file {zero}"), &["--key-file", "zero, or beyond"]),
        ("import a --key-file nowhere".to_owned(), &["--key-file", "nowhere", "cannot be read"]),
        (format!("import a --keystore {short}"), &["--keystore", "short", "it is not"]),
        (format!("import a --keystore {weak}"), &["--keystore", "weak", "guessed too cheaply"]),
        ("address nowhere".to_owned(), &["no wallet \"nowhere\"", ".obol/wallets", "obol wallet list"]),
        (format!("address {words}"), &["words", "it is not JSON"]),
        ("new a --password-file nowhere".to_owned(), &["--password-file", "nowhere", "cannot be read"]),
        ("balance 0x12 --rpc base=http://127.0.0.1:1".to_owned(), &["\"0x12\"", "EIP-55"]),
        ("balance nowhere --rpc base=http://127.0.0.1:1".to_owned(), &["no wallet \"nowhere\""]),
    ] {
        let said = home.refused(&words, 4)?;
        ensure!(expected.iter().all(|expected| said.contains(expected)), "{words}: {said}");
    }
    ensure!(!home.wallets().exists(), "a refused command makes no folder");
    Ok(())
}

#[test]
fn a_command_line_without_sense_is_refused_by_its_usage() -> Result<()> {
    let home = Home::new()?;
    for (words, expected) in [
        ("new ../up", "not a wallet's name"),
        ("new shop.json", "not a wallet's name"),
        ("import a", "--key-file"),
        ("import a --key-file x --keystore y", "cannot be used with"),
        ("import a --key-file x --keystore-password-file y", "cannot be used with"),
        ("balance a", "--rpc"),
    ] {
        let output = home.obol(words).output()?;
        ensure!(output.status.code() == Some(2) && said(&output).contains(expected), "{words}: {output:?}");
    }
    Ok(())
}

#[test]
fn every_keystore_is_listed_and_a_bad_file_is_told_on_itself() -> Result<()> {
    let home = Home::new()?;
    let empty = home.obol("list --output json").output()?;
    assert_eq!((empty.status.code(), empty.stdout.as_slice()), (Some(0), &b"[]\n"[..]));
    ensure!(said(&empty).contains("obol wallet new"), "{empty:?}");
    let key = home.file("key", KEY)?;
    home.done(&format!("import shop --key-file {key}"))?;
    let geth = "UTC--2026-11-24T14-46-59.000000000Z--f39fd6e51aad88f6f4ce6ab8827279cfffb92266";
    fs::copy(home.wallets().join("shop.json"), home.wallets().join(geth))?;
    let cast = include_str!("../../../keystore/testdata/cast.json");
    fs::write(home.wallets().join("cast"), cast)?;
    assert_eq!(home.json("list")?.as_array().map(Vec::len), Some(3));
    assert_eq!(home.done(&format!("address {geth}"))?, format!("{ADDRESS}\n"));
    fs::write(home.wallets().join("bad.json"), "{}")?;
    let output = home.obol("list").output()?;
    let table = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "ADDRESS", "FILE"]);
    assert_eq!(rows.iter().filter(|row| row.contains(&ADDRESS)).count(), 2, "{table}");
    ensure!(table.contains("(not said)") && table.contains("(not readable)"), "{table}");
    let said = refused(&mut home.obol("list"), 4)?;
    ensure!(said.contains("bad.json: version is missing"), "{said}");
    let output = home.obol("list --output json").output()?;
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let fields: Vec<_> = listed[0].as_object().context("an object")?.keys().collect();
    assert_eq!(fields, ["address", "error", "file", "name"]);
    let errors = listed.as_array().into_iter().flatten().filter(|entry| !entry["error"].is_null());
    assert_eq!(errors.map(|entry| &entry["name"]).collect::<Vec<_>>(), ["bad"]);
    Ok(())
}

#[test]
fn the_folder_is_the_flags_then_the_variables_then_that_of_the_home() -> Result<()> {
    let home = Home::new()?;
    let key = home.file("key", KEY)?;
    let import = format!("import a --key-file {key}");
    let with = |words: &str| {
        let mut command = home.obol(words);
        command.env("OBOL_WALLET_PASSWORD", PASSWORD).env("OBOL_WALLETS", home.path().join("two"));
        command
    };
    ensure!(with(&import).output()?.status.success() && home.path().join("two/a.json").is_file());
    ensure!(with(&format!("{import} --wallets three")).output()?.status.success());
    ensure!(home.path().join("three/a.json").is_file() && !home.wallets().exists());
    let said = refused(home.obol("list").env_remove("HOME"), 4)?;
    ensure!(said.contains("--wallets") && said.contains("HOME"), "{said}");
    Ok(())
}
