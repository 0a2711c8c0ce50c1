//! Verification and settlement of payments, in-process.
//!
//! [`Facilitator::verify`] decides whether a payment is good, reading the chain but writing
//! nothing. Each chain has one settler task: it takes what the ledger says is due, and
//! tells the ledger what the chain shows.

mod audit;
mod counter;
mod desk;
mod keeper;
mod limits;
mod range;
mod settler;
mod verify;

pub use audit::{Audit, AuditError, Difference, audit, reconcile};
pub use counter::{Counter, Settled};
pub use desk::{ChainSetup, Facilitator};
pub use limits::{GasCeilings, Timing};
pub use settler::SettlerState;
pub use verify::{Terms, Verified, settlement_calls};
