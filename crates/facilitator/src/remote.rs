//! One task for each chain that facilitators of others settle on: it puts the questions that the
//! ledger has, and tells the ledger what they say and what the chain shows.
//!
//! As with the settler, the queue is the ledger, and what is in memory would be found out again.

mod ask;
mod complaints;
mod health;
mod panel;

pub(crate) use panel::Panel;

use crate::{
    SettlerState, Timing,
    lead::{Lead, Led},
    sight::{Sight, TickError},
    unseen::look_for_unseen,
    watcher::Watcher,
};
use alloy_primitives::Address;
use ask::{After, Asker};
use obol_core::Chain;
use obol_evm::Rpc;
use obol_facilitator_client::{AskError, Client};
use obol_ledger::{Ledger, LedgerError, PaymentId, Settler as Account};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, watch},
    task::{self, JoinSet},
};

pub(crate) struct Setup {
    pub(crate) ledger: Ledger,
    pub(crate) chain: Arc<Chain>,
    pub(crate) panel: Arc<Panel>,
    pub(crate) rpc: Option<Rpc>,
    pub(crate) timing: Timing,
    pub(crate) wake: Arc<Notify>,
    pub(crate) stopped: watch::Receiver<bool>,
}

/// Whether somebody waits for the answer, or has been told to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Again,
}

impl Turn {
    /// Questions of one chain that are out at once. Those that hang must not keep others from being put.
    const fn room(self) -> usize {
        match self {
            Self::First => 512,
            Self::Again => 32,
        }
    }
}

/// How often the ledger is asked for questions that nobody waits for.
const SURVEY: Duration = Duration::from_millis(500);

/// The first pause before a question is put again, and the longest: an authorization may never end.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60 * 60));

/// Rows of the ledger read at once.
const PAGE: u32 = 256;

/// How often a facilitator that answers is asked what it settles.
const COMPANY: Duration = Duration::from_secs(30);

/// How long the chain has to be seen before that is said: an endpoint that fails now and then would
/// otherwise be said twice each time.
const CALM: Duration = Duration::from_secs(60);

/// How long it may not be seen before no payment is taken.
const HICCUP: Duration = Duration::from_secs(3);

/// Nobody signs here: the lease is only for one process to ask. Who sees the chain does not wait for who
/// does not.
const SEEING: Address = Address::ZERO;
const BLIND: Address = Address::with_last_byte(1);

/// What a question that is open waits for.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Answer { tries: u32 },
    Until { when: Instant, tries: u32 },
}

struct Remote {
    asker: Asker,
    lead: Lead,
    leads: watch::Sender<bool>,
    /// Whether the chain can be watched.
    sees: watch::Receiver<bool>,
    state: watch::Sender<SettlerState>,
    asking: JoinSet<Result<After, TickError>>,
    /// Which payment each of them is about.
    out: HashMap<task::Id, (PaymentId, Turn)>,
    waits: HashMap<PaymentId, Wait>,
    survey_at: Instant,
    failing: bool,
}

pub(crate) fn start(setup: Setup) -> watch::Receiver<SettlerState> {
    let (state, seen) = watch::channel(SettlerState::Starting);
    let (leads, led) = watch::channel(false);
    let (seeing, sees) = watch::channel(true);
    let sight =
        setup.rpc.map(|rpc| Sight { ledger: setup.ledger.clone(), chain: Arc::clone(&setup.chain), rpc });
    let account = if sight.is_some() { SEEING } else { BLIND };
    let account = Account { chain: setup.chain.id, account };
    if let Some(sight) = &sight {
        tokio::spawn(keep_watch(Watcher::new(sight.clone()), led, seeing, setup.stopped.clone()));
        tokio::spawn(look_for_unseen(sight.clone(), setup.stopped.clone()));
    }
    for client in setup.panel.clients() {
        let (panel, chain) = (Arc::clone(&setup.panel), Arc::clone(&setup.chain));
        tokio::spawn(keep_company(client.clone(), panel, chain, setup.stopped.clone()));
    }
    let remote = Remote {
        lead: Lead::new(setup.ledger.clone(), account, setup.timing.lease),
        asker: Asker {
            ledger: setup.ledger,
            chain: setup.chain,
            panel: setup.panel,
            sight,
            timing: setup.timing,
        },
        leads,
        sees,
        state,
        asking: JoinSet::new(),
        out: HashMap::new(),
        waits: HashMap::new(),
        survey_at: Instant::now(),
        failing: false,
    };
    tokio::spawn(remote.run(setup.wake, setup.stopped));
    seen
}

impl Remote {
    async fn run(mut self, wake: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow_and_update() {
            let ticked = self.tick().await;
            self.note(ticked);
            tokio::select! {
                () = tokio::time::sleep(SURVEY) => {}
                () = wake.notified() => {}
                Some(ended) = self.asking.join_next_with_id() => self.end(ended),
                changed = stopped.changed() => {
                    // The facilitator was dropped without a word.
                    if changed.is_err() {
                        break;
                    }
                }
            }
        }
        // A question whose answer nobody hears is put again by the next process.
        self.asking.shutdown().await;
        self.lead.end().await;
    }

    fn note(&mut self, ticked: Result<(), TickError>) {
        let next = match &ticked {
            Ok(()) if !*self.sees.borrow() => SettlerState::RpcDown,
            Ok(()) if *self.leads.borrow() => SettlerState::Leading,
            Ok(()) => SettlerState::Following,
            Err(TickError::Ledger(_)) => SettlerState::LedgerDown,
            Err(TickError::Rpc(_) | TickError::WrongChain { .. }) => SettlerState::RpcDown,
        };
        if let Err(error) = &ticked
            && !self.failing
        {
            tracing::error!(chain = %self.asker.chain.id, %error,
                "settlement waits; what is due stays in the ledger");
        }
        self.failing = ticked.is_err();
        self.state.send_if_modified(|state| std::mem::replace(state, next) != next);
    }

    async fn tick(&mut self) -> Result<(), TickError> {
        // Whose endpoint is out of order sees no more than who has none, and keeps nobody from asking.
        if !*self.sees.borrow() {
            self.leads.send_if_modified(|known| std::mem::replace(known, false));
            self.lead.end().await;
            return Ok(());
        }
        let leads = self.lead.hold().await? != Led::ByAnother && !self.is_outseen().await?;
        self.leads.send_if_modified(|known| std::mem::replace(known, leads) != leads);
        if !leads {
            return Ok(());
        }
        let (ledger, chain) = (self.asker.ledger.clone(), self.asker.chain.id);
        for question in ledger.due_questions(chain, PAGE).await? {
            self.send(question.record.id, Turn::First, |asker| asker.first(question));
        }
        if Instant::now() >= self.survey_at {
            self.survey_at = Instant::now() + SURVEY;
            let open = ledger.open_questions(chain).await?;
            let known: HashSet<_> = open.iter().copied().collect();
            self.waits.retain(|id, wait| match wait {
                Wait::Answer { .. } => true,
                Wait::Until { when, .. } => *when > Instant::now() || known.contains(id),
            });
            for id in open {
                self.send(id, Turn::Again, |asker| asker.again(id));
            }
        }
        Ok(())
    }

    /// Whether another process asks, which sees the chain when this one does not.
    async fn is_outseen(&self) -> Result<bool, LedgerError> {
        if self.asker.sight.is_some() {
            return Ok(false);
        }
        let seeing = Account { chain: self.asker.chain.id, account: SEEING };
        Ok(self.asker.ledger.epoch_in_force(seeing, self.asker.timing.lease).await?.is_some())
    }

    /// Puts a question whose time has come, when there is room.
    fn send<F>(&mut self, id: PaymentId, turn: Turn, put: impl FnOnce(Arc<Asker>) -> F)
    where
        F: Future<Output = Result<After, TickError>> + Send + 'static,
    {
        let tries = match self.waits.get(&id) {
            Some(Wait::Answer { .. }) => return,
            Some(Wait::Until { when, .. }) if *when > Instant::now() => return,
            Some(Wait::Until { tries, .. }) => *tries,
            None => 0,
        };
        let out = self.out.values().filter(|(_, other)| *other == turn).count();
        if out >= turn.room() {
            return;
        }
        self.waits.insert(id, Wait::Answer { tries: tries + 1 });
        let asking = self.asking.spawn(put(Arc::new(self.asker.clone())));
        self.out.insert(asking.id(), (id, turn));
    }

    fn end(&mut self, ended: Result<(task::Id, Result<After, TickError>), task::JoinError>) {
        let chain = self.asker.chain.id;
        let (task, ended) = match ended {
            Ok((task, ended)) => (task, ended),
            Err(error) => {
                tracing::error!(%chain, %error, "a question died");
                (error.id(), Ok(After::Again))
            }
        };
        let Some((id, _)) = self.out.remove(&task) else { return };
        match ended {
            Ok(After::Ended) => {
                self.waits.remove(&id);
                return;
            }
            Ok(After::Again) => {}
            Err(error) => tracing::debug!(%chain, payment = id.0, %error, "a question waits"),
        }
        let Some(Wait::Answer { tries }) = self.waits.get(&id).copied() else { return };
        let (first, longest) = PAUSES;
        let pause = first.saturating_mul(2u32.saturating_pow(tries.saturating_sub(1))).min(longest);
        self.waits.insert(id, Wait::Until { when: Instant::now() + pause, tries });
    }
}

/// Asks a facilitator now and then what it settles, and says early what would otherwise show as refused
/// payments.
async fn keep_company(
    client: Client,
    panel: Arc<Panel>,
    chain: Arc<Chain>,
    mut stopped: watch::Receiver<bool>,
) {
    let (chain, facilitator) = (chain.id, client.url());
    let mut settles = None;
    while !*stopped.borrow_and_update() {
        let asked_at = Instant::now();
        let pause = match client.supported().await {
            Ok(supported) => {
                panel.present(&client);
                let now = Some(supported.chains.contains(&chain));
                match now {
                    _ if settles == now => {}
                    Some(true) => tracing::info!(%chain, %facilitator, "this facilitator settles"),
                    _ => tracing::error!(%chain, %facilitator,
                        "the facilitator does not say that it settles exact payments of version 2 on this chain"),
                }
                settles = now;
                COMPANY
            }
            // It is there.
            Err(AskError::Busy) => COMPANY,
            Err(error) => panel.absent(&client, &error, asked_at),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = stopped.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Takes back what is in blocks that are gone, and makes final what no longer moves.
async fn keep_watch(
    mut watcher: Watcher,
    leads: watch::Receiver<bool>,
    sees: watch::Sender<bool>,
    mut stopped: watch::Receiver<bool>,
) {
    let pause = Duration::from_millis(watcher.sight.chain.block_millis.clamp(250, 1_000));
    let mut failed_at: Option<Instant> = None;
    let mut well_at = Instant::now();
    let (mut led, mut well) = (false, true);
    while !*stopped.borrow_and_update() {
        let leading = *leads.borrow();
        if leading && !led {
            watcher.forget();
        }
        led = leading;
        // Who gave the lead away for not seeing anything has to find out that it sees again.
        let looked = if leading || !well { look(&mut watcher).await } else { Ok(()) };
        match looked {
            Ok(()) => {
                well_at = Instant::now();
                if failed_at.is_some_and(|last| last.elapsed() >= CALM) {
                    failed_at = None;
                    tracing::info!(chain = %watcher.sight.chain.id, "the chain can be watched again");
                }
            }
            Err(error) => {
                if failed_at.is_none() {
                    tracing::error!(chain = %watcher.sight.chain.id, endpoint = watcher.sight.rpc.shown(), %error,
                        "cannot watch the chain");
                }
                failed_at = Some(Instant::now());
            }
        }
        well = well_at.elapsed() < HICCUP;
        sees.send_if_modified(|known| std::mem::replace(known, well) != well);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = stopped.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

async fn look(watcher: &mut Watcher) -> Result<(), TickError> {
    let head = watcher.sight.read_head().await?;
    let number = head.number.to::<u64>();
    watcher.head = Some(head);
    watcher.drop_orphans(&[]).await?;
    let Some(last) = watcher.sight.final_block(number).await? else { return Ok(()) };
    let last = last.number.to::<u64>();
    watcher.finalize_up_to(&[], last).await?;
    watcher.look_for_strangers(last).await
}
