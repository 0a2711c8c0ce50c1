//! Verification and settlement of payments, in-process.
//!
//! [`Facilitator::verify`] decides whether a payment is good, reading the chain but writing
//! nothing. Each chain has one settler task: it takes what the ledger says is due, and
//! tells the ledger what the chain shows.

mod audit;
mod block_before;
mod counter;
mod desk;
mod first_block;
mod glance;
mod keeper;
mod lead;
mod limits;
mod range;
mod reconciler;
mod remote;
mod rhythm;
mod settler;
mod sight;
mod unseen;
mod verify;
mod watcher;

pub use audit::{Audit, AuditError, Difference, audit, reconcile};
pub use counter::{Counter, Settled};
pub use desk::{ChainSetup, Facilitator, RemoteSetup, Report};
pub use limits::{GasCeilings, Timing};
pub use reconciler::Comparing;
pub use settler::SettlerState;
pub use verify::{Terms, Verified, settlement_calls};
