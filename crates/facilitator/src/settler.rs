//! One task for each chain that sends what is due and tells the ledger what the chain shows.
//!
//! The queue is the ledger, and so is the memory: the task can die between any two lines. What
//! it holds in memory is only what the next tick would read again.

mod finality;
mod judge;
mod purse;
mod send;
mod watch_chain;
mod yielding;

use crate::{
    GasCeilings, Timing,
    lead::{Lead, Led},
    sight::{Sight, TickError},
    unseen::look_for_unseen,
    watcher::Watcher,
};
use obol_core::{Chain, Reason};
use obol_evm::{Key, Rpc};
use obol_ledger::{BatchState, Ledger, Settler as Account};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};
use yielding::{BLIND, Turn, Yielding};

macro_rules! settler_states {
    ($( $(#[$doc:meta])* $name:ident $text:literal, )*) => {
        /// What a settler can do at the moment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum SettlerState { $( $(#[$doc])* $name, )* }

        impl SettlerState {
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }
        }
    };
}

settler_states! {
    Starting "starting",
    /// Sends for this account.
    Leading "leading",
    /// Another process on this ledger sends.
    Following "following",
    /// The account cannot pay for the next transaction.
    NoGas "no_gas",
    /// Gas costs more than the configured ceiling.
    TooExpensive "too_expensive",
    /// The chain's nonce is ahead of the ledger's: another program uses the key.
    KeyShared "key_shared",
    /// The chain does not have a transaction that was final: it is another chain, or a new one.
    ChainLost "chain_lost",
    /// The endpoint does not answer as it should.
    RpcDown "rpc_down",
    /// No facilitator that settles on this chain answers as it should.
    FacilitatorDown "facilitator_down",
    /// The ledger cannot be used.
    LedgerDown "ledger_down",
    /// Stopped, or dead of a defect.
    Ended "ended",
}

impl SettlerState {
    /// Why no new payment is taken, if none is: at once, rather than when each has waited for an
    /// answer that does not come.
    pub const fn blocks(self) -> Option<(Reason, &'static str)> {
        match self {
            Self::Starting | Self::Leading | Self::Following => None,
            Self::RpcDown => {
                Some((Reason::ChainUnavailable, "the chain's endpoint does not answer as it should"))
            }
            Self::FacilitatorDown => {
                Some((Reason::FacilitatorUnavailable, "no facilitator answers as it should"))
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
    lead: Lead,
    watch: Watcher,
    survey_at: Instant,
    rebroadcast_at: Instant,
    /// How often in a row the chain's next nonce was one that nothing of ours is out for.
    gaps: u32,
    /// How often in a row the chain did not have what was final.
    misses: u32,
    /// What ticks fail of at the moment, so that it is said once.
    failing: Option<(SettlerState, Instant)>,
    /// When a tick last succeeded.
    well_at: Instant,
    /// It leaves the lead to others, since its endpoint fails.
    yielding: Option<Yielding>,
    /// When an account that does not send was last looked at.
    looked_at: Option<Instant>,
    /// Whether the gas money was low when it was last looked at.
    low: bool,
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
        key: setup.key,
        gas: setup.gas,
        timing: setup.timing,
        account,
        state,
        lead: Lead::new(setup.ledger.clone(), account, setup.timing.lease),
        watch: Watcher::new(Sight {
            ledger: setup.ledger.clone(),
            chain: Arc::clone(&setup.chain),
            rpc: setup.rpc.clone(),
        }),
        ledger: setup.ledger,
        chain: setup.chain,
        rpc: setup.rpc,
        survey_at: now,
        rebroadcast_at: now,
        gaps: 0,
        misses: 0,
        failing: None,
        well_at: now,
        yielding: None,
        looked_at: None,
        low: false,
    };
    let chain = settler.chain.id;
    tokio::spawn(look_for_unseen(settler.watch.sight.clone(), setup.stopped.clone()));
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
    /// The lead is left to others: nothing was looked at.
    Yielding,
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
                // Nothing is known to be well before it has led through a whole tick.
                Ok(_) if self.yielding.is_some() && self.lead.lease().is_none() => self.idle(),
                Ok(pace) => {
                    failures = 0;
                    self.yielding = None;
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
                    self.give_way(&error).await;
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
        self.lead.end().await;
    }

    /// Watching starts fast, for chains that mine at once, and slows to an eighth of a block.
    fn pause(&self, pace: Pace, quiet_ticks: u32) -> Duration {
        let eighth = Duration::from_millis((self.chain.block_millis / 8).max(20));
        match pace {
            Pace::Moving => Duration::from_millis(1),
            Pace::Watching => {
                (Duration::from_millis(5) * 2u32.saturating_pow(quiet_ticks.min(10))).min(eighth)
            }
            Pace::Idle | Pace::Yielding => self.idle(),
        }
    }

    /// How often a process looks that has nothing to do, such as whether it may lead.
    fn idle(&self) -> Duration {
        let eighth = Duration::from_millis(self.chain.block_millis / 8);
        eighth.max(Duration::from_millis(250)).min(self.timing.lease / 3)
    }

    async fn tick(&mut self) -> Result<Pace, TickError> {
        if let Some(yielding) = &mut self.yielding {
            match yielding
                .turn(self.ledger.epoch_in_force(self.account, self.timing.lease).await?, Instant::now())
            {
                Turn::Wait => return Ok(Pace::Yielding),
                Turn::Follow => self.yielding = None,
                Turn::TryAgain => {}
            }
        }
        if self.lead().await? == Led::ByAnother {
            // It was taken between two looks: whether by one that sees is not known.
            if self.yielding.is_some() {
                return Ok(Pace::Yielding);
            }
            self.follow().await?;
            return Ok(Pace::Idle);
        }
        let watched = self.watch_chain().await?;
        // Nodes may have forgotten the transactions: they get the same bytes, at once.
        if let Some(at) = self.watch.taken_back.take() {
            self.rebroadcast_at = at;
        }
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

    /// Who cannot see leaves the lead to others for a while, each time that it finds out. Only a whole tick
    /// as leader shows that it sees again: an endpoint may fail in some calls and not in others.
    async fn give_way(&mut self, error: &TickError) {
        let blind = !matches!(error, TickError::Ledger(_)) && self.well_at.elapsed() >= BLIND;
        if blind && self.lead.lease().is_some() {
            self.yielding = Some(Yielding::new(self.idle(), Instant::now()));
            self.lead.end().await;
        }
    }

    /// What this process is to the settler's account when nothing is in the way.
    const fn part(&self) -> SettlerState {
        if self.lead.lease().is_some() { SettlerState::Leading } else { SettlerState::Following }
    }

    /// Whether this process sends.
    async fn lead(&mut self) -> Result<Led, TickError> {
        let led = self.lead.hold().await?;
        if matches!(led, Led::Anew | Led::Again) {
            // Who has given the lead away, and tries whether it sees again, does so often.
            if self.yielding.is_none() {
                tracing::info!(chain = %self.chain.id, settler = %self.account.account,
                    epoch = self.lead.lease().map(|lease| lease.epoch), "sends for this settler");
            }
            // What took longer than a lease must not have to be done again for each.
            if led == Led::Anew {
                self.watch.forget();
            }
            self.gaps = 0;
            self.rebroadcast_at = Instant::now();
        }
        Ok(led)
    }

    /// The lease is not this process's any more: stop sending until it is again.
    fn fenced(&mut self) {
        tracing::warn!(chain = %self.chain.id, "another process has taken the settler's lease");
        self.lead.lose();
        self.looked_at = None;
        self.gaps = 0;
        self.enter(SettlerState::Following);
    }

    /// Logs a change of state once, not each tick.
    fn enter(&self, next: SettlerState) {
        // What is only a part of a tick's work says nothing of the rest.
        if self.yielding.is_some() && next.blocks().is_none() {
            return;
        }
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
            TickError::Rpc(_) | TickError::WrongChain { .. } => SettlerState::RpcDown,
            TickError::Ledger(_) => SettlerState::LedgerDown,
        };
        if self.failing.is_none_or(|(known, _)| known != next) {
            match error {
                TickError::Ledger(error) => tracing::error!(chain = %self.chain.id, %error,
                    "settlement waits for the ledger"),
                TickError::Rpc(_) | TickError::WrongChain { .. } => tracing::error!(chain = %self.chain.id,
                    endpoint = self.rpc.shown(), %error, "settlement waits; what is due stays in the ledger"),
            }
        }
        let known = self.failing.replace((next, Instant::now())).is_some_and(|(known, _)| known == next);
        let found = self.state.borrow().is_found();
        if !found && self.well_at.elapsed() >= HICCUP {
            if known && *self.state.borrow() != next {
                tracing::warn!(chain = %self.chain.id, endpoint = self.rpc.shown(), %error,
                    "settlement waits again; what is due stays in the ledger");
            }
            self.enter(next);
        }
    }
}
