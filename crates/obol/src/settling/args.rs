use clap::Args;
use obol_facilitator::GasCeilings;
use std::path::PathBuf;

/// Over the settings without which a role does not start.
pub(crate) const REQUIRED: &str = "Required";

/// Who settles in the place of a transaction of our own.
#[derive(Args, Debug, Default)]
pub(crate) struct FacilitatorsArgs {
    /// A facilitator that settles on a chain in the place of our own transactions: https, or http on
    /// this machine. Repeat for several; of one chain the first that answers is asked.
    #[arg(long, env = "OBOL_FACILITATOR", value_name = "CHAIN=URL", value_delimiter = ' ')]
    pub(crate) facilitator: Vec<String>,
    /// File with a line `<URL> <token>` for each facilitator that wants to know who asks.
    #[arg(long, env = "OBOL_FACILITATOR_TOKENS_FILE", value_name = "FILE")]
    pub(crate) facilitator_tokens_file: Option<PathBuf>,
}

/// What whoever settles payments has to know.
#[derive(Args, Debug)]
pub(crate) struct SettlingArgs {
    /// The ledger's file; made when it is not there. Verifiers on this machine may share it.
    #[arg(long, env = "OBOL_LEDGER", value_name = "FILE", help_heading = REQUIRED)]
    pub(crate) ledger: Option<PathBuf>,
    /// A chain's JSON-RPC endpoint, once per chain; in the environment separated by spaces. May be left
    /// out for a chain with a --facilitator.
    #[arg(long, env = "OBOL_RPC", hide_env_values = true, value_name = "CHAIN=URL", value_delimiter = ' ',
          help_heading = REQUIRED)]
    pub(crate) rpc: Vec<String>,
    /// File with the private key of the account that pays gas for settlements: hex, or a keystore. Not
    /// needed where every chain has a --facilitator.
    #[arg(long, env = "OBOL_SETTLER_KEY_FILE", value_name = "FILE", help_heading = REQUIRED)]
    pub(crate) settler_key_file: Option<PathBuf>,
    /// File with the password of that keystore; else OBOL_SETTLER_PASSWORD.
    #[arg(long, env = "OBOL_SETTLER_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) settler_password_file: Option<PathBuf>,
    /// File that adds chains and assets to the built-in ones.
    #[arg(long, env = "OBOL_CHAINS", value_name = "FILE")]
    pub(crate) chains: Option<PathBuf>,
    /// An account that offers may pay to; repeat for several. Without it, any that an offer names.
    #[arg(long, env = "OBOL_ALLOW_PAYEE", value_name = "ADDRESS", value_delimiter = ' ')]
    pub(crate) allow_payee: Vec<String>,
    /// A contract that may be called, at the settler's cost, to deploy a payer's wallet (ERC-6492);
    /// repeat for several. Without it, wallets that are not deployed cannot pay.
    #[arg(long, env = "OBOL_ALLOW_FACTORY", value_name = "ADDRESS", value_delimiter = ' ')]
    pub(crate) allow_factory: Vec<String>,
    /// Seconds that a paid request waits for its settlement.
    #[arg(long, env = "OBOL_SETTLE_BUDGET", default_value = "30", value_name = "SECONDS")]
    pub(crate) settle_budget: String,
    /// Seconds by which this machine's clock and the chain's may differ.
    #[arg(long, env = "OBOL_CLOCK_SKEW", default_value = "5", value_name = "SECONDS")]
    pub(crate) clock_skew: String,
    /// Seconds after which a settlement that is in no block is sent again with higher fees.
    #[arg(long, env = "OBOL_REPLACE_AFTER", default_value = "30", value_name = "SECONDS")]
    pub(crate) replace_after: String,
    /// The most that settling may pay per gas, in wei; above it payments are refused.
    #[arg(long, env = "OBOL_MAX_GAS_PRICE", default_value_t = GasCeilings::default().max_fee.to_string(),
          value_name = "WEI")]
    pub(crate) max_gas_price: String,
    /// The most gas that one payment may take.
    #[arg(long, env = "OBOL_MAX_GAS", default_value_t = GasCeilings::default().per_payment.to_string(),
          value_name = "GAS")]
    pub(crate) max_gas: String,
    /// The most gas for a payment whose payer is a contract; it is settled alone.
    #[arg(long, env = "OBOL_MAX_CONTRACT_GAS", value_name = "GAS",
          default_value_t = GasCeilings::default().per_contract_payment.to_string())]
    pub(crate) max_contract_gas: String,
    /// The most gas for a payment whose payer's wallet is deployed with it; it is settled alone.
    #[arg(long, env = "OBOL_MAX_DEPLOY_GAS", value_name = "GAS",
          default_value_t = GasCeilings::default().per_deployment.to_string())]
    pub(crate) max_deploy_gas: String,
    /// The most L1 data fee for one payment on an OP-stack chain, in wei.
    #[arg(long, env = "OBOL_MAX_L1_FEE", value_name = "WEI",
          default_value_t = GasCeilings::default().l1_fee_per_payment.to_string())]
    pub(crate) max_l1_fee: String,
}
