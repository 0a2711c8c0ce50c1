//! The command line.

use crate::{
    buy::BuyArgs,
    chains::ChainsArgs,
    demo::DemoArgs,
    exit,
    facilitator::FacilitatorArgs,
    faults::Faults,
    ledger::LedgerArgs,
    logging::Logging,
    schema::SchemaArgs,
    sell::SellArgs,
    shell::{CompletionsArgs, ManArgs},
    verifier::VerifierArgs,
    wallet::WalletArgs,
};
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  obol demo                                     see it all on a throw-away chain
  obol verifier --offers offers --ledger obol.db \\
      --rpc base-sepolia=https://sepolia.example --settler-key-file settler.key
  obol ledger list --ledger obol.db";

fn after_help() -> String {
    let codes: Vec<_> = exit::published().iter().map(|(code, word, _)| format!("{code} {word}")).collect();
    format!("{EXAMPLES}\n\nExit codes: {}.", codes.join(", "))
}

const LOGGING: &str = "Logging";

/// Sell HTTP services per request for stablecoins (x402), and account for every cent.
#[derive(Debug, Parser)]
#[command(version, after_help = after_help(), propagate_version = true)]
pub(crate) struct Cli {
    /// What to log: a level (error, warn, info, debug) or tracing directives; info if not given,
    /// and for the demo, which tells its own story, warn.
    #[arg(long, global = true, env = "OBOL_LOG", value_name = "FILTER", help_heading = LOGGING)]
    pub(crate) log: Option<String>,
    /// How to log, on standard error: text or json.
    #[arg(long, global = true, env = "OBOL_LOG_FORMAT", default_value = "text", value_name = "FORMAT",
          help_heading = LOGGING)]
    pub(crate) log_format: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The seller's gate: a reverse proxy that charges for each request.
    Verifier(Box<VerifierArgs>),
    /// Verifies and settles payments for servers of others.
    Facilitator(Box<FacilitatorArgs>),
    /// Writes and looks after the offers of a folder that a verifier sells.
    Sell(SellArgs),
    /// Asks what a request costs, and pays for it.
    Buy(BuyArgs),
    /// Everything on a throw-away local chain: sell, pay, settle, reconcile.
    Demo(DemoArgs),
    /// What was sold, what was paid, and whether the chain agrees.
    Ledger(LedgerArgs),
    /// Known chains and assets, and whether an endpoint agrees with them.
    Chains(ChainsArgs),
    /// Prints what completes obol's command line in a shell.
    Completions(CompletionsArgs),
    /// Writes obol's manual pages.
    Man(ManArgs),
    /// Prints the JSON Schema of what a command prints with --output json.
    Schema(SchemaArgs),
    /// Keys on disk, encrypted under a password, and what their accounts hold.
    Wallet(Box<WalletArgs>),
}

impl Cli {
    pub(crate) fn logging(&self, faults: &mut Faults) -> Logging {
        let default = if matches!(self.command, Command::Demo(_)) { "warn" } else { "info" };
        Logging::read(self.log.as_deref(), default, &self.log_format, faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Help is printed where anybody may look over the shoulder, and pasted into reports.
    #[test]
    fn no_help_shows_the_endpoints_of_the_environment() {
        fn visit(command: &clap::Command) {
            for argument in command.get_arguments().filter(|argument| argument.get_id() == "rpc") {
                assert!(argument.is_hide_env_values_set(), "{}", command.get_name());
            }
            command.get_subcommands().for_each(visit);
        }
        visit(&Cli::command());
    }

    #[test]
    fn every_command_shows_an_example() {
        fn visit(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{path} --help has no example");
            command.get_subcommands().for_each(|sub| visit(sub, &path));
        }
        visit(&Cli::command(), "");
    }
}
