use crate::{chains_file::ChainsFileArgs, output::Output};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

const EXAMPLE: &str = "\
Examples:
  obol sell http hello --offers offers --upstream http://127.0.0.1:9000 --per-request 0.01 \\
      --chain base-sepolia --pay-to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
  obol sell list --offers offers
  obol sell pause hello --offers offers";

/// Writes and looks after the offers of a folder that a verifier sells.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct SellArgs {
    #[command(subcommand)]
    pub(super) command: SellCommand,
}

/// Where offers are written.
#[derive(Args, Debug)]
pub(super) struct FolderArgs {
    /// Folder of ServiceOffer files, which the verifier watches.
    #[arg(long, env = "OBOL_OFFERS", value_name = "DIR")]
    pub(super) offers: PathBuf,
    /// File of static routes (pricing.yaml) that the verifier sells beside the folder.
    #[arg(long, env = "OBOL_PRICING", value_name = "FILE")]
    pub(super) pricing: Option<PathBuf>,
    #[command(flatten)]
    pub(super) known: ChainsFileArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum SellCommand {
    /// Offers an HTTP service, for a price per request.
    #[command(after_help = HTTP)]
    Http(Box<HttpArgs>),
    /// Offers a model behind an OpenAI-compatible server, for a price per request.
    #[command(after_help = INFERENCE)]
    Inference(Box<InferenceArgs>),
    /// Every offer of the folder, and what is wrong with the others.
    #[command(after_help = "Example:\n  obol sell list --offers offers --output json")]
    List {
        #[command(flatten)]
        folder: FolderArgs,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// One offer: whether it can be sold, and what it has earned.
    #[command(after_help = "Example:\n  obol sell status hello --offers offers --ledger obol.db")]
    Status(StatusArgs),
    /// Sells no more until resumed: buyers are told so, and pay nothing.
    #[command(after_help = "Example:\n  obol sell pause hello --offers offers")]
    Pause {
        #[command(flatten)]
        folder: FolderArgs,
        /// The offer: its name, or `namespace/name`.
        #[arg(value_name = "OFFER")]
        name: String,
    },
    /// Ends an offer in a while: until then it is sold on, and buyers are told when it ends.
    #[command(after_help = "Example:\n  obol sell drain hello --offers offers --grace 30m")]
    Drain {
        #[command(flatten)]
        folder: FolderArgs,
        /// The offer: its name, or `namespace/name`.
        #[arg(value_name = "OFFER")]
        name: String,
        /// For how long it is sold on, such as 1h, 90s or 0s.
        #[arg(long, default_value = "1h", value_name = "DURATION")]
        grace: String,
    },
    /// Sells on, after a pause or while it drains, and again when it has.
    #[command(after_help = "Example:\n  obol sell resume hello --offers offers")]
    Resume {
        #[command(flatten)]
        folder: FolderArgs,
        /// The offer: its name, or `namespace/name`.
        #[arg(value_name = "OFFER")]
        name: String,
    },
    /// Ends an offer. What was written is kept beside it, in a file that is not sold from.
    #[command(after_help = "Example:\n  obol sell delete hello --offers offers")]
    Delete {
        #[command(flatten)]
        folder: FolderArgs,
        /// The offer: its name, or `namespace/name`.
        #[arg(value_name = "OFFER")]
        name: String,
    },
    /// The file of static routes, and what is wrong with it. Writes its wallet and its chain.
    #[command(after_help = PRICING)]
    Pricing(PricingArgs),
    /// Asks a verifier that runs what an offer costs, and compares it with what is written.
    #[command(after_help = "Example:\n  obol sell probe hello --offers offers --url http://127.0.0.1:8080")]
    Probe(ProbeArgs),
}

const PRICING: &str = "\
Examples:
  obol sell pricing --pricing pricing.yaml
  obol sell pricing --pricing pricing.yaml --chain base \\
      --wallet 0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

const HTTP: &str = "\
Examples:
  obol sell http hello --offers offers --upstream http://127.0.0.1:9000 --per-request 0.01 \\
      --chain base-sepolia --pay-to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
  obol sell http weather --offers offers --upstream https://weather.internal/v2 \\
      --per-request '0.01 USDC' --chain base --chain polygon=0.012 --auth-env WEATHER_TOKEN \\
      --pay-to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

const INFERENCE: &str = "\
Example:
  obol sell inference small --offers offers --model qwen3:4b --runtime ollama \\
      --upstream http://127.0.0.1:11434 --per-request 0.002 --chain base-sepolia \\
      --pay-to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

/// What every new offer says.
#[derive(Args, Debug)]
pub(super) struct NewArgs {
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    /// The offer's name: lower-case letters, digits and hyphens. It is sold at `/services/NAME`.
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The namespace of its name.
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// Where the service runs: http:// or https://.
    #[arg(long, value_name = "URL")]
    pub(super) upstream: String,
    /// What a request costs, such as 0.01, '0.01 USDC' or '$0.01'.
    #[arg(long, value_name = "PRICE", required_unless_present = "per_mtok")]
    pub(super) per_request: Option<String>,
    /// Not sold by obol: nothing is metered yet.
    #[arg(long, value_name = "PRICE", hide = true)]
    pub(super) per_mtok: Option<String>,
    /// The chain that it is paid on; repeat for several. `<chain>/<symbol>` names the asset,
    /// `<chain>=<price>` another price.
    #[arg(long, value_name = "CHAIN", required = true)]
    pub(super) chain: Vec<String>,
    /// The account that is paid.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) pay_to: String,
    /// What buyers read about it.
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// Where it is sold, in the place of `/services/NAME`.
    #[arg(long, value_name = "PATH")]
    pub(super) path: Option<String>,
    /// Only requests for this host.
    #[arg(long, value_name = "HOST")]
    pub(super) hostname: Option<String>,
    /// Seconds until the service's response headers.
    #[arg(long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
    /// Variable of the verifier with the service's whole Authorization header.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "auth_file")]
    pub(super) auth_env: Option<String>,
    /// File with it, relative to the folder of offers.
    #[arg(long, value_name = "FILE")]
    pub(super) auth_file: Option<String>,
    /// Shows what would be written, and writes nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Args, Debug)]
pub(super) struct HttpArgs {
    #[command(flatten)]
    pub(super) new: NewArgs,
}

#[derive(Args, Debug)]
pub(super) struct InferenceArgs {
    #[command(flatten)]
    pub(super) new: NewArgs,
    /// The model's name, as its server calls it.
    #[arg(long, value_name = "MODEL")]
    pub(super) model: String,
    /// What serves it.
    #[arg(long, value_name = "RUNTIME")]
    pub(super) runtime: Option<Runtime>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Runtime {
    Ollama,
    Vllm,
    Tgi,
}

#[derive(Args, Debug)]
pub(super) struct PricingArgs {
    /// File of static routes (pricing.yaml); made when it is not there and something is written.
    #[arg(long, env = "OBOL_PRICING", value_name = "FILE")]
    pub(super) pricing: PathBuf,
    /// Writes the account that is paid where a route names no other.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) wallet: Option<String>,
    /// Writes the chain that is paid on where a route names no other.
    #[arg(long, value_name = "CHAIN")]
    pub(super) chain: Option<String>,
    #[command(flatten)]
    pub(super) known: ChainsFileArgs,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub(super) output: Output,
}

#[derive(Args, Debug)]
pub(super) struct ProbeArgs {
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    /// The offer: its name, or `namespace/name`.
    #[arg(value_name = "OFFER")]
    pub(super) name: String,
    /// Where the verifier serves buyers, such as http://127.0.0.1:8080.
    #[arg(long, value_name = "URL")]
    pub(super) url: String,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub(super) output: Output,
}

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) folder: FolderArgs,
    /// The offer: its name, or `namespace/name`.
    #[arg(value_name = "OFFER")]
    pub(super) name: String,
    /// The ledger's file, for what it has earned.
    #[arg(long, env = "OBOL_LEDGER", value_name = "FILE")]
    pub(super) ledger: Option<PathBuf>,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    pub(super) output: Output,
}
