//! What was typed, or set in the environment. It is text until all of it is read at once, in
//! [`super::settings`]: clap would stop at the first value that is wrong.

use crate::{
    serving::ServingArgs,
    settling::{FacilitatorsArgs, REQUIRED, SettlingArgs},
};
use clap::Args;
use std::path::PathBuf;

const USAGE: &str =
    "obol verifier --offers <DIR> --ledger <FILE> --rpc <CHAIN=URL> --settler-key-file <FILE> [OPTIONS]";

const EXAMPLE: &str = "\
Example:
  obol verifier --offers offers --ledger obol.db \\
      --rpc base-sepolia=https://sepolia.example --settler-key-file settler.key

  An offer is a file in the folder, such as:
    apiVersion: obol.org/v1alpha1
    kind: ServiceOffer
    metadata: {name: hello}
    spec:
      upstream: {url: http://127.0.0.1:9000}
      payment:
        network: base-sepolia
        payTo: \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"
        price: {perRequest: \"0.01\"}
  It is sold at /services/hello. Changes take effect without a restart.";

/// The seller's gate: a reverse proxy that charges for each request.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE, override_usage = USAGE)]
pub(crate) struct VerifierArgs {
    /// Folder of ServiceOffer files (*.yaml), watched.
    #[arg(long, env = "OBOL_OFFERS", value_name = "DIR", help_heading = REQUIRED)]
    pub(super) offers: Option<PathBuf>,
    /// File of static routes (pricing.yaml), watched, and sold beside the folder's offers.
    #[arg(long, env = "OBOL_PRICING", value_name = "FILE")]
    pub(super) pricing: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settling: SettlingArgs,
    #[command(flatten)]
    pub(super) facilitators: FacilitatorsArgs,
    /// Where buyers are served.
    #[arg(long, env = "OBOL_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(super) listen: String,
    /// Where operators are answered: /healthz, /readyz, /status, and /metrics for Prometheus.
    #[arg(long, env = "OBOL_ADMIN_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub(super) admin_listen: String,
    /// Address or network of a proxy whose X-Forwarded-* headers count; repeat for several.
    #[arg(long, env = "OBOL_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ' ')]
    pub(super) trusted_proxy: Vec<String>,
    /// On /verify, let verified payments pass without settling them: they are waived and never
    /// charged. For proxies whose service is to be tried without money.
    #[arg(long, env = "OBOL_VERIFY_ONLY")]
    pub(super) verify_only: bool,
    /// On /verify, tell the proxy the offer's upstream credential in Authorization, for it to pass
    /// on. Keep clients away from /verify then: whoever pays there reads it.
    #[arg(long, env = "OBOL_FORWARD_CREDENTIALS")]
    pub(super) forward_credentials: bool,
    /// Seconds between two comparisons of ledger and chain, which only look; 0 for none.
    #[arg(long, env = "OBOL_RECONCILE_EVERY", default_value = "21600", value_name = "SECONDS")]
    pub(super) reconcile_every: String,
    #[command(flatten)]
    pub(super) serving: ServingArgs,
    /// Show the settings in force, secrets hidden, and exit.
    #[arg(long)]
    pub(super) print_config: bool,
}
