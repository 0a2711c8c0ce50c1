//! Named points on the money path at which a test kills the process.
//!
//! Every commit of the ledger and every network call of a settlement passes such points. With
//! the `armed` feature the environment variable `OBOL_STOP_AT=<name>` or `<name>@<n>` makes the
//! process send itself SIGKILL when it reaches that point (for the n-th time). The file that
//! `OBOL_STOP_LOG` names gets a line `reached <name>` for each point, once, and `killed <name>`.
//! Without the feature [`reach`] is nothing.

/// Every stop point there is: a test walks through this list, and fails on a point that is not
/// reached and on one that is reached and not listed. Calls to a chain's endpoint have their
/// method's name; those that travel together have the name of what is asked.
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
    "ledger.ask.before-commit",
    "ledger.ask.after-commit",
    "ledger.promise.before-commit",
    "ledger.promise.after-commit",
    "ledger.claim.before-commit",
    "ledger.claim.after-commit",
    "ledger.decline.before-commit",
    "ledger.decline.after-commit",
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
    "ledger.take-over.before-commit",
    "ledger.take-over.after-commit",
    "rpc.reads.before",
    "rpc.reads.after",
    "rpc.codes.before",
    "rpc.codes.after",
    "rpc.receipts.before",
    "rpc.receipts.after",
    "rpc.blocks.before",
    "rpc.blocks.after",
    "rpc.eth_call.before",
    "rpc.eth_call.after",
    "rpc.eth_getBalance.before",
    "rpc.eth_getBalance.after",
    "rpc.eth_getBlockByNumber.before",
    "rpc.eth_getBlockByNumber.after",
    "rpc.eth_getLogs.before",
    "rpc.eth_getLogs.after",
    "rpc.eth_getTransactionCount.before",
    "rpc.eth_getTransactionCount.after",
    "rpc.eth_getTransactionReceipt.before",
    "rpc.eth_getTransactionReceipt.after",
    "rpc.eth_maxPriorityFeePerGas.before",
    "rpc.eth_maxPriorityFeePerGas.after",
    "rpc.eth_sendRawTransaction.before",
    "rpc.eth_sendRawTransaction.after",
    "facilitator.settle.before",
    "facilitator.settle.after",
    "upstream.before",
    "upstream.after",
    "client.first-byte",
];

/// Dies here if a test asked for it.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub fn reach(_point: &str) {}

/// As [`reach`], around a call to a chain's endpoint.
#[cfg(not(feature = "armed"))]
#[inline(always)]
pub fn reach_call(_method: &str, _side: &str) {}

#[cfg(feature = "armed")]
pub use armed::{reach, reach_call};

#[cfg(feature = "armed")]
mod armed {
    use std::{
        collections::HashSet,
        fs::{File, OpenOptions},
        io::Write,
        sync::{Mutex, OnceLock, PoisonError},
    };

    /// What the environment asked for, and what has come to pass of it.
    struct Armed {
        point: Option<String>,
        left: usize,
        log: Option<File>,
        logged: HashSet<String>,
    }

    fn armed() -> &'static Mutex<Armed> {
        static ARMED: OnceLock<Mutex<Armed>> = OnceLock::new();
        ARMED.get_or_init(|| {
            let order = std::env::var("OBOL_STOP_AT").unwrap_or_default();
            let (point, nth) = order.split_once('@').unwrap_or((&order, "1"));
            let log = std::env::var_os("OBOL_STOP_LOG")
                .and_then(|path| OpenOptions::new().append(true).create(true).open(path).ok());
            Mutex::new(Armed {
                point: (!point.is_empty()).then(|| point.to_owned()),
                left: nth.parse().unwrap_or(1),
                log,
                logged: HashSet::new(),
            })
        })
    }

    /// Dies here if a test asked for it.
    pub fn reach(point: &str) {
        let mut armed = armed().lock().unwrap_or_else(PoisonError::into_inner);
        let killed = armed.point.as_deref() == Some(point) && {
            armed.left = armed.left.saturating_sub(1);
            armed.left == 0
        };
        if killed || armed.logged.insert(point.to_owned()) {
            let word = if killed { "killed" } else { "reached" };
            // A log that cannot be written shows in the test as a point that was not reached.
            let _ = armed.log.as_mut().map(|log| log.write_all(format!("{word} {point}\n").as_bytes()));
        }
        if killed {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // The signal may take a moment to arrive; nothing must happen until then.
            loop {
                std::thread::park();
            }
        }
    }

    /// As [`reach`], around a call to a chain's endpoint.
    pub fn reach_call(method: &str, side: &str) {
        reach(&format!("rpc.{method}.{side}"));
    }
}
