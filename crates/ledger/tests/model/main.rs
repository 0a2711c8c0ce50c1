//! The ledger against a model of it: random steps that a seed replays, with every row, every
//! story and every answer foretold.

mod asking_rules;
mod chain_rules;
mod check;
mod choose;
mod draw;
mod hold_rules;
mod perform;
mod rules;
mod step;
mod world;

use draw::Draw;
use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
};
use world::World;

/// Replayed by every run; seeds that have found a defect are kept here.
const SEEDS: &[u64] = &[1, 2, 3];

/// Replaces the seeds by one.
const SEED: &str = "OBOL_LEDGER_SEED";

/// The steps of each seed, in memory.
const STEPS: &str = "OBOL_LEDGER_STEPS";

/// A ledger is used for so many steps, then another is begun.
const WALK: u64 = 250;

/// What the steps of one process have to be answered, each at least once.
const ANSWERS: &[&str] = &[
    "Reserve Granted",
    "Reserve Entitled",
    "Reserve Refused(AlreadyServed)",
    "Reserve Refused(FingerprintMismatch)",
    "Reserve Refused(InFlight)",
    "Reserve Refused(InsufficientBalance)",
    "Reserve Refused(PayerUnproven)",
    "Reserve Refused(SettlementFailed)",
    "Reserve Refused(SimulationFailed)",
    "Reserve Refused(TermsChanged)",
    "Reserve Refused(TooManyAttempts)",
    "Recall Entitled",
    "Recall Unknown",
    "Recall Refused(AlreadyServed)",
    "Recall Refused(FingerprintMismatch)",
    "Recall Refused(InFlight)",
    "Recall Refused(PayerUnproven)",
    "Recall Refused(SettlementFailed)",
    "RecallPayer Entitled",
    "RecallPayer Unknown",
    "Release Done",
    "Release Lost(Included)",
    "Waive Done",
    "Owe SettleFirst",
    "Owe Deliver",
    "Owe Lost(Released)",
    "StartDelivery Done",
    "StartDelivery Lost(Due)",
    "Undeliver Done",
    "LetGo Left(Released)",
    "LetGo Left(Submitted)",
    "LetGo Left(Settled)",
    "LetGo Left(Claimed)",
    "Lease Mine",
    "StoreBatch Stored",
    "StoreBatch Fenced",
    "StoreBatch NonceTaken",
    "StoreBatch Moved",
    "StoreBatch Failed",
    "StoreAttempt Stored",
    "StoreAttempt Fenced",
    "StoreAttempt Failed",
    "Ask Done",
    "Ask Moved",
    "AskAgain Done",
    "AskAgain Moved",
    "Include Found",
    "Include Unknown",
    "Finalize Count",
    "Recover Count",
];

/// What only several processes bring about.
const ANSWERS_TO_TWO: &[&str] = &["Lease HeldBy", "Lease Mine", "StoreBatch Fenced", "TakeOver Count"];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

fn seeds() -> Vec<u64> {
    match number(SEED) {
        Some(seed) => vec![seed],
        None => SEEDS.iter().copied().chain([RandomState::new().hash_one("a seed")]).collect(),
    }
}

/// Walks with every seed. Tells what the fixed seeds brought about, which is the same each time.
fn walk_all(steps: u64, processes: usize, file: impl Fn(u64, u64) -> Option<PathBuf>) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut seen = BTreeSet::new();
    for seed in seeds() {
        let mut draw = Draw::new(seed);
        for walk in 0..steps.div_ceil(WALK) {
            let path = file(seed, walk);
            let mut world = World::new(draw.next(), path.as_deref(), processes);
            if let Err(why) = runtime.block_on(world.walk(WALK)) {
                let steps = number(STEPS).map(|steps| format!("{STEPS}={steps} ")).unwrap_or_default();
                panic!(
                    "{why}\nin walk {walk} of seed {seed}; to replay it:\n  \
                     {SEED}={seed} {steps}cargo test -p obol-ledger --test model"
                );
            }
            if SEEDS.contains(&seed) {
                seen.append(&mut world.seen);
            }
        }
    }
    seen
}

/// A model that is never asked a thing proves nothing about it.
fn assert_brought_about(seen: &BTreeSet<String>, expected: impl Iterator<Item = String>) {
    if number(SEED).is_some() || number(STEPS).is_some() {
        return;
    }
    let missing: Vec<_> = expected.filter(|what| !seen.contains(what)).collect();
    assert!(missing.is_empty(), "the steps never brought about {missing:?}");
}

fn owned(what: &[&str]) -> Vec<String> {
    what.iter().map(|what| (*what).to_owned()).collect()
}

#[test]
fn the_ledger_does_what_its_model_says_whatever_is_asked_of_it() {
    let seen = walk_all(number(STEPS).unwrap_or(25_000), 1, |_, _| None);
    let arrows = check::ARROWS.iter().map(|(from, to)| check::arrow(*from, *to));
    assert_brought_about(&seen, arrows.chain(owned(ANSWERS)));
}

#[test]
fn two_processes_on_one_ledger_do_what_the_model_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |seed, walk| Some(folder.path().join(format!("{seed}-{walk}.db")));
    let seen = walk_all(number(STEPS).unwrap_or(2_000), 2, file);
    assert_brought_about(&seen, owned(ANSWERS_TO_TWO).into_iter());
}
