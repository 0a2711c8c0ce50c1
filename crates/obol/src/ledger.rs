//! `obol ledger list|show|export|earnings|reconcile|verify`

mod audit;
mod list;
mod read;
mod view;

use crate::{chains_file::ChainsFileArgs, endpoint::EndpointArgs, exit::Failure, output::Output};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXAMPLE: &str = "\
Examples:
  obol ledger list --ledger obol.db
  obol ledger show --ledger obol.db 17
  obol ledger earnings --ledger obol.db
  obol ledger export --ledger obol.db --format csv > payments.csv
  obol ledger verify --ledger obol.db --rpc base-sepolia=https://sepolia.example";

/// What was sold, what was paid, and whether the chain agrees.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

/// Where the ledger is, and how assets are called.
#[derive(Args, Debug)]
struct Source {
    /// The ledger's file.
    #[arg(long, env = "OBOL_LEDGER", value_name = "FILE")]
    ledger: PathBuf,
    #[command(flatten)]
    known: ChainsFileArgs,
}

/// Rows of the ledger that are read at once.
const PAGE: u32 = 1_000;

#[derive(Args, Debug)]
struct Compared {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    asked: EndpointArgs,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// The newest payments, newest first.
    #[command(after_help = "Examples:\n  obol ledger list --ledger obol.db --limit 50\n  \
                            obol ledger list --ledger obol.db --state due --state submitted --offer default/hello")]
    List {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        wanted: list::Wanted,
        /// How many.
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u32,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// One payment's whole story.
    #[command(after_help = "Examples:\n  obol ledger show --ledger obol.db 17\n  \
                            obol ledger show --ledger obol.db 0x<transaction or nonce>")]
    Show {
        #[command(flatten)]
        source: Source,
        /// The payment's id, its nonce, or the transaction that settled it.
        #[arg(value_name = "ID|NONCE|TRANSACTION")]
        payment: String,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// What each offer has earned, exactly.
    #[command(after_help = "Example:\n  obol ledger earnings --ledger obol.db --output json")]
    Earnings {
        #[command(flatten)]
        source: Source,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// Every payment, to standard output, amounts in atomic units.
    #[command(after_help = "Example:\n  obol ledger export --ledger obol.db --format csv > payments.csv")]
    Export {
        #[command(flatten)]
        source: Source,
        #[arg(long, default_value = "csv", value_name = "FORMAT")]
        format: Format,
    },
    /// Writes down what the chain shows and the ledger missed, then verifies. What is owed is
    /// sent by the verifier, not by this command.
    #[command(
        after_help = "Example:\n  obol ledger reconcile --ledger obol.db --rpc base-sepolia=https://sepolia.example"
    )]
    Reconcile(Compared),
    /// Compares every payment with its chain's transfer events, so each chain that has payments
    /// needs an endpoint. Exits 3 on any difference.
    #[command(
        after_help = "Example:\n  obol ledger verify --ledger obol.db --rpc base-sepolia=https://sepolia.example"
    )]
    Verify(Compared),
}

pub(crate) use audit::{Comparison, Settled, agree};
pub(crate) use read::Stories;
#[cfg(test)]
pub(crate) use view::COLUMNS;
pub(crate) use view::{EarningView, PaymentView};

pub(crate) async fn run(args: LedgerArgs) -> Result<(), Failure> {
    match args.command {
        LedgerCommand::List { source, wanted, limit, output } => {
            list::list(&source, &wanted, limit, output).await
        }
        LedgerCommand::Show { source, payment, output } => read::show(&source, &payment, output).await,
        LedgerCommand::Earnings { source, output } => read::earnings(&source, output).await,
        LedgerCommand::Export { source, format } => read::export(&source, format).await,
        LedgerCommand::Reconcile(compared) => audit::reconcile(&compared).await,
        LedgerCommand::Verify(compared) => audit::verify(&compared).await,
    }
}
