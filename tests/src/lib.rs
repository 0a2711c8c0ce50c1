//! What the end-to-end tests share: a chain, a seller's money path on it, the gate in front of
//! it, upstreams behind it, and buyers.

mod buyer;
mod customer;
mod payment_stage;
mod published;
mod python;
mod raw;
mod seller;
mod shop;
mod till;
mod upstream;

pub use buyer::Buyer;
pub use customer::{Answered, Customer, fetch, get, paid, request, requirement, send};
pub use payment_stage::PaymentStage;
pub use published::{Printed, PrintedReceipt, npm_clients, run_script};
pub use python::PythonClient;
pub use raw::{Leaver, RawResponse, raw};
pub use seller::{Seller, SellerOptions, chain_of, price};
pub use shop::{Shop, ShopOptions};
pub use till::Till;
pub use upstream::{Heard, Reply, Upstream, chunks, reply, streamed};
