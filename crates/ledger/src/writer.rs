//! The one thread that writes. Operations that arrive while a commit is being synced share the
//! next commit: that is all there is to group commit.

use crate::{
    Clock, LedgerError, PaymentId,
    op::Op,
    transition::Observer,
    txn::{News, Owner, PayeeKey, Txn},
};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;

/// Called with the commit's result; only then does the caller learn what happened.
type Finish = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;

/// Runs inside the transaction.
type Work = Box<dyn FnOnce(&Txn<'_>) -> Result<Finish, LedgerError> + Send>;

/// Told when the operation failed, or was not run because the transaction could not start or was
/// lost before its turn.
type Abandon = oneshot::Sender<LedgerError>;

enum Message {
    Write {
        op: Op,
        work: Work,
        abandon: Abandon,
    },
    /// Wakes `waker` when the payment changes, in this process or another.
    Watch {
        payment: PaymentId,
        waker: oneshot::Sender<()>,
    },
    Observe(Observer),
}

/// Operations waiting for the writer: above this the ledger is overloaded and callers wait for
/// room. Two groups' worth.
const QUEUE: usize = 2 * GROUP;

/// Operations in one commit: bounds how long the first of a group waits for the last.
const GROUP: usize = 1024;

/// How often another process's commits are looked for while somebody watches a payment.
const PEEK: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: SyncSender<Message>,
    /// Whether the last commit of something failed.
    failing: Arc<AtomicBool>,
}

impl Writer {
    pub(crate) fn start(
        db: Connection,
        clock: Clock,
        owner: Owner,
    ) -> Result<(Self, JoinHandle<()>), LedgerError> {
        let (queue, inbox) = sync_channel(QUEUE);
        let failing = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&failing);
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || {
                Loop {
                    db,
                    clock,
                    owner,
                    watched: HashMap::new(),
                    observers: Vec::new(),
                    data_version: 0,
                    payees: HashSet::new(),
                    failing: told,
                }
                .run(&inbox)
            })
            .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        Ok((Self { queue, failing }, thread))
    }

    /// Runs `work` in a transaction and returns what it returned once that is durable.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        op: Op,
        work: impl FnOnce(&Txn<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let (abandon, abandoned) = oneshot::channel();
        let work: Work = Box::new(move |txn| {
            let value = work(txn)?;
            Ok(Box::new(move |committed: Result<(), LedgerError>| {
                // The caller may have gone; what is committed stays committed.
                let _ = reply.send(committed.map(|()| value));
            }))
        });
        self.send(Message::Write { op, work, abandon }).await?;
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(abandoned.await.unwrap_or(LedgerError::Stopped)),
        }
    }

    pub(crate) async fn watch(&self, payment: PaymentId) -> Result<oneshot::Receiver<()>, LedgerError> {
        let (waker, woken) = oneshot::channel();
        self.send(Message::Watch { payment, waker }).await?;
        Ok(woken)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Fails when the ledger is at its limit already.
    pub(crate) fn observe(&self, observer: Observer) -> Result<(), LedgerError> {
        let full = |_| LedgerError::Unavailable("it has too much to do".to_owned());
        self.queue.try_send(Message::Observe(observer)).map_err(full)
    }

    async fn send(&self, message: Message) -> Result<(), LedgerError> {
        let mut message = message;
        loop {
            match self.queue.try_send(message) {
                Ok(()) => return Ok(()),
                Err(std::sync::mpsc::TrySendError::Disconnected(_)) => return Err(LedgerError::Stopped),
                Err(std::sync::mpsc::TrySendError::Full(back)) => {
                    message = back;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}

struct Loop {
    db: Connection,
    clock: Clock,
    owner: Owner,
    watched: HashMap<PaymentId, Vec<oneshot::Sender<()>>>,
    observers: Vec<Observer>,
    data_version: i64,
    /// Payees that this process has written, or found written.
    payees: HashSet<PayeeKey>,
    /// Whether the last commit failed.
    failing: Arc<AtomicBool>,
}

impl Loop {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let first = if self.watched.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(PEEK)
            };
            match first {
                Ok(message) => self.group(message, inbox),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.peek();
        }
    }

    /// Wakes everybody when another process has committed: they look for themselves.
    fn peek(&mut self) {
        if self.watched.is_empty() {
            return;
        }
        let version = self.db.pragma_query_value(None, "data_version", |row| row.get(0));
        match version {
            Ok(version) if version == self.data_version => {}
            Ok(version) => {
                self.data_version = version;
                for (_, wakers) in self.watched.drain() {
                    wakers.into_iter().for_each(wake);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for other processes' commits"),
        }
    }

    fn group(&mut self, first: Message, inbox: &Receiver<Message>) {
        let mut next = Some(first);
        let mut writes = Vec::new();
        while let Some(message) = next {
            match message {
                Message::Watch { payment, waker } => {
                    self.watched.retain(|_, wakers| {
                        wakers.retain(|waker| !waker.is_closed());
                        !wakers.is_empty()
                    });
                    self.watched.entry(payment).or_default().push(waker);
                }
                Message::Observe(observer) => self.observers.push(observer),
                Message::Write { op, work, abandon } => writes.push((op, work, abandon)),
            }
            next = if writes.len() < GROUP { inbox.try_recv().ok() } else { None };
        }
        if !writes.is_empty() {
            self.commit(writes);
        }
    }

    /// Says once that commits begin to fail, and once that they work again: with a full disk each
    /// request would say it.
    fn note(&mut self, error: Option<&LedgerError>) {
        match (error, self.failing.load(Ordering::Relaxed)) {
            (Some(error), false) => {
                tracing::error!(%error, "the ledger cannot commit; no payment is taken until it can");
            }
            (None, true) => tracing::info!("the ledger commits again"),
            (Some(error), true) => tracing::debug!(%error, "the ledger still cannot commit"),
            (None, false) => {}
        }
        self.failing.store(error.is_some(), Ordering::Relaxed);
    }

    fn commit(&mut self, writes: Vec<(Op, Work, Abandon)>) {
        let mut done = Vec::with_capacity(writes.len());
        let changes = self.db.total_changes();
        let mut queued;
        let mut refused = None;
        let result = {
            let reads_only = writes.iter().all(|(op, ..)| *op == Op::Read);
            queued = writes.into_iter();
            let begun = self.db.transaction_with_behavior(match reads_only {
                true => TransactionBehavior::Deferred,
                false => TransactionBehavior::Immediate,
            });
            match begun.map_err(LedgerError::from) {
                Ok(tx) => {
                    let txn = Txn::new(&tx, self.clock.now(), &self.owner, &self.payees);
                    let ran = run_all(&txn, &mut queued, &mut done, &mut refused);
                    let news = txn.into_news();
                    ran.and_then(|()| {
                        done.iter().for_each(|(op, ..)| obol_stop::reach(op.before_commit()));
                        tx.commit().map_err(LedgerError::from)
                    })
                    .map(|()| news)
                }
                Err(error) => Err(error),
            }
        };
        // A commit of nothing succeeds on a full disk, too, and where nothing may be written.
        let wrote = self.db.total_changes() > changes && done.iter().any(|(op, ..)| *op != Op::Read);
        if result.is_err() || wrote {
            self.note(result.as_ref().err());
        } else if refused.is_some() {
            self.note(refused.as_ref());
        }
        match result {
            Ok(News { touched, payees, transitions }) => {
                self.payees.extend(payees);
                done.iter().for_each(|(op, ..)| obol_stop::reach(op.after_commit()));
                // Before anybody acts on it: what was answered is counted.
                for observer in &self.observers {
                    transitions.iter().for_each(observer);
                }
                done.into_iter().for_each(|(_, finish, _)| finish(Ok(())));
                for wakers in touched.iter().filter_map(|payment| self.watched.remove(payment)) {
                    wakers.into_iter().for_each(wake);
                }
            }
            Err(error) => {
                done.into_iter().for_each(|(_, finish, _)| finish(Err(error.clone())));
                queued.for_each(|(_, _, abandon)| {
                    let _ = abandon.send(error.clone());
                });
            }
        }
    }
}

/// Runs the queued operations, each in a savepoint of its own: one that fails is undone and told
/// why, and the others of its group do not notice. `Err` when the whole transaction is lost. One that
/// the database would not write is `refused`.
fn run_all(
    txn: &Txn<'_>,
    queued: &mut std::vec::IntoIter<(Op, Work, Abandon)>,
    done: &mut Vec<(Op, Finish, Abandon)>,
    refused: &mut Option<LedgerError>,
) -> Result<(), LedgerError> {
    for (op, work, abandon) in queued.by_ref() {
        // Reading leaves nothing to undo.
        let ran = if op == Op::Read { work(txn) } else { txn.all_or_nothing(work) };
        match ran {
            Ok(finish) => done.push((op, finish, abandon)),
            Err(error) => {
                let _ = abandon.send(error.clone());
                if txn.is_lost() {
                    return Err(error);
                }
                if op != Op::Read && matches!(error, LedgerError::Unavailable(_)) {
                    *refused = Some(error.clone());
                }
                tracing::error!(%error, ?op, "an operation of the ledger failed; nothing of it is stored");
            }
        }
    }
    Ok(())
}

/// Whoever stopped waiting need not be told.
fn wake(waker: oneshot::Sender<()>) {
    let _ = waker.send(());
}
