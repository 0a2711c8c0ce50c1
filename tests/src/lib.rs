//! What the end-to-end tests share: a chain, a seller's money path on it, the gate in front of
//! it, upstreams behind it, and buyers.

mod agreement;
mod buyer;
mod cast;
pub mod contracts;
mod counter;
mod customer;
mod meddler;
mod payment_stage;
mod proxy;
mod published;
mod published_server;
mod python;
mod raw;
mod remote_shop;
mod rig;
mod sale;
mod scrape;
mod seller;
mod shop;
mod stranger;
mod till;
mod upstream;
mod wait;

pub use agreement::{Agreement, assert_ledger_equals_chain};
pub use buyer::Buyer;
pub use cast::Cast;
pub use counter::{CounterOptions, FacilitatorServer, FacilitatorStage, question};
pub use customer::{Answered, Customer, fetch, fetch_after, get, paid, request, requirement, send};
pub use meddler::{Checking, Manner, Meddler};
pub use payment_stage::PaymentStage;
pub use proxy::{Proxy, ProxyKind};
pub use published::{Printed, PrintedReceipt, client_script, npm_clients, run_script};
pub use published_server::PublishedServer;
pub use python::PythonClient;
pub use raw::{Leaver, RawResponse, raw};
pub use remote_shop::{AT, RemoteShop, others};
pub use rig::{Rig, Spent, ledger_file, transactions_of};
pub use sale::Sale;
pub use scrape::Scrape;
pub use seller::{Seller, SellerOptions, chain_of, price};
pub use shop::{Shop, ShopOptions};
pub use stranger::Stranger;
pub use till::{Others, Till};
pub use upstream::{Heard, Reply, Upstream, chunks, reply, streamed};
pub use wait::until;
