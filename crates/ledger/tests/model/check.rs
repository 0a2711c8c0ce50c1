//! Holds the ledger's rows, stories and lists against the model, and the model against what must
//! never be.

use crate::{
    choose::{chain, is_delivered, settler},
    hold_rules::Earned,
    rules::{Batch, Fate, Line, Model, Row, is_owed, is_paid, sum},
    world::World,
};
use alloy_primitives::Address;
use obol_core::{Amount, ChainId, OfferId};
use obol_ledger::{
    BatchId, BatchState, Delivery, Event, LedgerError, PaymentId, PaymentRecord, Position, State, Sum,
    Timestamp, Unsettled,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinHandle;

/// The arrows of the design's table, evidence of the chain last.
pub(crate) const ARROWS: &[(State, State)] = &[
    (State::Reserved, State::Released),
    (State::Reserved, State::Due),
    (State::Reserved, State::Waived),
    (State::Released, State::Reserved),
    (State::Due, State::Released),
    (State::Due, State::Submitting),
    (State::Submitting, State::Submitted),
    (State::Submitting, State::Due),
    (State::Submitted, State::Due),
    (State::Due, State::Failed),
    (State::Submitting, State::Failed),
    (State::Submitted, State::Failed),
    (State::Reserved, State::Included),
    (State::Released, State::Included),
    (State::Due, State::Included),
    (State::Submitting, State::Included),
    (State::Submitted, State::Included),
    (State::Failed, State::Included),
    (State::Waived, State::Included),
    (State::Included, State::Submitted),
    (State::Included, State::Due),
    (State::Included, State::Released),
    (State::Included, State::Waived),
    (State::Included, State::Settled),
    (State::Submitting, State::Released),
    (State::Submitting, State::Claimed),
    (State::Submitted, State::Claimed),
    (State::Claimed, State::Included),
    (State::Claimed, State::Failed),
    (State::Claimed, State::Submitted),
];

pub(crate) fn arrow(from: State, to: State) -> String {
    format!("{from} -> {to}")
}

fn unread(error: LedgerError) -> String {
    format!("cannot read: {error}")
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ledger: &T, model: &T) -> Result<(), String> {
    match ledger == model {
        true => Ok(()),
        false => Err(format!("{what}:\n  ledger {ledger:?}\n  model  {model:?}")),
    }
}

/// An answer that has not been waited for.
type Awaited<T> = JoinHandle<Result<Vec<T>, LedgerError>>;

/// Questions that have been sent.
pub(crate) struct Asked {
    records: Awaited<PaymentRecord>,
    stories: Vec<(PaymentId, Awaited<Event>)>,
}

/// Asks for all payments, and for the stories of those that should have changed.
pub(crate) fn ask(world: &World) -> Asked {
    let ledger = world.ledger().clone();
    let records = tokio::spawn(async move { ledger.list(PaymentId(0), 1_000).await });
    let changed = world.model.rows.iter().filter(|row| world.compared(row.id) != row.story.len());
    let stories = changed
        .map(|row| {
            let (ledger, id) = (world.ledger().clone(), row.id);
            (id, tokio::spawn(async move { ledger.events(id).await }))
        })
        .collect();
    Asked { records, stories }
}

/// Holds what was answered against the model.
pub(crate) async fn rows(world: &mut World, asked: Asked) -> Result<(), String> {
    let records = asked.records.await.map_err(|error| error.to_string())?.map_err(unread)?;
    same("how many payments there are", &records.len(), &world.model.rows.len())?;
    for (record, row) in records.iter().zip(&world.model.rows) {
        same_row(record, row)?;
    }
    for (id, events) in asked.stories {
        let events = events.await.map_err(|error| error.to_string())?.map_err(unread)?;
        let row = world.model.row(id);
        story(row, events)?;
        for at in world.compared(id)..row.story.len() {
            legal(world, row, at)?;
        }
        let arrows: Vec<_> = row.story[world.compared(id)..]
            .iter()
            .filter_map(|line| Some(arrow(line.from?, line.to)))
            .collect();
        world.compared.insert(id.0, row.story.len());
        world.seen.extend(arrows);
    }
    Ok(())
}

fn same_row(record: &PaymentRecord, row: &Row) -> Result<(), String> {
    let what = format!("payment {}", row.id.0);
    let (terms, id) = (&row.terms, row.id);
    same(&what, &(record.id, record.state(), record.delivery), &(id, row.state, row.delivery))?;
    same(&what, &(record.key, record.payee, record.amount), &(terms.key, terms.payee, terms.amount))?;
    same(&what, &(record.valid_before, &record.offer), &(terms.valid_before, &terms.offer))?;
    same(
        &format!("{what}: reservation, hold, origin, verified block"),
        &(record.reservation(), record.held_until.0, record.origin, record.verified_block),
        &(row.reservation, row.held_until, row.origin, row.verified_block),
    )?;
    same(
        &format!("{what}: batch, cap, misses, retry, reason, inclusion"),
        &(record.batch, record.batch_cap, record.misses, record.retry_at.0, &record.reason, record.inclusion),
        &(row.batch, row.cap, row.misses, row.retry_at, &row.reason, row.inclusion),
    )?;
    same(&format!("{what}: claim"), &record.claim, &row.claim)?;
    same(
        &format!("{what}: created, changed"),
        &(record.created_at.0, record.changed_at.0),
        &(row.created_at, row.changed_at),
    )
}

fn story(row: &Row, events: Vec<Event>) -> Result<(), String> {
    let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
    let consecutive: Vec<_> = (1..).take(events.len()).collect();
    same(&format!("revisions of payment {}", row.id.0), &revisions, &consecutive)?;
    let lines: Vec<_> = events
        .into_iter()
        .map(|event| Line {
            at: event.at.0,
            who: event.who,
            from: event.from,
            to: event.to,
            delivery: event.delivery,
        })
        .collect();
    same(&format!("the story of payment {}", row.id.0), &lines, &row.story)
}

/// What holds of every line of every story, whatever the steps were.
fn legal(world: &World, row: &Row, at: usize) -> Result<(), String> {
    let (past, line) = (&row.story[..at], &row.story[at]);
    let broken = |why: &str| Err(format!("payment {}: {why}: {line:?} after {past:?}", row.id.0));
    let Some(last) = past.last() else {
        return match (line.from, line.to) {
            (None, State::Reserved | State::Released) => Ok(()),
            _ => broken("cannot begin so"),
        };
    };
    if line.from != Some(last.to) {
        return broken("the chain of states is torn");
    }
    if last.to != line.to && !ARROWS.contains(&(last.to, line.to)) {
        return broken("no such arrow");
    }
    // What a facilitator refuses at once is given back; its transfer, if it comes, is seen as a stranger's.
    let was_sent = !row.declined && past.iter().any(|line| line.to == State::Submitting);
    let unowed = matches!(line.to, State::Released | State::Reserved);
    if unowed && (is_delivered(line.delivery) || was_sent) {
        return broken("what was submitted or delivered is given back");
    }
    if past.iter().any(|line| line.to == State::Waived) && is_owed(line.to) {
        return broken("a waived payment is owed");
    }
    let delivered = |lines: &[Line]| {
        let steps = lines.windows(2);
        let begun =
            steps.clone().filter(|p| !is_delivered(p[0].delivery) && is_delivered(p[1].delivery)).count();
        let cut_off = steps.filter(|p| is_delivered(p[0].delivery) && !is_delivered(p[1].delivery)).count();
        (begun, cut_off)
    };
    let (begun, cut_off) = delivered(&row.story);
    if begun > cut_off + 1 {
        return broken("delivered twice");
    }
    let handed = world.deliveries.get(&row.id.0).copied().unwrap_or(0);
    let waived = usize::from(row.story.iter().any(|line| line.to == State::Waived));
    if handed + waived != begun {
        return broken("the holds to deliver on are not as many as the deliveries");
    }
    Ok(())
}

/// The batches that are out, and what every payment's state says about its batch.
pub(crate) async fn batches(world: &World) -> Result<(), String> {
    let model = &world.model;
    for row in &model.rows {
        let fate = row.batch.and_then(|batch| model.batch(batch)).map(|batch| batch.fate);
        let sound = match row.state {
            State::Submitting | State::Submitted => match row.batch {
                Some(_) => fate == Some(Fate::Open),
                None => row.asked.is_some(),
            },
            State::Claimed => row.batch.is_none() && row.claim.is_some(),
            State::Reserved | State::Released | State::Waived => fate.is_none(),
            _ => true,
        };
        if !sound || row.inclusion.is_some() != is_paid(row.state) {
            return Err(format!("payment {} is {} while its batch is {fate:?}", row.id.0, row.state));
        }
    }
    for number in 0..2 {
        let chain = chain(number);
        let live = world.ledger().live_batches(settler(chain)).await.map_err(unread)?;
        let told: Vec<_> = live
            .iter()
            .map(|batch| {
                let payments: Vec<_> = batch.payments.iter().map(|payment| payment.id).collect();
                (batch.nonce, batch.id, batch.state, batch.attempts.len(), payments)
            })
            .collect();
        same("live batches", &told, &live_batches(world, chain))?;
    }
    Ok(())
}

type Live = (u64, BatchId, BatchState, usize, Vec<PaymentId>);

fn live_batches(world: &World, chain: ChainId) -> Vec<Live> {
    let mut live: Vec<_> = (1..)
        .map(BatchId)
        .zip(&world.model.batches)
        .filter(|(_, batch)| batch.settler.chain == chain)
        .filter_map(|(id, batch)| {
            let state = match batch.fate {
                Fate::Open => BatchState::Open,
                Fate::Mined(at) => {
                    BatchState::Mined { block: at.block, block_hash: at.block_hash, tx: at.tx }
                }
                Fate::Final | Fate::Dead => return None,
            };
            let moving =
                |row: &Row| matches!(row.state, State::Submitting | State::Submitted | State::Included);
            let payments = world.model.ids(|row| row.batch == Some(id) && moving(row));
            Some((batch.nonce, id, state, batch.attempts, payments))
        })
        .collect();
    live.sort_by_key(|(nonce, ..)| *nonce);
    live
}

/// Every list and sum that the ledger tells.
pub(crate) async fn everything(world: &mut World) -> Result<(), String> {
    let asked = ask(world);
    rows(world, asked).await?;
    batches(world).await?;
    earnings(world).await?;
    books(world).await?;
    for number in 0..2 {
        lists(world, chain(number)).await?;
    }
    let mut chains = world.ledger().chains().await.map_err(unread)?;
    chains.sort();
    let known: BTreeSet<_> = world.model.rows.iter().map(|row| row.terms.key.chain).collect();
    same("chains", &chains, &known.into_iter().collect())?;
    let mut newest = world.model.ids(|_| true);
    newest.reverse();
    let told = world.ledger().newest(1_000).await.map_err(unread)?;
    same("newest", &told.iter().map(|record| record.id).collect(), &newest)
}

async fn earnings(world: &World) -> Result<(), String> {
    let told: BTreeMap<_, _> = world
        .ledger()
        .earnings()
        .await
        .map_err(unread)?
        .into_iter()
        .map(|line| {
            let earned = Earned {
                payments: line.payments,
                final_payments: line.final_payments,
                amount: line.amount,
                final_amount: line.final_amount,
                claimed_payments: line.claimed_payments,
                claimed_amount: line.claimed_amount,
            };
            ((line.offer, line.chain.reference(), line.asset), earned)
        })
        .collect();
    same("earnings", &told, &world.model.earnings())?;
    let paid = world.model.rows.iter().filter(|row| is_paid(row.state));
    let all = sum(paid.map(|row| row.terms.amount));
    same("the sum of all earnings", &sum(told.values().map(|earned| earned.amount)), &all)
}

/// What the journal adds up to, read on from where it was read last.
async fn books(world: &mut World) -> Result<(), String> {
    let mut books = std::mem::take(&mut world.books);
    books.follow(world.ledger()).await.map_err(unread)?;
    let mut ever: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in &world.model.rows {
        let was_paid = row.story.iter().any(|line| line.to == State::Included);
        let key = &row.terms.key;
        let here = ever.entry((row.terms.offer.clone(), key.chain.reference(), key.asset)).or_default();
        here.extend(was_paid.then_some(row));
    }
    for ((offer, chain, asset), rows) in ever {
        let position = Position { offer: offer.clone(), chain: ChainId::new(chain), asset };
        let takings = books.takings(&position);
        let gone: Vec<_> =
            rows.iter().filter(|row| !is_paid(row.state)).map(|row| row.terms.amount).collect();
        let claims = world.model.rows.iter().filter(|row| {
            let key = &row.terms.key;
            row.state == State::Claimed
                && (&row.terms.offer, key.chain.reference(), key.asset) == (&offer, chain, asset)
        });
        let claims: Vec<_> = claims.map(|row| row.terms.amount).collect();
        let claimed = Sum { payments: claims.len() as u64, amount: sum(claims.into_iter()) };
        let counted =
            Sum { payments: rows.len() as u64, amount: sum(rows.iter().map(|row| row.terms.amount)) };
        let reversed = Sum { payments: gone.len() as u64, amount: sum(gone.into_iter()) };
        same("what was ever charged", &takings.charged.lifetime, &counted)?;
        same("what was reversed", &takings.reversed.lifetime, &reversed)?;
        same("what is claimed", &takings.claimed.lifetime, &claimed)?;
    }
    world.books = books;
    let faults = world.ledger().journal_faults(1).await.map_err(unread)?;
    same("payments that the journal has otherwise", &faults, &vec![])
}

async fn lists(world: &World, chain: ChainId) -> Result<(), String> {
    let (ledger, model) = (world.ledger(), &world.model);
    let here = |row: &Row| row.terms.key.chain == chain;
    let ids = |records: Vec<PaymentRecord>| records.into_iter().map(|record| record.id).collect::<Vec<_>>();
    let owed = ids(ledger.owed(chain).await.map_err(unread)?);
    same("owed", &owed, &model.ids(|row| here(row) && is_owed(row.state)))?;
    let mut included = ids(ledger.included(chain).await.map_err(unread)?);
    included.sort();
    same("included", &included, &model.ids(|row| here(row) && row.state == State::Included))?;

    let ready = |row: &Row| {
        here(row) && row.state == State::Due && (row.retry_at <= model.now || row.changed_at > model.now)
    };
    let mut due = model.ids(ready);
    due.sort_by_key(|id| (model.row(*id).retry_at, *id));
    let questions = ledger.due_questions(chain, 1_000).await.map_err(unread)?;
    let asks = |id: &PaymentId| {
        let row = model.row(*id);
        row.batch.is_none() && row.terms.question.is_some()
    };
    let askable: Vec<_> = due.iter().copied().filter(asks).collect();
    same("questions that are due", &questions.iter().map(|question| question.record.id).collect(), &askable)?;
    let put = ledger.open_questions(chain).await.map_err(unread)?;
    let open =
        |row: &Row| here(row) && asks(&row.id) && matches!(row.state, State::Submitting | State::Submitted);
    same("questions that were put", &put, &model.ids(open))?;
    let mut all = questions;
    for id in put {
        all.extend(ledger.question(id).await.map_err(unread)?);
    }
    for question in all {
        let row = model.row(question.record.id);
        same("a question's body", &Some(question.body), &row.terms.question)?;
        let asked = row.asked.map(|facilitator| facilitator.to_string());
        same("whom it was put to", &question.facilitator, &asked)?;
    }
    let claims = ids(ledger.claims(chain, PaymentId(0), 1_000).await.map_err(unread)?);
    same("claims", &claims, &model.ids(|row| here(row) && row.state == State::Claimed))?;

    let told = ledger.due(chain, 1_000).await.map_err(unread)?;
    same("due", &told.iter().map(|due| due.record.id).collect(), &due)?;
    for due in told {
        same("a due payment's call", &due.call, &model.row(due.record.id).terms.call)?;
    }

    let last = |batch: &&Batch| batch.settler.chain == chain;
    let next = model.batches.iter().filter(last).map(|batch| batch.nonce + 1).max();
    same("the next nonce", &ledger.next_nonce(settler(chain)).await.map_err(unread)?, &next)?;
    let used = |batch: &&Batch| last(batch) && matches!(batch.fate, Fate::Final | Fate::Dead);
    let next = model.batches.iter().filter(used).map(|batch| batch.nonce + 1).max();
    same("the final nonce", &ledger.final_nonce(settler(chain)).await.map_err(unread)?, &next)?;

    let owed = ledger.exposure().await.map_err(unread)?;
    same("what is delivered and not settled", &here_of(owed, chain), &outstanding(model, chain, is_owed))?;
    let lost = ledger.losses().await.map_err(unread)?;
    same("what is lost", &here_of(lost, chain), &outstanding(model, chain, |state| state == State::Failed))
}

type Outstanding = BTreeMap<(OfferId, Address), (u64, Amount, Timestamp)>;

fn here_of(lines: Vec<Unsettled>, chain: ChainId) -> Outstanding {
    let here = lines.into_iter().filter(|line| line.position.chain == chain);
    here.map(|line| ((line.position.offer, line.position.asset), (line.payments, line.amount, line.oldest)))
        .collect()
}

/// What was delivered, of the payments in such a state.
fn outstanding(model: &Model, chain: ChainId, is: impl Fn(State) -> bool) -> Outstanding {
    let mut sums: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    let delivered =
        |row: &&Row| row.terms.key.chain == chain && is(row.state) && row.delivery != Delivery::None;
    for row in model.rows.iter().filter(delivered) {
        sums.entry((row.terms.offer.clone(), row.terms.key.asset)).or_default().push(row);
    }
    let line = |rows: Vec<&Row>| {
        let oldest = rows.iter().map(|row| row.created_at).min().unwrap_or_default();
        (rows.len() as u64, sum(rows.iter().map(|row| row.terms.amount)), Timestamp(oldest))
    };
    sums.into_iter().map(|(position, rows)| (position, line(rows))).collect()
}
