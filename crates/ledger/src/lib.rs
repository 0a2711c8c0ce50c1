//! The durable journal of payments: what was reserved, owed, submitted and settled, and what
//! reached the client. One place changes a payment's state, by compare-and-set; each change
//! leaves an event; every intent is durable before the network call that it announces.
//!
//! Backed by SQLite. No SQLite type leaves this crate.

mod asking;
mod attendance;
mod batch;
mod books;
mod census;
mod clock;
mod comparison;
mod ending;
mod error;
mod evidence;
mod exposure;
pub mod held;
mod hold;
mod journal;
mod journal_check;
mod newest;
mod op;
mod query;
mod recall;
mod record;
mod reserve;
mod rolling;
mod row;
mod schema;
mod sets;
mod state;
mod transition;
mod txn;
mod writer;

pub use asking::{Asking, Question};
pub use attendance::{Attendant, Awaited};
pub use batch::{Attempt, BatchState, DuePayment, Lease, Leased, LiveBatch, NewAttempt, Settler, Stored};
pub use books::{Books, Takings};
pub use census::Census;
pub use clock::{Clock, Timestamp};
pub use comparison::{Comparison, Drift, Found};
pub use error::LedgerError;
pub use evidence::MinedBatch;
pub use exposure::Unsettled;
pub use held::Held;
pub use hold::{Lost, Owing};
pub use journal::Position;
pub use query::{Earning, Outcome, Payee};
pub use record::{
    BatchId, Event, Inclusion, NewPayment, Origin, PaymentId, PaymentRecord, Proof, UNKNOWN_BLOCK,
};
pub use reserve::Reservation;
pub use rolling::{Sum, Windows};
pub use schema::Place;
pub use state::{Delivery, State};
pub use transition::{Charged, Transition};

use std::path::Path;
use tokio_util::task::TaskTracker;
use txn::Owner;
use writer::Writer;

/// A handle on the ledger. Cheap to clone; all clones share one writer.
#[derive(Clone, Debug)]
pub struct Ledger {
    writer: Writer,
    holder: String,
    clock: Clock,
    /// Ends of holds that are being written.
    ends: TaskTracker,
}

impl Ledger {
    /// Opens or makes a ledger, migrates and checks it. `who` is written on each event and
    /// names this process among those that share the ledger: it must be unique among them.
    pub fn open(place: &Place<'_>, clock: Clock, who: impl Into<String>) -> Result<Self, LedgerError> {
        let who = who.into();
        let db = schema::open(place)?;
        let owner = schema::enrol(&db, &who, place)?;
        let (writer, _thread) = Writer::start(db, clock.clone(), Owner { number: owner, name: who.clone() })?;
        Ok(Self { writer, holder: who, clock, ends: TaskTracker::new() })
    }

    /// By this ledger's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether a request holds the payment, by this ledger's clock.
    pub fn is_held(&self, record: &PaymentRecord) -> bool {
        record.held_until > self.clock.now()
    }

    /// Whether the last commit of this process was durable; true before the first.
    pub fn commits(&self) -> bool {
        !self.writer.is_failing()
    }

    /// Has `observer` told of every change of a payment's state that this process makes from now on,
    /// once it is durable and before its maker knows. It runs on the ledger's own thread: it must
    /// neither wait nor use the ledger.
    pub fn observe(&self, observer: impl Fn(&Transition) + Send + 'static) -> Result<(), LedgerError> {
        self.writer.observe(Box::new(observer))
    }

    /// Opens an existing ledger for reading; writing through it fails.
    pub fn open_read_only(path: &Path) -> Result<Self, LedgerError> {
        let nobody = Owner { number: 0, name: "reader".to_owned() };
        let (writer, _thread) = Writer::start(schema::open_read_only(path)?, Clock::System, nobody)?;
        Ok(Self { writer, holder: "reader".to_owned(), clock: Clock::System, ends: TaskTracker::new() })
    }
}
