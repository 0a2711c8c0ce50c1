//! What can be asked of the ledger, and what it can answer.

use alloy_primitives::{B256, Bytes};
use obol_core::{Exposure, PaymentKey, Reason};
use obol_ledger::{BatchId, Inclusion, Lease, NewPayment, Origin, PaymentId, Settler, State};
use std::{fmt, time::Duration};

/// A hold on a payment, as the model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grip {
    pub(crate) id: PaymentId,
    pub(crate) reservation: i64,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Reserve {
        new: Box<NewPayment>,
        hold: Duration,
    },
    Recall {
        key: PaymentKey,
        calls: Vec<Bytes>,
        origin: Origin,
        hold: Duration,
    },
    RecallPayer {
        key: PaymentKey,
        calls: Vec<Bytes>,
        origin: Origin,
        hold: Duration,
    },
    Release(Grip),
    Owe(Grip, Option<Exposure>),
    Waive(Grip),
    StartDelivery(Grip),
    FinishDelivery(Grip),
    LetGo(Grip),
    Undeliver(Grip),
    Lease {
        settler: Settler,
        ttl: Duration,
    },
    EndLease(Lease),
    StoreBatch {
        lease: Lease,
        nonce: u64,
        payments: Vec<PaymentId>,
        hash: B256,
    },
    StoreAttempt {
        lease: Lease,
        batch: BatchId,
        hash: B256,
    },
    Taken {
        batch: BatchId,
        hash: B256,
    },
    Mined {
        batch: BatchId,
        at: Inclusion,
        paid: Vec<PaymentId>,
        unpaid: Vec<PaymentId>,
        retry: Duration,
    },
    OrphanBatch(BatchId),
    Bury(BatchId),
    Include {
        key: PaymentKey,
        at: Inclusion,
    },
    Orphan {
        id: PaymentId,
        block_hash: B256,
    },
    Finalize {
        batches: Vec<BatchId>,
        payments: Vec<(PaymentId, B256)>,
    },
    Defer {
        id: PaymentId,
        retry: Duration,
    },
    Fail(PaymentId),
    Ask {
        id: PaymentId,
        facilitator: u64,
    },
    AskAgain(PaymentId),
    Doubt(PaymentId),
    Promise(PaymentId, Option<B256>),
    Claim(PaymentId, B256),
    Decline {
        id: PaymentId,
        retry: Duration,
    },
    Recover,
    TakeOver {
        patience: Duration,
    },
    /// Time passes, or the clock is set: milliseconds.
    Clock(i64),
    /// A process dies: what its requests held is held by nobody any more.
    Crash,
}

/// The `why` of operations that store one.
pub(crate) const WHY: &str = "drawn";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Granted(PaymentId),
    Entitled(PaymentId),
    Refused(Reason),
    /// Nothing is known of such a payment.
    Unknown,
    Lost(State),
    Done,
    SettleFirst,
    Deliver,
    /// The state in which the payment was left.
    Left(State),
    Mine(i64),
    HeldBy(String, i64),
    Stored(BatchId),
    Fenced,
    NonceTaken,
    Moved(PaymentId),
    Found(PaymentId),
    Count(usize),
    /// An error; nothing changed.
    Failed,
}

/// Takes a text's first word and stops whoever writes on.
struct FirstWord(String);

impl fmt::Write for FirstWord {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find([' ', '(']);
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        end.map_or(Ok(()), |_| Err(fmt::Error))
    }
}

fn first_word(of: &impl fmt::Debug) -> String {
    let mut word = FirstWord(String::new());
    // An error says that the word is complete.
    let _ = fmt::write(&mut word, format_args!("{of:?}"));
    word.0
}

impl Told {
    /// For the record of what was ever seen.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Refused(_) | Self::Lost(_) | Self::Left(_) => format!("{self:?}"),
            Self::Count(0) => "Count(0)".to_owned(),
            _ => first_word(self),
        }
    }
}

impl Step {
    pub(crate) fn kind(&self) -> String {
        first_word(self)
    }
}

impl fmt::Display for Grip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "payment {} (reservation {})", self.id.0, self.reservation)
    }
}

/// The last byte of a drawn value is its number.
pub(crate) fn short(bytes: &[u8]) -> u8 {
    bytes.last().copied().unwrap_or_default()
}

fn key(key: &PaymentKey) -> String {
    format!(
        "payer {}'s nonce {} on chain {}",
        short(key.payer.as_slice()),
        short(key.nonce.as_slice()),
        key.chain
    )
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserve { .. } | Self::Recall { .. } | Self::RecallPayer { .. } => self.tell_knock(f),
            Self::Release(_)
            | Self::Owe(..)
            | Self::Waive(_)
            | Self::StartDelivery(_)
            | Self::FinishDelivery(_)
            | Self::LetGo(_)
            | Self::Undeliver(_) => self.tell_use(f),
            Self::Lease { settler, ttl } => write!(f, "lease chain {} for {ttl:?}", settler.chain),
            Self::EndLease(lease) => write!(f, "end epoch {} of chain {}", lease.epoch, lease.settler.chain),
            Self::StoreBatch { lease, nonce, payments, .. } => write!(
                f,
                "store a batch of {payments:?} with nonce {nonce} under epoch {} of chain {}",
                lease.epoch, lease.settler.chain
            ),
            Self::StoreAttempt { lease, batch, .. } => {
                write!(f, "store an attempt of {batch:?} under epoch {}", lease.epoch)
            }
            Self::Taken { batch, .. } => write!(f, "a node took {batch:?}"),
            Self::Mined { batch, at, paid, unpaid, .. } => {
                write!(f, "{batch:?} is in block {} and pays {paid:?}, not {unpaid:?}", at.block)
            }
            Self::OrphanBatch(batch) => write!(f, "the block of {batch:?} is gone"),
            Self::Bury(batch) => write!(f, "bury {batch:?}"),
            Self::Include { key: known, at } => {
                write!(f, "transaction {} in block {} pays {}", short(at.tx.as_slice()), at.block, key(known))
            }
            Self::Orphan { id, block_hash } => {
                write!(f, "block {} with the transfer of {id:?} is gone", short(block_hash.as_slice()))
            }
            Self::Finalize { batches, payments } => write!(f, "{batches:?} and {payments:?} are final"),
            Self::Defer { id, retry } => write!(f, "defer {id:?} for {retry:?}"),
            Self::Fail(id) => write!(f, "fail {id:?}"),
            Self::Ask { id, facilitator } => write!(f, "ask facilitator {facilitator} about {id:?}"),
            Self::AskAgain(id) => write!(f, "ask about {id:?} again"),
            Self::Doubt(id) => write!(f, "no block shows {id:?}"),
            Self::Promise(id, tx) => write!(f, "{id:?} is promised in {tx:?}"),
            Self::Claim(id, tx) => write!(f, "{id:?} is said to be in {tx}"),
            Self::Decline { id, retry } => write!(f, "{id:?} is declined; again in {retry:?}"),
            Self::Recover => f.write_str("recover"),
            Self::TakeOver { patience } => write!(f, "take over what is dead for {patience:?}"),
            Self::Clock(by) => write!(f, "the clock moves by {by} ms"),
            Self::Crash => f.write_str("the process dies"),
        }
    }
}

fn told(origin: Origin) -> String {
    format!("{} from {}", short(origin.fingerprint.as_slice()), short(origin.client.as_slice()))
}

impl Step {
    fn tell_knock(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserve { new, hold } => write!(
                f,
                "reserve {} for {hold:?}: {} of a balance of {} to payee {}, call {}, offer {}, request {}, \
                 verified at block {}",
                key(&new.key),
                new.amount,
                new.balance,
                short(new.payee.as_slice()),
                new.call.data,
                new.offer,
                told(new.origin),
                new.verified_block,
            ),
            Self::Recall { key: known, calls, origin, hold } => write!(
                f,
                "recall {} for {hold:?} with calls {calls:?}, request {}",
                key(known),
                told(*origin)
            ),
            Self::RecallPayer { key: known, calls, origin, hold } => write!(
                f,
                "recall the payer of {} for {hold:?} with calls {calls:?}, request {}",
                key(known),
                told(*origin)
            ),
            _ => Ok(()),
        }
    }

    fn tell_use(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(grip) => write!(f, "release {grip}"),
            Self::Owe(grip, None) => write!(f, "owe {grip}, settle first"),
            Self::Owe(grip, Some(exposure)) => write!(
                f,
                "owe {grip} with exposure {} per payer, {} per offer",
                exposure.per_payer, exposure.per_offer
            ),
            Self::Waive(grip) => write!(f, "waive {grip}"),
            Self::StartDelivery(grip) => write!(f, "start the delivery of {grip}"),
            Self::FinishDelivery(grip) => write!(f, "finish the delivery of {grip}"),
            Self::LetGo(grip) => write!(f, "let {grip} go"),
            Self::Undeliver(grip) => write!(f, "take back the delivery of {grip}"),
            _ => Ok(()),
        }
    }
}
