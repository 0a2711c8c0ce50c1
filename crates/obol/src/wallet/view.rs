//! The commands that only show, and how a wallet is shown.

use super::{Shown, find};
use crate::{
    exit::Failure,
    output::{self, Output, Table},
    written::Account,
};
use alloy_primitives::Address;
use obol_keystore::{Entry, Folder, Name};
use schemars::JsonSchema;
use serde::Serialize;
use std::{io, path::Path};

/// One keystore.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WalletView<'a> {
    /// The wallet's name: its file's, without the ending.
    name: &'a str,
    /// Its account; null where the file does not say it, or is no keystore.
    address: Option<Account>,
    /// Path of its file.
    file: String,
    /// Why the file cannot be used; null when it can.
    error: Option<String>,
}

/// The account of a wallet.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AddressView {
    /// The account.
    address: Account,
    /// Path of the wallet's file.
    file: String,
    /// Whether the wallet was decrypted: otherwise it is what the file claims.
    checked: bool,
}

impl WalletView<'_> {
    fn in_words(&self) -> [String; 3] {
        let address = match (&self.address, &self.error) {
            (Some(address), _) => address.to_string(),
            (None, None) => "(not said)".to_owned(),
            (None, Some(_)) => "(not readable)".to_owned(),
        };
        [self.name.to_owned(), address, self.file.clone()]
    }
}

fn table<'a>(views: impl IntoIterator<Item = &'a WalletView<'a>>) -> Table {
    let mut table = Table::new(["NAME", "ADDRESS", "FILE"]);
    views.into_iter().for_each(|view| table.row(view.in_words()));
    table
}

/// What was just stored.
pub(super) fn stored(name: &Name, address: Address, path: &Path, output: Output) {
    let name = name.to_string();
    let address = Some(address.into());
    let view = WalletView { name: &name, address, file: path.display().to_string(), error: None };
    match output {
        Output::Table => output::print(&table([&view]).render()),
        Output::Json => output::print_json(&view),
    }
}

pub(super) fn list(folder: &Folder, output: Output) -> Result<(), Failure> {
    let shown = folder.path().display();
    let entries = match folder.list() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("There is no folder {shown}: `obol wallet new <NAME>` makes it.");
            Vec::new()
        }
        Err(error) => return Err(Failure::config(format!("--wallets: {shown} cannot be listed: {error}"))),
    };
    let views: Vec<_> = entries.iter().map(listed).collect();
    match output {
        Output::Table => output::print(&table(&views).render()),
        Output::Json => output::print_json(&views),
    }
    let faults: Vec<_> = views
        .iter()
        .filter_map(|view| view.error.as_ref().map(|error| format!("{}: {error}", view.file)))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Failure::settings(faults)) }
}

fn listed(entry: &Entry) -> WalletView<'_> {
    let (address, error) = match &entry.sealed {
        Ok(sealed) => (sealed.claimed_address().map(Account::from), None),
        Err(error) => (None, Some(error.to_string())),
    };
    WalletView { name: &entry.name, address, file: entry.path.display().to_string(), error }
}

pub(super) fn address(args: &Shown) -> Result<(), Failure> {
    let found = find::find(&args.wallet, &args.folder)?;
    let decrypted = args.check || found.sealed.claimed_address().is_none();
    let address = match decrypted {
        true => found.open(&args.password)?.address(),
        false => found.address(&args.password)?,
    };
    let address = Account::from(address);
    match args.output {
        Output::Table => output::print(&format!("{address}\n")),
        Output::Json => output::print_json(&AddressView {
            address,
            file: found.path.display().to_string(),
            checked: decrypted,
        }),
    }
    Ok(())
}
