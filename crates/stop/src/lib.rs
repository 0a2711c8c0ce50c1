//! Named points on the money path at which a test kills the process.
//!
//! Every commit of the ledger and every network call of a settlement passes such points. With
//! the `armed` feature the environment variable `OBOL_STOP_AT=<name>` or `<name>@<n>` makes the
//! process send itself SIGKILL when it reaches that point (for the n-th time), after appending
//! the name to the file that `OBOL_STOP_LOG` names. Without the feature [`reach`] is nothing.

/// Every stop point there is. A test walks through this list and fails on a point that a
/// paid request does not reach.
pub const POINTS: &[&str] = &[
    "ledger.reserve.before-commit",
    "ledger.reserve.after-commit",
    "ledger.recall.before-commit",
    "ledger.recall.after-commit",
    "ledger.release.before-commit",
    "ledger.release.after-commit",
    "ledger.owe.before-commit",
    "ledger.owe.after-commit",
    "ledger.let-go.before-commit",
    "ledger.let-go.after-commit",
    "ledger.start-delivery.before-commit",
    "ledger.start-delivery.after-commit",
    "ledger.finish-delivery.before-commit",
    "ledger.finish-delivery.after-commit",
    "ledger.lease.before-commit",
    "ledger.lease.after-commit",
    "ledger.store-batch.before-commit",
    "ledger.store-batch.after-commit",
    "ledger.store-attempt.before-commit",
    "ledger.store-attempt.after-commit",
    "ledger.taken.before-commit",
    "ledger.taken.after-commit",
    "ledger.include.before-commit",
    "ledger.include.after-commit",
    "ledger.orphan.before-commit",
    "ledger.orphan.after-commit",
    "ledger.finalize.before-commit",
    "ledger.finalize.after-commit",
    "ledger.defer.before-commit",
    "ledger.defer.after-commit",
    "ledger.fail.before-commit",
    "ledger.fail.after-commit",
    "ledger.bury.before-commit",
    "ledger.bury.after-commit",
    "ledger.recover.before-commit",
    "ledger.recover.after-commit",
    "rpc.verify.before",
    "rpc.verify.after",
    "rpc.simulate.before",
    "rpc.simulate.after",
    "rpc.broadcast.before",
    "rpc.broadcast.after",
    "rpc.receipts.before",
    "rpc.receipts.after",
    "rpc.events.before",
    "rpc.events.after",
    "upstream.before",
    "upstream.after",
    "client.first-byte",
];

/// Dies here if a test asked for it.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub fn reach(_point: &str) {}

#[cfg(feature = "armed")]
pub use armed::reach;

#[cfg(feature = "armed")]
mod armed {
    use std::{
        io::Write,
        sync::{
            OnceLock,
            atomic::{AtomicUsize, Ordering},
        },
    };

    struct Order {
        point: String,
        nth: usize,
        seen: AtomicUsize,
    }

    fn order() -> Option<&'static Order> {
        static ORDER: OnceLock<Option<Order>> = OnceLock::new();
        ORDER
            .get_or_init(|| {
                let text = std::env::var("OBOL_STOP_AT").ok()?;
                let (point, nth) = text.split_once('@').unwrap_or((&text, "1"));
                let nth = nth.parse().ok()?;
                Some(Order { point: point.to_owned(), nth, seen: AtomicUsize::new(0) })
            })
            .as_ref()
    }

    /// Dies here if a test asked for it.
    pub fn reach(point: &str) {
        let Some(order) = order() else { return };
        if order.point != point || order.seen.fetch_add(1, Ordering::SeqCst) + 1 != order.nth {
            return;
        }
        if let Some(path) = std::env::var_os("OBOL_STOP_LOG")
            && let Ok(mut log) = std::fs::OpenOptions::new().append(true).create(true).open(path)
        {
            // The process is about to die: a log that cannot be written shows in the test as a
            // point that was not reached.
            let _ = writeln!(log, "{point}");
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
