//! A ledger and its model, driven by the same steps.

use crate::{
    check,
    choose::{self, Chooser, Hands, Held},
    draw::Draw,
    perform::{self, Hold},
    rules::{Model, Process},
    step::{Grip, Step, Told},
};
use obol_ledger::{Books, Census, Clock, Lease, Ledger, LedgerError, PaymentId, Place};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// How many steps of the past a failure tells.
const REMEMBERED: usize = 12;

/// The most requests that are sent without waiting for an answer.
const BURST: u64 = 12;

/// Just before midnight, so that steps of seconds cross into another day.
const START: i64 = 1_799_999_990_000;

const DAY: i64 = 86_400_000;

type Answer = Result<(Told, Option<Hold>), LedgerError>;

/// A request on its way.
struct Sent {
    step: Step,
    /// The hold that the answer comes with, if it comes with one.
    grip: Option<Grip>,
    expected: Told,
    answer: JoinHandle<Answer>,
}

pub(crate) struct World {
    ledgers: Vec<Ledger>,
    censuses: Vec<Census>,
    clock: Arc<AtomicI64>,
    file: Option<PathBuf>,
    pub(crate) model: Model,
    hands: Hands,
    draw: Draw,
    transactions: u64,
    past: VecDeque<(String, Step)>,
    /// How many lines of each payment's story have been compared.
    pub(crate) compared: BTreeMap<i64, usize>,
    /// How often each payment was given out for delivery.
    pub(crate) deliveries: BTreeMap<i64, usize>,
    /// Sums, kept up to date from check to check.
    pub(crate) books: Books,
    checks: u64,
    /// Every step with every kind of answer that was seen.
    pub(crate) seen: BTreeSet<String>,
}

impl World {
    /// With one process on a ledger in memory, or several on one file.
    pub(crate) fn new(seed: u64, file: Option<&Path>, processes: usize) -> Self {
        let mut world = Self {
            ledgers: Vec::new(),
            censuses: Vec::new(),
            clock: Arc::new(AtomicI64::new(START)),
            file: file.map(Path::to_owned),
            model: Model { now: START, ..Model::default() },
            hands: Hands::default(),
            draw: Draw::new(seed),
            transactions: 0,
            past: VecDeque::new(),
            compared: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            books: Books::default(),
            checks: 0,
            seen: BTreeSet::new(),
        };
        for number in 0..processes {
            let (ledger, process) = world.enrol(format!("gate-{number}"));
            world.ledgers.push(ledger);
            world.censuses.push(Census::default());
            world.model.processes.push(process);
        }
        world
    }

    fn enrol(&mut self, name: String) -> (Ledger, Process) {
        let place = self.file.as_deref().map_or(Place::Memory, Place::File);
        let ledger = Ledger::open(&place, Clock::Manual(self.clock.clone()), name.clone()).expect("a ledger");
        self.model.enrolled += 1;
        self.model.beats.insert(self.model.enrolled, 1);
        (ledger, Process { name, number: self.model.enrolled, seen: BTreeMap::new() })
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledgers[self.model.actor]
    }

    /// How many lines of its story have been compared.
    pub(crate) fn compared(&self, id: PaymentId) -> usize {
        self.compared.get(&id.0).copied().unwrap_or(0)
    }

    /// Takes that many steps. `Err` says what differed, after which steps.
    pub(crate) async fn walk(&mut self, steps: u64) -> Result<(), String> {
        let mut taken = 0;
        while taken < steps {
            taken += self.advance().await.map_err(|why| self.told(&why))?;
        }
        check::everything(self).await.map_err(|why| self.told(&why))
    }

    fn told(&self, why: &str) -> String {
        let past: Vec<_> = self.past.iter().map(|(who, step)| format!("  - {who}: {step}\n")).collect();
        format!("{why}\nafter the steps\n{}", past.concat())
    }

    async fn advance(&mut self) -> Result<u64, String> {
        self.model.actor = usize::try_from(self.draw.below(self.ledgers.len() as u64)).expect("few");
        // Among several a process has somebody to take over.
        let kinds = if self.ledgers.len() > 1 { 120 } else { 100 };
        let (taken, sent) = match self.draw.below(kinds) {
            0..70 => self.send(),
            70..95 => (self.pass_time(), Vec::new()),
            95..98 => (self.crash(), Vec::new()),
            _ => (self.take_over().await?, Vec::new()),
        };
        // Asked before the first answer is looked at: the ledger keeps the order of requests.
        let asked = check::ask(self);
        for Sent { step, grip, expected, answer } in sent {
            let answer = answer.await.map_err(|error| error.to_string())?;
            self.compare(&step, grip, &expected, answer)?;
        }
        check::rows(self, asked).await?;
        self.checks += 1;
        if self.checks.is_multiple_of(8) {
            check::batches(self).await?;
        }
        Ok(taken)
    }

    fn note(&mut self, step: &Step) {
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back((self.model.me().name.clone(), step.clone()));
    }

    fn pass_time(&mut self) -> u64 {
        let by = self.draw.weighted(&[
            (60, 400),
            (25, 3_000),
            (10, 25_000),
            (4, -1_500),
            (1, -25_000),
            (1, DAY),
            (1, -DAY),
        ]);
        self.note(&Step::Clock(by));
        self.model.now += by;
        self.clock.store(self.model.now, Ordering::SeqCst);
        1
    }

    fn crash(&mut self) -> u64 {
        self.note(&Step::Crash);
        let actor = self.model.actor;
        self.hands.holds.retain(|held| held.process != actor);
        if self.file.is_some() {
            let same = self.model.me().name.clone();
            let name =
                if self.draw.percent(50) { same } else { format!("gate-{actor}-{}", self.draw.next()) };
            let (ledger, process) = self.enrol(name);
            self.ledgers[actor] = ledger;
            self.censuses[actor] = Census::default();
            self.model.processes[actor] = process;
        }
        1
    }

    async fn take_over(&mut self) -> Result<u64, String> {
        let patience = Duration::from_millis(self.draw.pick(&[1_000, 10_000]).expect("some"));
        let step = Step::TakeOver { patience };
        self.note(&step);
        let expected = self.model.apply(&step);
        let (ledger, census) = (&self.ledgers[self.model.actor], &mut self.censuses[self.model.actor]);
        let answer = perform::take_over(ledger, census, patience).await;
        self.compare(&step, None, &expected, answer)?;
        Ok(1)
    }

    /// Sends several requests that wait for no answer. They are drawn, and foretold, one after
    /// the other.
    fn send(&mut self) -> (u64, Vec<Sent>) {
        let count = 1 + self.draw.below(BURST);
        let sent = (0..count).map(|_| self.send_one()).collect();
        (count, sent)
    }

    fn send_one(&mut self) -> Sent {
        let (step, hold) = Chooser {
            draw: &mut self.draw,
            model: &self.model,
            hands: &mut self.hands,
            transactions: &mut self.transactions,
        }
        .request();
        self.note(&step);
        let expected = self.model.apply(&step);
        let grip = self.grip(&step, &expected);
        let (ledger, asked) = (self.ledger().clone(), step.clone());
        // Tasks of one thread are begun in the order in which they were spawned.
        let answer = tokio::spawn(async move { perform::perform(&ledger, asked, hold).await });
        Sent { step, grip, expected, answer }
    }

    /// The hold that this answer comes with.
    fn grip(&self, step: &Step, expected: &Told) -> Option<Grip> {
        match (step, expected) {
            (_, Told::Granted(id) | Told::Entitled(id)) => Some(choose::grip(&self.model, *id)),
            (Step::Owe(grip, _) | Step::StartDelivery(grip), _) => Some(*grip),
            _ => None,
        }
    }

    fn compare(
        &mut self,
        step: &Step,
        grip: Option<Grip>,
        expected: &Told,
        answer: Answer,
    ) -> Result<(), String> {
        let (told, hold, error) = match answer {
            Ok((told, hold)) => (told, hold, None),
            Err(error) => (Told::Failed, None, Some(error)),
        };
        if told != *expected {
            return Err(format!("to \"{step}\" the model says {expected:?}, the ledger {told:?} {error:?}"));
        }
        self.seen.insert(format!("{} {}", step.kind(), told.kind()));
        if let (Step::Lease { settler, .. }, Told::Mine(epoch)) = (step, &told) {
            self.hands.leases.push(Lease { settler: *settler, epoch: *epoch });
        }
        if let (Some(grip), Some(hold)) = (grip, hold) {
            if matches!(hold, Hold::Delivering(_)) {
                *self.deliveries.entry(grip.id.0).or_default() += 1;
            }
            self.hands.holds.push(Held { grip, hold, process: self.model.actor });
        }
        Ok(())
    }
}

impl Model {
    fn apply(&mut self, step: &Step) -> Told {
        match step {
            Step::Reserve { new, hold } => self.reserve(new, *hold),
            Step::Recall { key, calls, origin, hold } => self.recall(key, calls, *origin, *hold),
            Step::RecallPayer { key, calls, origin, hold } => self.recall_payer(key, calls, *origin, *hold),
            Step::Release(grip) => self.release(*grip),
            Step::Owe(grip, exposure) => self.owe(*grip, *exposure),
            Step::Waive(grip) => self.waive(*grip),
            Step::StartDelivery(grip) => self.start_delivery(*grip),
            Step::FinishDelivery(grip) => self.finish_delivery(*grip),
            Step::LetGo(grip) => self.let_go(*grip),
            Step::Undeliver(grip) => self.undeliver(*grip),
            Step::Lease { settler, ttl } => self.lease(*settler, *ttl),
            Step::EndLease(lease) => self.end_lease(*lease),
            Step::StoreBatch { lease, nonce, payments, .. } => self.store_batch(*lease, *nonce, payments),
            Step::StoreAttempt { lease, batch, .. } => self.store_attempt(*lease, *batch),
            Step::Taken { batch, .. } => self.taken(*batch),
            Step::Mined { batch, at, paid, unpaid, retry } => self.mined(*batch, *at, paid, unpaid, *retry),
            Step::OrphanBatch(batch) => self.orphan_batch(*batch),
            Step::Bury(batch) => self.bury(*batch),
            Step::Include { key, at } => self.include(key, *at),
            Step::Orphan { id, block_hash } => self.orphan(*id, *block_hash),
            Step::Finalize { batches, payments } => self.finalize(batches, payments),
            Step::Defer { id, retry } => self.defer(*id, *retry),
            Step::Fail(id) => self.fail(*id),
            Step::Ask { id, facilitator } => self.ask(*id, *facilitator),
            Step::AskAgain(id) => self.ask_again(*id),
            Step::Doubt(id) => self.doubt(*id),
            Step::Promise(id, tx) => self.promise(*id, *tx),
            Step::Claim(id, tx) => self.claim(*id, *tx),
            Step::Decline { id, retry } => self.decline(*id, *retry),
            Step::Recover => self.recover(),
            Step::TakeOver { patience } => self.take_over(*patience),
            Step::Clock(_) | Step::Crash => unreachable!("no request to the ledger"),
        }
    }
}
