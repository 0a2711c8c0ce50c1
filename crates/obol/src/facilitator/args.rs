use crate::{serving::ServingArgs, settling::SettlingArgs};
use clap::Args;
use std::path::PathBuf;

const USAGE: &str = "obol facilitator --ledger <FILE> --rpc <CHAIN=URL> --settler-key-file <FILE> [OPTIONS]";

const EXAMPLE: &str = "\
Example:
  obol facilitator --ledger obol.db --callers-file callers.txt \\
      --rpc base-sepolia=https://sepolia.example --settler-key-file settler.key

  A line of callers.txt is a name and a token, which the caller sends as
  Authorization: Bearer <token>:
    shop 3f6c0e7d1b9a4852a0c7e1d4f8b25639

  Servers of the published x402 packages are given its address as the facilitator's URL.";

/// Verifies and settles payments for servers of others: /verify, /settle, /supported.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE, override_usage = USAGE)]
pub(crate) struct FacilitatorArgs {
    #[command(flatten)]
    pub(super) settling: SettlingArgs,
    /// Where callers are answered.
    #[arg(long, env = "OBOL_LISTEN", default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    pub(super) listen: String,
    /// Where health is answered for operators: /healthz, /readyz.
    #[arg(long, env = "OBOL_ADMIN_LISTEN", default_value = "127.0.0.1:8091", value_name = "ADDRESS")]
    pub(super) admin_listen: String,
    /// File with a name and a token on each line, for each caller. Without it, whoever reaches the address may
    /// ask, which then has to be a loopback address.
    #[arg(long, env = "OBOL_CALLERS_FILE", value_name = "FILE")]
    pub(super) callers_file: Option<PathBuf>,
    /// Questions that one caller may ask in a second; above it they get 429.
    #[arg(long, env = "OBOL_MAX_RATE", default_value = "1000", value_name = "N")]
    pub(super) max_rate: String,
    /// File in which the resources that were sold are kept, for buyers to find at /discovery/resources; made
    /// when it is not there. Without it, none is listed.
    #[arg(long, env = "OBOL_DISCOVERY", value_name = "FILE")]
    pub(super) discovery: Option<PathBuf>,
    #[command(flatten)]
    pub(super) serving: ServingArgs,
    /// Show the settings in force, secrets hidden, and exit.
    #[arg(long)]
    pub(super) print_config: bool,
}
