//! What was typed, or set in the environment. It is text until all of it is read at once, in
//! [`super::settings`]: clap would stop at the first value that is wrong.

use clap::Args;
use obol_facilitator::GasCeilings;
use obol_verifier::Limits;
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

/// Over the settings without which a verifier does not start.
pub(crate) const REQUIRED: &str = "Required";

/// The seller's gate: a reverse proxy that charges for each request.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE, override_usage = USAGE)]
pub(crate) struct VerifierArgs {
    /// Folder of ServiceOffer files (*.yaml), watched.
    #[arg(long, env = "OBOL_OFFERS", value_name = "DIR", help_heading = REQUIRED)]
    pub(super) offers: Option<PathBuf>,
    /// Where buyers are served.
    #[arg(long, env = "OBOL_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(super) listen: String,
    /// Where health is answered for operators: /healthz, /readyz, /status.
    #[arg(long, env = "OBOL_ADMIN_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub(super) admin_listen: String,
    /// The ledger's file; made when it is not there. Verifiers on this machine may share it.
    #[arg(long, env = "OBOL_LEDGER", value_name = "FILE", help_heading = REQUIRED)]
    pub(super) ledger: Option<PathBuf>,
    /// A chain's JSON-RPC endpoint, once per chain; in the environment separated by spaces.
    #[arg(long, env = "OBOL_RPC", hide_env_values = true, value_name = "CHAIN=URL", value_delimiter = ' ',
          help_heading = REQUIRED)]
    pub(super) rpc: Vec<String>,
    /// File with the private key of the account that pays gas for settlements: hex, or a keystore.
    #[arg(long, env = "OBOL_SETTLER_KEY_FILE", value_name = "FILE", help_heading = REQUIRED)]
    pub(super) settler_key_file: Option<PathBuf>,
    /// File with the password of that keystore; else OBOL_SETTLER_PASSWORD.
    #[arg(long, env = "OBOL_SETTLER_PASSWORD_FILE", value_name = "FILE")]
    pub(super) settler_password_file: Option<PathBuf>,
    /// File that adds chains and assets to the built-in ones.
    #[arg(long, env = "OBOL_CHAINS", value_name = "FILE")]
    pub(super) chains: Option<PathBuf>,
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
    /// An account that offers may pay to; repeat for several. Without it, any that an offer names.
    #[arg(long, env = "OBOL_ALLOW_PAYEE", value_name = "ADDRESS", value_delimiter = ' ')]
    pub(super) allow_payee: Vec<String>,
    /// A contract that may be called, at the settler's cost, to deploy a payer's wallet (ERC-6492);
    /// repeat for several. Without it, wallets that are not deployed cannot pay.
    #[arg(long, env = "OBOL_ALLOW_FACTORY", value_name = "ADDRESS", value_delimiter = ' ')]
    pub(super) allow_factory: Vec<String>,
    /// Seconds that a paid request waits for its settlement.
    #[arg(long, env = "OBOL_SETTLE_BUDGET", default_value = "30", value_name = "SECONDS")]
    pub(super) settle_budget: String,
    /// Seconds by which this machine's clock and the chain's may differ.
    #[arg(long, env = "OBOL_CLOCK_SKEW", default_value = "5", value_name = "SECONDS")]
    pub(super) clock_skew: String,
    /// Seconds after which a settlement that is in no block is sent again with higher fees.
    #[arg(long, env = "OBOL_REPLACE_AFTER", default_value = "30", value_name = "SECONDS")]
    pub(super) replace_after: String,
    /// The most that settling may pay per gas, in wei; above it payments are refused.
    #[arg(long, env = "OBOL_MAX_GAS_PRICE", default_value_t = GasCeilings::default().max_fee.to_string(),
          value_name = "WEI")]
    pub(super) max_gas_price: String,
    /// The most gas that one payment may take.
    #[arg(long, env = "OBOL_MAX_GAS", default_value_t = GasCeilings::default().per_payment.to_string(),
          value_name = "GAS")]
    pub(super) max_gas: String,
    /// The most gas for a payment whose payer is a contract; it is settled alone.
    #[arg(long, env = "OBOL_MAX_CONTRACT_GAS", value_name = "GAS",
          default_value_t = GasCeilings::default().per_contract_payment.to_string())]
    pub(super) max_contract_gas: String,
    /// The most gas for a payment whose payer's wallet is deployed with it; it is settled alone.
    #[arg(long, env = "OBOL_MAX_DEPLOY_GAS", value_name = "GAS",
          default_value_t = GasCeilings::default().per_deployment.to_string())]
    pub(super) max_deploy_gas: String,
    /// The most L1 data fee for one payment on an OP-stack chain, in wei.
    #[arg(long, env = "OBOL_MAX_L1_FEE", value_name = "WEI",
          default_value_t = GasCeilings::default().l1_fee_per_payment.to_string())]
    pub(super) max_l1_fee: String,
    /// Paid requests that may be on their way at once; above it buyers get 503.
    #[arg(long, env = "OBOL_MAX_REQUESTS", default_value = "4096", value_name = "N")]
    pub(super) max_requests: String,
    /// Connections of buyers that may be open at once; above it new ones wait.
    #[arg(long, env = "OBOL_MAX_CONNECTIONS", default_value_t = Limits::default().connections.to_string(),
          value_name = "N")]
    pub(super) max_connections: String,
    /// Seconds that responses and sales may take to end when the verifier is told to stop.
    #[arg(long, env = "OBOL_STOP_GRACE", default_value = "30", value_name = "SECONDS")]
    pub(super) stop_grace: String,
    /// Show the settings in force, secrets hidden, and exit.
    #[arg(long)]
    pub(super) print_config: bool,
}
