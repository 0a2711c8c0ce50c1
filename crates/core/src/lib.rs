//! The vocabulary of obol: chains, assets, amounts, offers, payments and the reasons for
//! which a payment is refused. Pure: no I/O, no clock, no web framework.

mod amount;
mod asset;
mod chain;
mod globs;
mod offer;
mod path;
mod pattern;
mod payment;
mod reason;
mod refusal;
mod registry;
mod requirement;
mod routes;

pub use amount::{Amount, AmountError};
pub use asset::{Asset, Domain, TransferMethod};
pub use chain::{Chain, ChainId, ChainIdError, Finality};
pub use offer::{Charge, Disconnect, Exposure, FACILITATOR_NAMESPACE, Offer, OfferId, Upstream, is_label};
pub use path::{OWN_PATHS, RequestPath};
pub use pattern::Pattern;
pub use payment::{Authorization, Deployment, Payment, PaymentKey, SettlementCall, WireVersion};
pub use reason::Reason;
pub use refusal::Refusal;
pub use registry::{AssetError, Registry, UnknownAsset, UnknownChain};
pub use requirement::Requirement;
pub use routes::{Clash, Conflict, MAX_DEPTH, Routes};
