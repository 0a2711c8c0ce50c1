//! Offers as operators write them: `ServiceOffer` documents in a watched folder, and a file of static
//! routes.

mod address;
mod asset;
mod charge;
mod credential;
mod document;
mod drain;
mod edit;
mod events;
mod fault;
mod file;
mod folder;
mod given;
mod lines;
mod listing;
pub mod manifest;
mod names;
mod node;
mod offer;
mod payment;
mod pricing;
mod read;
mod sources;
mod suggest;
mod upstream;
mod watch;

pub use document::parse;
pub use drain::{DEFAULT_GRACE, GraceError, parse_grace};
pub use edit::{Drain, EditError, Removed, remove, set_drain, set_paused};
pub use fault::Fault;
pub use folder::{Found, Limits, Loaded};
pub use pricing::{Pricing, PricingError, PricingField, set_pricing};
pub use sources::{Sources, Written};
pub use watch::{Closed, Watch};
