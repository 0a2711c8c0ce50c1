//! What the end-to-end tests share: a chain, a seller's money path on it, and buyers.

mod agreement;
mod buyer;
pub mod contracts;
mod rig;
mod sale;
mod seller;
mod stranger;
mod upstream;
mod wait;

pub use agreement::{Agreement, assert_ledger_equals_chain};
pub use buyer::Buyer;
pub use rig::{Rig, Spent};
pub use sale::Sale;
pub use seller::{Seller, SellerOptions, chain_of, price};
pub use stranger::Stranger;
pub use upstream::{Heard, Reply, Upstream, reply, streamed};
pub use wait::until;
