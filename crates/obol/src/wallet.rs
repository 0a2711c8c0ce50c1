//! `obol wallet new|import|address|list|balance`

mod add;
mod balance;
mod find;
mod view;

pub(crate) use balance::BalancesView;
pub(crate) use view::{AddressView, WalletView};

use crate::{
    chains_file::ChainsFileArgs,
    endpoint::EndpointArgs,
    exit::Failure,
    output::Output,
    password::{PasswordSource, Prompt},
};
use clap::{Args, Subcommand};
use obol_evm::Key;
use obol_keystore::{Folder, Name, Password};
use std::{env, path::PathBuf};

const EXAMPLE: &str = "\
Examples:
  obol wallet new shop
  obol wallet import old --key-file old.key
  obol wallet list
  obol wallet balance shop --rpc base-sepolia=https://sepolia.example";

/// Keys on disk, encrypted under a password, and what their accounts hold.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct WalletArgs {
    #[command(subcommand)]
    command: WalletCommand,
}

#[derive(Args, Debug)]
pub(crate) struct FolderArgs {
    /// Folder of keystore files; ~/.obol/wallets if not given.
    #[arg(long, env = "OBOL_WALLETS", value_name = "DIR")]
    wallets: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct PasswordArgs {
    /// File with the wallet's password; else OBOL_WALLET_PASSWORD, else it is asked for.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct New {
    /// What to call it.
    name: Name,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    password: PasswordArgs,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

#[derive(Args, Debug)]
struct Import {
    #[command(flatten)]
    new: New,
    #[command(flatten)]
    from: Source,
    /// File with that keystore's password; else OBOL_KEYSTORE_PASSWORD, else it is asked for.
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    keystore_password_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Source {
    /// File with the private key as 64 hex digits; - for standard input.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Keystore file of another program.
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Shown {
    /// A wallet of the folder, or a keystore file.
    #[arg(value_name = "NAME|FILE")]
    wallet: String,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    password: PasswordArgs,
    /// Decrypt the key, and see that the address is its own.
    #[arg(long)]
    check: bool,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

#[derive(Args, Debug)]
struct Balance {
    /// A wallet of the folder, or any account's address.
    #[arg(value_name = "NAME|ADDRESS")]
    wallet: String,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    asked: EndpointArgs,
    #[command(flatten)]
    known: ChainsFileArgs,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum WalletCommand {
    /// Makes a key, and stores it under a password. Whoever loses the file or the password loses
    /// what the key holds.
    #[command(after_help = "Example:\n  obol wallet new shop --password-file shop.password")]
    New(New),
    /// Stores a key that is there already under a password.
    #[command(after_help = "Examples:\n  obol wallet import old --key-file old.key\n  \
                            obol wallet import old --keystore ~/.foundry/keystores/old")]
    Import(Import),
    /// The account of a wallet. It is what the file says, which needs no password; with --check, or
    /// where the file says nothing, what the key says.
    #[command(
        after_help = "Examples:\n  obol wallet address shop\n  obol wallet address ./UTC--2026-11-24T14-46-59Z--f39f --check"
    )]
    Address(Shown),
    /// The keystores of the folder, those of other programs too. Exits 4 when one cannot be read,
    /// after listing the rest.
    #[command(after_help = "Example:\n  obol wallet list --output json")]
    List {
        #[command(flatten)]
        folder: FolderArgs,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// What an account holds on each chain of --rpc: the chain's coin, and each known asset. Exits
    /// 5 when an endpoint does not answer, after showing the rest.
    #[command(after_help = "Example:\n  obol wallet balance shop --rpc base-sepolia=https://sepolia.example")]
    Balance(Balance),
}

impl FolderArgs {
    fn folder(&self) -> Result<Folder, Failure> {
        let home = || env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        self.wallets
            .clone()
            .or_else(|| home().map(|home| home.join(".obol/wallets")))
            .map(Folder::new)
            .ok_or_else(|| {
                Failure::config("--wallets: HOME is not set to say where wallets are; name their folder")
            })
    }
}

impl PasswordArgs {
    fn read(&self, what: &str, prompt: Prompt) -> Result<Password, Failure> {
        let source = PasswordSource {
            what,
            flag: "--password-file",
            file: self.password_file.as_deref(),
            variable: "OBOL_WALLET_PASSWORD",
        };
        source.read(prompt)
    }
}

/// The key of a wallet of the folder, or of a keystore file.
pub(crate) fn key(word: &str, folder: &FolderArgs, password: &PasswordArgs) -> Result<Key, Failure> {
    Ok(find::find(word, folder)?.open(password)?.key().clone())
}

pub(crate) async fn run(args: WalletArgs) -> Result<(), Failure> {
    match args.command {
        WalletCommand::New(new) => add::new(&new),
        WalletCommand::Import(import) => add::import(&import),
        WalletCommand::Address(shown) => view::address(&shown),
        WalletCommand::List { folder, output } => view::list(&folder.folder()?, output),
        WalletCommand::Balance(balance) => balance::balance(&balance).await,
    }
}
