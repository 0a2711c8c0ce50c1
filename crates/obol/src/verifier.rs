//! `obol verifier`

use crate::{
    chains_file, endpoint,
    exit::Failure,
    output,
    seller::{Seller, Setup, process_name},
    signals,
};
use alloy_primitives::Address;
use clap::Args;
use obol_evm::Key;
use obol_facilitator::{GasCeilings, Timing};
use obol_ledger::{Clock, Ledger, Place};
use obol_verifier::{Limits, Network, TrustedProxies};
use serde_json::json;
use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

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
#[command(after_help = EXAMPLE)]
pub(crate) struct VerifierArgs {
    /// Folder of ServiceOffer files (*.yaml), watched.
    #[arg(long, env = "OBOL_OFFERS", value_name = "DIR")]
    offers: PathBuf,
    /// Where buyers are served.
    #[arg(long, env = "OBOL_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where health is answered for operators: /healthz, /readyz, /status.
    #[arg(long, env = "OBOL_ADMIN_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    /// The ledger's file; made when it is not there. Verifiers on this machine may share it.
    #[arg(long, env = "OBOL_LEDGER", value_name = "FILE")]
    ledger: PathBuf,
    /// A chain's JSON-RPC endpoint, once per chain; in the environment separated by spaces.
    #[arg(long, env = "OBOL_RPC", value_name = "CHAIN=URL", value_delimiter = ' ', required = true)]
    rpc: Vec<String>,
    /// File with the private key (hex) of the account that pays gas for settlements.
    #[arg(long, env = "OBOL_SETTLER_KEY_FILE", value_name = "FILE")]
    settler_key_file: PathBuf,
    /// File that adds chains and assets to the built-in ones.
    #[arg(long, env = "OBOL_CHAINS", value_name = "FILE")]
    chains: Option<PathBuf>,
    /// Address or network of a proxy whose X-Forwarded-* headers count; repeat for several.
    #[arg(long, env = "OBOL_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ' ')]
    trusted_proxy: Vec<Network>,
    /// An account that offers may pay to; repeat for several. Without it, any that an offer names.
    #[arg(long, env = "OBOL_ALLOW_PAYEE", value_name = "ADDRESS", value_delimiter = ' ', value_parser = account)]
    allow_payee: Vec<Address>,
    /// A contract that may be called, at the settler's cost, to deploy a payer's wallet (ERC-6492);
    /// repeat for several. Without it, wallets that are not deployed cannot pay.
    #[arg(long, env = "OBOL_ALLOW_FACTORY", value_name = "ADDRESS", value_delimiter = ' ', value_parser = account)]
    allow_factory: Vec<Address>,
    /// Seconds that a paid request waits for its settlement.
    #[arg(long, env = "OBOL_SETTLE_BUDGET", default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=600))]
    settle_budget: u64,
    /// Seconds by which this machine's clock and the chain's may differ.
    #[arg(long, env = "OBOL_CLOCK_SKEW", default_value_t = 5, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(0..=300))]
    clock_skew: u64,
    /// Seconds after which a settlement that is in no block is sent again with higher fees.
    #[arg(long, env = "OBOL_REPLACE_AFTER", default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    replace_after: u64,
    /// The most that settling may pay per gas, in wei; above it payments are refused.
    #[arg(long, env = "OBOL_MAX_GAS_PRICE", default_value_t = GasCeilings::default().max_fee, value_name = "WEI")]
    max_gas_price: u128,
    /// The most gas that one payment may take.
    #[arg(long, env = "OBOL_MAX_GAS", default_value_t = GasCeilings::default().per_payment, value_name = "GAS",
          value_parser = clap::value_parser!(u64).range(50_000..=1_000_000))]
    max_gas: u64,
    /// The most gas for a payment whose payer is a contract; it is settled alone.
    #[arg(long, env = "OBOL_MAX_CONTRACT_GAS", default_value_t = GasCeilings::default().per_contract_payment,
          value_name = "GAS", value_parser = clap::value_parser!(u64).range(50_000..=16_000_000))]
    max_contract_gas: u64,
    /// The most gas for a payment whose payer's wallet is deployed with it; it is settled alone.
    #[arg(long, env = "OBOL_MAX_DEPLOY_GAS", default_value_t = GasCeilings::default().per_deployment,
          value_name = "GAS", value_parser = clap::value_parser!(u64).range(50_000..=16_000_000))]
    max_deploy_gas: u64,
    /// The most L1 data fee for one payment on an OP-stack chain, in wei.
    #[arg(long, env = "OBOL_MAX_L1_FEE", default_value_t = GasCeilings::default().l1_fee_per_payment,
          value_name = "WEI")]
    max_l1_fee: u128,
    /// Paid requests that may be on their way at once; above it buyers get 503.
    #[arg(long, env = "OBOL_MAX_REQUESTS", default_value_t = 4_096, value_name = "N",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    max_requests: usize,
    /// Show the settings in force, secrets hidden, and exit.
    #[arg(long)]
    print_config: bool,
}

pub(crate) async fn run(args: VerifierArgs) -> Result<(), Failure> {
    let registry = Arc::new(chains_file::registry(args.chains.as_deref())?);
    let endpoints = endpoint::parse(&args.rpc, &registry)?;
    let settler = read_key(&args.settler_key_file)?;
    if args.print_config {
        print_config(&args, &endpoints, &settler);
        return Ok(());
    }
    if !args.offers.is_dir() {
        return Err(Failure::config(format!("--offers: {} is not a folder", args.offers.display())));
    }
    let ledger = Ledger::open(&Place::File(&args.ledger), Clock::System, process_name())
        .map_err(|error| Failure::config(format!("--ledger: {error}")))?;
    let listener = bind("--listen", args.listen).await?;
    let admin = bind("--admin-listen", args.admin_listen).await?;
    let timing = Timing {
        settle_budget: Duration::from_secs(args.settle_budget),
        clock_skew: Duration::from_secs(args.clock_skew),
        stuck: Duration::from_secs(args.replace_after),
        ..Timing::default()
    };
    tracing::info!(address = %args.listen, settler = %settler.address(), "selling");
    let seller = Seller::start(Setup {
        registry,
        endpoints,
        settler,
        ledger,
        offers: args.offers,
        listener,
        admin,
        trusted: TrustedProxies::new(args.trusted_proxy),
        timing,
        gas: GasCeilings {
            max_fee: args.max_gas_price,
            per_payment: args.max_gas,
            per_contract_payment: args.max_contract_gas,
            per_deployment: args.max_deploy_gas,
            l1_fee_per_payment: args.max_l1_fee,
        },
        payees: (!args.allow_payee.is_empty()).then(|| args.allow_payee.into_iter().collect()),
        factories: args.allow_factory,
        max_sales: args.max_requests,
        limits: Limits::default(),
    })?;
    signals::stop_requested().await;
    tracing::info!("stopping: responses and settlements finish first");
    seller.stop().await;
    Ok(())
}

fn print_config(args: &VerifierArgs, endpoints: &[endpoint::Endpoint], settler: &Key) {
    let rpc: serde_json::Map<_, _> = endpoints
        .iter()
        .map(|endpoint| (endpoint.chain.id.to_string(), json!(format!("{}/[hidden]", endpoint.rpc.shown()))))
        .collect();
    let config = json!({
        "offers": args.offers,
        "listen": args.listen,
        "admin_listen": args.admin_listen,
        "ledger": args.ledger,
        "rpc": rpc,
        "settler_key_file": args.settler_key_file,
        "settler": settler.address(),
        "chains": args.chains,
        "trusted_proxy": args.trusted_proxy.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "allow_payee": args.allow_payee,
        "allow_factory": args.allow_factory,
        "settle_budget": args.settle_budget,
        "clock_skew": args.clock_skew,
        "replace_after": args.replace_after,
        "max_gas_price": args.max_gas_price.to_string(),
        "max_gas": args.max_gas,
        "max_contract_gas": args.max_contract_gas,
        "max_deploy_gas": args.max_deploy_gas,
        "max_l1_fee": args.max_l1_fee.to_string(),
        "max_requests": args.max_requests,
    });
    match serde_json::to_string_pretty(&config) {
        Ok(text) => output::print(&format!("{text}\n")),
        Err(error) => eprintln!("obol: cannot show the settings: {error}"),
    }
}

fn account(text: &str) -> Result<Address, String> {
    Address::parse_checksummed(text, None)
        .map_err(|_| format!("{text:?} is not an address with a correct EIP-55 checksum"))
}

pub(crate) async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::unavailable(format!("{flag}: cannot listen on {address}: {error}; give another address"))
    })
}

fn read_key(path: &Path) -> Result<Key, Failure> {
    let refuse = |why: String| Failure::config(format!("--settler-key-file {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    if let Ok(about) = std::fs::metadata(path)
        && about.permissions().mode() & 0o007 != 0
    {
        tracing::warn!(file = %path.display(), "every user of this machine can read the settler's key; chmod 600 it");
    }
    text.parse().map_err(|error: obol_evm::KeyError| refuse(error.to_string()))
}
