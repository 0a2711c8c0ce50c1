//! What others are told of each change of a payment's state, once it is durable.

use crate::{Delivery, Position, State};
use obol_core::Amount;
use std::time::Duration;

/// A payment has changed its state. The process that made the change is told, and no other: what
/// each counts adds up over all processes on a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub position: Position,
    /// Atomic units.
    pub amount: Amount,
    /// None of a payment that is new.
    pub from: Option<State>,
    pub to: State,
    pub delivery: Delivery,
    pub charge: Option<Charged>,
}

/// What a change of state means for what was earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charged {
    /// Its transfer is in a block for the first time.
    First {
        /// Since it was owed; none when it came from elsewhere.
        owed_for: Option<Duration>,
    },
    /// Its transfer is on the chain no more.
    Reversed,
    /// Its transfer is on the chain again.
    Again,
}

/// Called on the ledger's own thread: it must neither wait nor use the ledger.
pub(crate) type Observer = Box<dyn Fn(&Transition) + Send>;
