//! One task for each chain that sends what is due and tells the ledger what the chain shows.
//!
//! The queue is the ledger, and so is the memory: the task can die between any two lines. What
//! it holds in memory is only what the next tick would read again.

mod finality;
mod judge;
mod places;
mod purse;
mod send;
mod watch_chain;

pub(crate) use watch_chain::{inclusion, pays};

use crate::{GasCeilings, Timing, range::Range};
use alloy_primitives::B256;
use obol_core::{Chain, Reason};
use obol_evm::{Key, Rpc, RpcError};
use obol_ledger::{BatchState, Lease, Leased, Ledger, LedgerError, Settler as Account, Timestamp};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};

/// What a settler can do at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettlerState {
    Starting,
    /// Sends for this account.
    Leading,
    /// Another process on this ledger sends.
    Following,
    /// The account cannot pay for the next transaction.
    NoGas,
    /// Gas costs more than the configured ceiling.
    TooExpensive,
    /// The chain's nonce is ahead of the ledger's: another program uses the key.
    KeyShared,
    /// The chain does not have a transaction that was final: it is another chain, or a new one.
    ChainLost,
    /// The endpoint does not answer as it should.
    RpcDown,
    /// The ledger cannot be used.
    LedgerDown,
    /// Stopped, or dead of a defect.
    Ended,
}

impl SettlerState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Leading => "leading",
            Self::Following => "following",
            Self::NoGas => "no_gas",
            Self::TooExpensive => "too_expensive",
            Self::KeyShared => "key_shared",
            Self::ChainLost => "chain_lost",
            Self::RpcDown => "rpc_down",
            Self::LedgerDown => "ledger_down",
            Self::Ended => "ended",
        }
    }

    /// Why no new payment is taken, if none is: at once, rather than when each has waited for an
    /// answer that does not come.
    pub const fn blocks(self) -> Option<(Reason, &'static str)> {
        match self {
            Self::Starting | Self::Leading | Self::Following => None,
            Self::RpcDown => {
                Some((Reason::ChainUnavailable, "the chain's endpoint does not answer as it should"))
            }
            Self::LedgerDown => Some((Reason::LedgerUnavailable, "the ledger fails at the moment")),
            Self::NoGas => Some((Reason::SettlerUnavailable, "the settler account has too little gas money")),
            Self::TooExpensive => {
                Some((Reason::SettlerUnavailable, "gas costs more than the configured ceiling"))
            }
            Self::KeyShared => Some((
                Reason::SettlerUnavailable,
                "the settler key is used by another program; it has to be the verifier's alone",
            )),
            Self::ChainLost => Some((
                Reason::SettlerUnavailable,
                "the chain does not have a transaction of the settler's that was final; is the endpoint \
                 another chain's, or was the chain started anew? A new chain needs a new ledger",
            )),
            Self::Ended => Some((Reason::SettlerUnavailable, "the settler has ended")),
        }
    }

    /// Whether this is a finding about the account or the chain, which only another finding ends.
    const fn is_found(self) -> bool {
        matches!(self, Self::NoGas | Self::TooExpensive | Self::KeyShared | Self::ChainLost)
    }
}

/// What stopped a tick. The next one begins afresh.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum TickError {
    #[error("chain endpoint: {0}")]
    Rpc(#[from] RpcError),
    #[error("the endpoint serves eip155:{0}")]
    WrongChain(u64),
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

pub(crate) struct Setup {
    pub(crate) ledger: Ledger,
    pub(crate) chain: Arc<Chain>,
    pub(crate) rpc: Rpc,
    pub(crate) key: Key,
    pub(crate) gas: GasCeilings,
    pub(crate) timing: Timing,
    pub(crate) wake: Arc<Notify>,
    pub(crate) stopped: watch::Receiver<bool>,
}

pub(crate) struct Settler {
    ledger: Ledger,
    chain: Arc<Chain>,
    rpc: Rpc,
    key: Key,
    gas: GasCeilings,
    timing: Timing,
    account: Account,
    state: watch::Sender<SettlerState>,
    lease: Option<Lease>,
    renew_at: Instant,
    survey_at: Instant,
    rebroadcast_at: Instant,
    /// How often in a row the chain's next nonce was one that nothing of ours is out for.
    gaps: u32,
    /// How often in a row the chain did not have what was final.
    misses: u32,
    /// What ticks fail of at the moment, so that it is said once.
    failing: Option<(SettlerState, Instant)>,
    /// When the search for transfers by others last failed.
    searching: Option<Instant>,
    /// When a tick last succeeded.
    well_at: Instant,
    /// When an account that does not send was last looked at.
    looked_at: Option<Instant>,
    /// Whether the gas money was low when it was last looked at.
    low: bool,
    head: Option<obol_evm::Block>,
    /// The last head under which every block of the ledger's was on the chain.
    vouched: Option<(u64, B256)>,
    /// When a reorganisation last took settlements back: they wait anew since then.
    reopened_at: Timestamp,
    /// Blocks in the next search for events.
    range: Range,
    /// Transactions that the last searches found, by block: each is looked into once.
    strangers: BTreeSet<(u64, B256)>,
}

/// How often what is already final is noted.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// The longest pause after an error.
const PAUSE: Duration = Duration::from_secs(2);

/// How long something has to work before it is said to: an endpoint that fails now and then would
/// otherwise be said twice each time.
const CALM: Duration = Duration::from_secs(60);

/// How long ticks may fail before no payment is taken: endpoints have hiccups.
const HICCUP: Duration = Duration::from_secs(1);

/// How often an account is looked at that another process sends for.
const LOOK_AROUND: Duration = Duration::from_secs(5);

pub(crate) fn start(setup: Setup) -> watch::Receiver<SettlerState> {
    let (state, seen) = watch::channel(SettlerState::Starting);
    let account = Account { chain: setup.chain.id, account: setup.key.address() };
    let now = Instant::now();
    let settler = Settler {
        ledger: setup.ledger,
        chain: setup.chain,
        rpc: setup.rpc,
        key: setup.key,
        gas: setup.gas,
        timing: setup.timing,
        account,
        state,
        lease: None,
        renew_at: now,
        survey_at: now,
        rebroadcast_at: now,
        head: None,
        gaps: 0,
        misses: 0,
        failing: None,
        searching: None,
        well_at: now,
        looked_at: None,
        low: false,
        vouched: None,
        reopened_at: Timestamp(0),
        range: Range::default(),
        strangers: BTreeSet::new(),
    };
    let chain = settler.chain.id;
    let running = tokio::spawn(settler.run(setup.wake, setup.stopped));
    tokio::spawn(async move {
        if let Err(error) = running.await {
            tracing::error!(%chain, %error,
                "the settler died; no new payments are taken on this chain; restart to settle what is due");
        }
    });
    seen
}

/// What a tick found to do, which decides when the next one comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pace {
    Idle,
    /// Transactions are out: watch at the chain's pace.
    Watching,
    /// Something moved: look again at once.
    Moving,
}

impl Settler {
    async fn run(mut self, wake: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
        let mut quiet_ticks = 0;
        let mut failures = 0;
        while !*stopped.borrow_and_update() {
            let pause = match self.tick().await {
                Ok(pace) => {
                    failures = 0;
                    self.well_at = Instant::now();
                    if self.failing.is_some_and(|(_, last)| last.elapsed() >= CALM) {
                        self.failing = None;
                        tracing::info!(chain = %self.chain.id, "settlement goes on");
                    }
                    quiet_ticks = if pace == Pace::Moving { 0 } else { quiet_ticks + 1 };
                    self.pause(pace, quiet_ticks)
                }
                Err(error) => {
                    failures += 1;
                    self.note_failure(&error);
                    (Duration::from_millis(50) * failures.min(40)).min(PAUSE)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = wake.notified() => {
                    quiet_ticks = 0;
                    tokio::time::sleep(self.timing.gather).await;
                }
                changed = stopped.changed() => {
                    // The facilitator was dropped without a word.
                    if changed.is_err() {
                        break;
                    }
                }
            }
        }
        if let Some(lease) = self.lease.take()
            && let Err(error) = self.ledger.end_lease(lease).await
        {
            tracing::warn!(chain = %self.chain.id, %error, "the lease stays until it expires");
        }
    }

    /// Watching starts fast, for chains that mine at once, and slows to an eighth of a block.
    fn pause(&self, pace: Pace, quiet_ticks: u32) -> Duration {
        let eighth = Duration::from_millis((self.chain.block_millis / 8).max(20));
        match pace {
            Pace::Moving => Duration::from_millis(1),
            Pace::Watching => {
                (Duration::from_millis(5) * 2u32.saturating_pow(quiet_ticks.min(10))).min(eighth)
            }
            Pace::Idle => eighth.max(Duration::from_millis(250)).min(self.timing.lease / 3),
        }
    }

    async fn tick(&mut self) -> Result<Pace, TickError> {
        if !self.lead().await? {
            self.follow().await?;
            return Ok(Pace::Idle);
        }
        let watched = self.watch_chain().await?;
        let sent = self.send().await?;
        Ok(watched.max(sent))
    }

    /// Another process sends. What keeps it from sending keeps this one from selling.
    async fn follow(&mut self) -> Result<(), TickError> {
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_AROUND) {
            let live = self.ledger.live_batches(self.account).await?;
            let open: Vec<_> = live.into_iter().filter(|batch| batch.state == BatchState::Open).collect();
            self.look_around(&open).await?;
            self.looked_at = Some(Instant::now());
        }
        Ok(())
    }

    /// What this process is to the settler's account when nothing is in the way.
    const fn part(&self) -> SettlerState {
        if self.lease.is_some() { SettlerState::Leading } else { SettlerState::Following }
    }

    /// The newest block, from an endpoint that serves this chain: what another one says about
    /// nonces, receipts and blocks would take back everything.
    async fn read_head(&self) -> Result<obol_evm::Block, TickError> {
        let (chain, head) = self.rpc.head().await?;
        if chain == self.chain.id.reference() { Ok(head) } else { Err(TickError::WrongChain(chain)) }
    }

    /// Takes or renews the lease.
    async fn lead(&mut self) -> Result<bool, TickError> {
        if self.lease.is_some() && Instant::now() < self.renew_at {
            return Ok(true);
        }
        let asked_at = Instant::now();
        match self.ledger.lease(self.account, self.timing.lease).await? {
            Leased::Mine(lease) => {
                if self.lease != Some(lease) {
                    tracing::info!(chain = %self.chain.id, settler = %self.account.account, epoch = lease.epoch,
                        "sends for this settler");
                    // Another sender may have moved everything since this one last looked.
                    self.head = None;
                    self.vouched = None;
                    self.gaps = 0;
                    self.rebroadcast_at = asked_at;
                }
                self.lease = Some(lease);
                self.renew_at = asked_at + self.timing.lease / 3;
                Ok(true)
            }
            Leased::HeldBy { holder, .. } => {
                if self.lease.take().is_some() {
                    tracing::warn!(chain = %self.chain.id, holder, "lost the lease of the settler");
                }
                Ok(false)
            }
        }
    }

    /// The lease is not this process's any more: stop sending until it is again.
    fn fenced(&mut self) {
        tracing::warn!(chain = %self.chain.id, "another process has taken the settler's lease");
        self.lease = None;
        self.looked_at = None;
        self.gaps = 0;
        self.enter(SettlerState::Following);
    }

    /// Logs a change of state once, not each tick.
    fn enter(&self, next: SettlerState) {
        self.state.send_if_modified(|state| {
            if *state == next {
                return false;
            }
            match next.blocks() {
                Some((_, why)) => {
                    tracing::error!(chain = %self.chain.id, settler = %self.account.account, why,
                    "cannot settle; no new payments are taken on this chain")
                }
                None => tracing::info!(chain = %self.chain.id, from = ?*state, to = ?next, "settler"),
            }
            *state = next;
            true
        });
    }

    fn note_failure(&mut self, error: &TickError) {
        let next = match error {
            TickError::Rpc(_) | TickError::WrongChain(_) => SettlerState::RpcDown,
            TickError::Ledger(_) => SettlerState::LedgerDown,
        };
        if self.failing.is_none_or(|(known, _)| known != next) {
            match error {
                TickError::Ledger(error) => tracing::error!(chain = %self.chain.id, %error,
                    "settlement waits for the ledger"),
                TickError::Rpc(_) | TickError::WrongChain(_) => tracing::error!(chain = %self.chain.id,
                    endpoint = self.rpc.shown(), %error, "settlement waits; what is due stays in the ledger"),
            }
        }
        self.failing = Some((next, Instant::now()));
        let found = self.state.borrow().is_found();
        if !found && self.well_at.elapsed() >= HICCUP {
            self.enter(next);
        }
    }
}
