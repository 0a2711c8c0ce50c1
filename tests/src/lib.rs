//! What the end-to-end tests share: a chain, a seller's money path on it, and buyers.

mod buyer;
mod seller;
mod upstream;

pub use buyer::Buyer;
pub use seller::{Seller, SellerOptions, chain_of, price};
pub use upstream::{Heard, Reply, Upstream, reply, streamed};
