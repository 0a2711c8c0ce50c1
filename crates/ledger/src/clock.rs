use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn after(self, pause: Duration) -> Self {
        Self(self.0.saturating_add(millis(pause)))
    }

    /// Whole seconds since the Unix epoch.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

/// The clock of the ledger's database: the only one that leases and holds are measured by.
///
/// A wrong clock costs liveness, never money: each lease is fenced by its epoch and each hold
/// by its reservation.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Set by hand, so that a test owns time.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                Timestamp(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
            }
            Self::Manual(millis) => Timestamp(millis.load(Ordering::SeqCst)),
        }
    }

    /// Milliseconds that only go forward, whatever happens to the time of day; comparable
    /// within one process.
    pub(crate) fn monotonic(&self) -> i64 {
        static START: OnceLock<Instant> = OnceLock::new();
        match self {
            Self::System => millis(START.get_or_init(Instant::now).elapsed()),
            Self::Manual(millis) => millis.load(Ordering::SeqCst),
        }
    }
}

/// For columns and comparisons: longer ones than fit are as good as for ever.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
