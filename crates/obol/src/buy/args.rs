use crate::{
    chains_file::ChainsFileArgs,
    output::Output,
    wallet::{FolderArgs, PasswordArgs},
};
use clap::{Args, Subcommand};
use std::path::PathBuf;

const EXAMPLE: &str = "\
Examples:
  obol buy probe http://127.0.0.1:8080/services/hello/
  obol buy pay http://127.0.0.1:8080/services/hello/ --max-amount 0.01 --wallet payer";

/// Asks what a request costs, and pays for it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct BuyArgs {
    #[command(subcommand)]
    pub(super) command: BuyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum BuyCommand {
    /// What a request costs, and how it can be paid. Nothing is signed.
    #[command(after_help = "Example:\n  obol buy probe http://127.0.0.1:8080/services/hello/ --output json")]
    Probe(ProbeArgs),
    /// Pays for one request and prints the answer. A run that was interrupted after it had paid is
    /// gone on with by the next run of the same command: it sends the same payment again.
    #[command(after_help = PAY)]
    Pay(Box<PayArgs>),
}

const PAY: &str = "\
Examples:
  obol buy pay http://127.0.0.1:8080/services/hello/ --max-amount 0.01 --wallet payer
  obol buy pay https://models.example/v1/chat/completions --max-amount 0.05 --wallet payer \\
      --header 'content-type: application/json' --data @question.json --output json
  obol buy pay https://api.example/x --max-amount 0.01 --wallet payer --dry-run";

/// The request that is meant.
#[derive(Args, Debug)]
pub(super) struct RequestArgs {
    /// What to ask for: http:// or https://.
    #[arg(value_name = "URL")]
    pub(super) url: String,
    /// The method; GET, or POST with --data.
    #[arg(long, short = 'X', value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// The body: a text, @FILE, or @- for standard input.
    #[arg(long, short = 'd', value_name = "DATA")]
    pub(super) data: Option<String>,
    /// A header of the request, as `name: value`; repeat for several.
    #[arg(long, short = 'H', value_name = "HEADER")]
    pub(super) header: Vec<String>,
    /// Seconds to wait for an answer, and for each further piece of it.
    #[arg(long, default_value = "120", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) timeout: u64,
}

#[derive(Args, Debug)]
pub(super) struct ProbeArgs {
    #[command(flatten)]
    pub(super) request: RequestArgs,
    #[command(flatten)]
    pub(super) known: ChainsFileArgs,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub(super) output: Output,
}

/// Whose money it is.
#[derive(Args, Debug)]
pub(super) struct PayerArgs {
    #[command(flatten)]
    pub(super) key: KeyArgs,
    #[command(flatten)]
    pub(super) wallets: FolderArgs,
    #[command(flatten)]
    pub(super) password: PasswordArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct KeyArgs {
    /// The payer's wallet: one of the folder, or a keystore file.
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) wallet: Option<String>,
    /// File with the payer's private key, as 64 hex digits.
    #[arg(long, env = "OBOL_PAYER_KEY_FILE", value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct PayArgs {
    #[command(flatten)]
    pub(super) request: RequestArgs,
    /// The most that the request may cost, in whole units of the asset, such as 0.01. Nothing above
    /// it is ever signed.
    #[arg(long, value_name = "AMOUNT")]
    pub(super) max_amount: String,
    #[command(flatten)]
    pub(super) payer: PayerArgs,
    /// Folder that keeps what was signed, until it is known what became of it.
    #[arg(long, env = "OBOL_PURCHASES", value_name = "DIR")]
    pub(super) purchases: Option<PathBuf>,
    /// A chain's JSON-RPC endpoint, once per chain: to find out what became of an earlier payment that
    /// the seller does not serve.
    #[arg(long, env = "OBOL_RPC", hide_env_values = true, value_name = "CHAIN=URL", value_delimiter = ' ')]
    pub(super) rpc: Vec<String>,
    /// Seconds to wait for a settlement that takes long.
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(super) wait: u64,
    /// Pays anew although an earlier payment for the same request may still be taken: both may be.
    #[arg(long)]
    pub(super) again: bool,
    /// Says what would be paid, and signs nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) known: ChainsFileArgs,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub(super) output: Output,
}
