//! The ledger's rules as the design has them, over plain values: what a request may do to
//! have a payment.

use crate::step::Told;
use alloy_primitives::{B256, Bytes};
use obol_core::{Amount, PaymentKey, Reason};
use obol_ledger::{BatchId, Delivery, Inclusion, NewPayment, Origin, PaymentId, Proof, Settler, State};
use std::{collections::BTreeMap, time::Duration};

/// A line of a payment's story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: i64,
    pub(crate) who: String,
    pub(crate) from: Option<State>,
    pub(crate) to: State,
    pub(crate) delivery: Delivery,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: PaymentId,
    /// As it came first.
    pub(crate) terms: NewPayment,
    pub(crate) state: State,
    pub(crate) delivery: Delivery,
    pub(crate) reservation: i64,
    pub(crate) origin: Origin,
    pub(crate) held_until: i64,
    pub(crate) owner: i64,
    pub(crate) verified_block: u64,
    pub(crate) batch: Option<BatchId>,
    pub(crate) cap: u32,
    pub(crate) misses: u32,
    pub(crate) retry_at: i64,
    pub(crate) reason: Option<String>,
    pub(crate) inclusion: Option<Inclusion>,
    /// Which facilitator was asked, and how often since nobody was.
    pub(crate) asked: Option<u64>,
    pub(crate) puts: u64,
    /// Whether a question is stored with it.
    pub(crate) questioned: bool,
    /// Whether a facilitator has ever refused it.
    pub(crate) declined: bool,
    pub(crate) claim: Option<B256>,
    pub(crate) created_at: i64,
    pub(crate) changed_at: i64,
    pub(crate) story: Vec<Line>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Mined(Inclusion),
    Final,
    Dead,
}

#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) settler: Settler,
    pub(crate) nonce: u64,
    pub(crate) fate: Fate,
    pub(crate) attempts: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct LeaseRow {
    pub(crate) holder: String,
    pub(crate) epoch: i64,
    pub(crate) until: i64,
}

/// A process on the ledger, as it knows itself.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) number: i64,
    /// The others' beats, and since when they stand still.
    pub(crate) seen: BTreeMap<i64, (i64, i64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) now: i64,
    pub(crate) rows: Vec<Row>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) leases: BTreeMap<u64, LeaseRow>,
    pub(crate) processes: Vec<Process>,
    /// Beats of the processes that nobody has taken over.
    pub(crate) beats: BTreeMap<i64, i64>,
    pub(crate) enrolled: i64,
    /// Which process acts.
    pub(crate) actor: usize,
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).expect("short")
}

pub(crate) const fn is_paid(state: State) -> bool {
    matches!(state, State::Included | State::Settled)
}

/// Owed, and not on the chain.
pub(crate) const fn is_owed(state: State) -> bool {
    matches!(state, State::Due | State::Submitting | State::Submitted)
}

/// What its payer may come back for.
pub(crate) const fn is_owed_a_delivery(state: State) -> bool {
    is_owed(state) || is_paid(state) || matches!(state, State::Claimed)
}

pub(crate) fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, |sum, amount| sum.checked_add(amount).expect("small amounts"))
}

impl Model {
    pub(crate) fn row(&self, id: PaymentId) -> &Row {
        &self.rows[usize::try_from(id.0 - 1).expect("an id")]
    }

    pub(crate) fn row_mut(&mut self, id: PaymentId) -> &mut Row {
        &mut self.rows[usize::try_from(id.0 - 1).expect("an id")]
    }

    pub(crate) fn find(&self, key: &PaymentKey) -> Option<PaymentId> {
        self.rows.iter().find(|row| row.terms.key == *key).map(|row| row.id)
    }

    pub(crate) fn me(&self) -> &Process {
        &self.processes[self.actor]
    }

    /// Every change goes through here, and leaves a line.
    pub(crate) fn change(&mut self, id: PaymentId, change: impl FnOnce(&mut Row)) {
        let (now, who) = (self.now, self.me().name.clone());
        let row = &mut self.rows[usize::try_from(id.0 - 1).expect("an id")];
        let from = Some(row.state);
        change(row);
        row.changed_at = now;
        row.story.push(Line { at: now, who, from, to: row.state, delivery: row.delivery });
    }

    fn insert(&mut self, new: &NewPayment, state: State, reservation: i64, held_until: i64) -> PaymentId {
        let id = PaymentId(1 + i64::try_from(self.rows.len()).expect("few"));
        let first = Line {
            at: self.now,
            who: self.me().name.clone(),
            from: None,
            to: state,
            delivery: Delivery::None,
        };
        self.rows.push(Row {
            id,
            terms: new.clone(),
            state,
            delivery: Delivery::None,
            reservation,
            origin: new.origin,
            held_until,
            owner: self.me().number,
            verified_block: new.verified_block,
            batch: None,
            cap: 0,
            misses: 0,
            retry_at: 0,
            reason: None,
            inclusion: None,
            asked: None,
            puts: 0,
            questioned: new.question.is_some(),
            declined: false,
            claim: None,
            created_at: self.now,
            changed_at: self.now,
            story: vec![first],
        });
        id
    }

    pub(crate) fn reserve(&mut self, new: &NewPayment, hold: Duration) -> Told {
        let until = self.now + millis(hold);
        if let Some(id) = self.find(&new.key) {
            return self.reserve_again(id, new, until);
        }
        if let Some(paid) = self.entitled(new) {
            self.insert(new, State::Released, 0, 0);
            return self.redeem(paid, until);
        }
        match self.uncovered(new) {
            Some(reason) => Told::Refused(reason),
            None => Told::Granted(self.insert(new, State::Reserved, 1, until)),
        }
    }

    fn reserve_again(&mut self, id: PaymentId, new: &NewPayment, until: i64) -> Told {
        let row = self.row(id).clone();
        let same = row.terms.payee == new.payee
            && row.terms.amount == new.amount
            && row.terms.call.data == new.call.data;
        if !same {
            return Told::Refused(Reason::TermsChanged);
        }
        if let Some(told) = self.used(&row) {
            return told;
        }
        match row.state {
            State::Reserved | State::Released if Self::copied(&row, new.origin) => {
                return Told::Refused(Reason::PayerUnproven);
            }
            State::Reserved | State::Released => {}
            _ => return self.come_back(&row, new.origin, until),
        }
        if row.state == State::Reserved {
            self.change(id, |row| (row.state, row.held_until) = (State::Released, 0));
        }
        if row.terms.offer != new.offer {
            return Told::Refused(Reason::TermsChanged);
        }
        if row.reservation > 3 {
            return Told::Refused(Reason::TooManyAttempts);
        }
        if let Some(paid) = self.entitled(new) {
            return self.redeem(paid, until);
        }
        if let Some(reason) = self.uncovered(new) {
            return Told::Refused(reason);
        }
        let owner = self.me().number;
        self.change(id, |row| {
            (row.state, row.held_until, row.owner) = (State::Reserved, until, owner);
            row.reservation += 1;
            row.origin = new.origin;
            row.verified_block = new.verified_block;
            row.reason = None;
        });
        Told::Granted(id)
    }

    /// A block that is gone or a facilitator has seen it, and it comes from somewhere else.
    fn copied(row: &Row, origin: Origin) -> bool {
        let shown = row.questioned || row.story.iter().any(|line| line.to == State::Included);
        row.origin.client != origin.client && shown
    }

    /// Why a known payment opens no door whatever it is for.
    fn used(&self, row: &Row) -> Option<Told> {
        let reason = match (row.state, row.delivery) {
            (State::Waived, _) | (_, Delivery::Done) => Reason::AlreadyServed,
            (_, Delivery::Started) => Reason::InFlight,
            (State::Failed, _) => Reason::SettlementFailed,
            _ if row.held_until > self.now => Reason::InFlight,
            _ => return None,
        };
        Some(Told::Refused(reason))
    }

    fn entitled(&self, new: &NewPayment) -> Option<PaymentId> {
        match new.proof {
            Proof::Signature => self.entitlement(&new.key, new.origin.fingerprint),
            Proof::Word => None,
        }
    }

    fn entitlement(&self, key: &PaymentKey, fingerprint: B256) -> Option<PaymentId> {
        let free = |row: &&Row| {
            (row.terms.key.payer, row.terms.key.chain) == (key.payer, key.chain)
                && row.origin.fingerprint == fingerprint
                && row.delivery == Delivery::None
                && is_owed_a_delivery(row.state)
                && row.held_until <= self.now
                && row.reservation <= 20
        };
        self.rows.iter().find(free).map(|row| row.id)
    }

    /// With a payment that is owed for: from elsewhere it is not believed, since it can have been
    /// copied.
    fn come_back(&mut self, row: &Row, origin: Origin, until: i64) -> Told {
        if row.origin.fingerprint != origin.fingerprint {
            return Told::Refused(Reason::FingerprintMismatch);
        }
        if row.origin.client != origin.client {
            return Told::Refused(Reason::PayerUnproven);
        }
        self.redeem(row.id, until)
    }

    fn redeem(&mut self, id: PaymentId, until: i64) -> Told {
        if self.row(id).reservation > 20 {
            return Told::Refused(Reason::TooManyAttempts);
        }
        let owner = self.me().number;
        self.change(id, |row| {
            row.reservation += 1;
            (row.held_until, row.owner) = (until, owner);
        });
        Told::Entitled(id)
    }

    fn uncovered(&self, new: &NewPayment) -> Option<Reason> {
        let open: Vec<_> = self
            .rows
            .iter()
            .filter(|row| {
                let theirs = &row.terms.key;
                let unseen = row.inclusion.is_some_and(|at| at.block > new.verified_block);
                (theirs.payer, theirs.asset, theirs.chain) == (new.key.payer, new.key.asset, new.key.chain)
                    && (row.state == State::Reserved
                        || is_owed(row.state)
                        || row.state == State::Included && unseen)
            })
            .collect();
        let distrusted = self.rows.iter().any(|row| {
            let theirs = &row.terms.key;
            (theirs.payer, theirs.asset, theirs.chain) == (new.key.payer, new.key.asset, new.key.chain)
                && row.state == State::Failed
                && row.misses > 0
                && row.changed_at > self.now - 24 * 60 * 60 * 1_000
        });
        if distrusted || open.iter().any(|row| row.misses > 0) {
            return Some(Reason::SimulationFailed);
        }
        let needed = sum(open.iter().map(|row| row.terms.amount)).checked_add(new.amount)?;
        (needed > new.balance).then_some(Reason::InsufficientBalance)
    }

    pub(crate) fn recall(
        &mut self,
        key: &PaymentKey,
        calls: &[Bytes],
        origin: Origin,
        hold: Duration,
    ) -> Told {
        let Some(id) = self.find(key) else { return Told::Unknown };
        let row = self.row(id).clone();
        if !calls.contains(&row.terms.call.data) {
            return Told::Unknown;
        }
        if let Some(told) = self.used(&row) {
            return told;
        }
        match row.state {
            State::Reserved | State::Released if Self::copied(&row, origin) => {
                Told::Refused(Reason::PayerUnproven)
            }
            State::Reserved | State::Released => Told::Unknown,
            _ => self.come_back(&row, origin, self.now + millis(hold)),
        }
    }

    pub(crate) fn recall_payer(
        &mut self,
        key: &PaymentKey,
        calls: &[Bytes],
        origin: Origin,
        hold: Duration,
    ) -> Told {
        if let Some(id) = self.find(key) {
            let told = self.recall(key, calls, origin, hold);
            let other = !calls.contains(&self.row(id).terms.call.data);
            if told != Told::Unknown || other {
                return told;
            }
        }
        match self.entitlement(key, origin.fingerprint) {
            Some(id) => self.redeem(id, self.now + millis(hold)),
            None => Told::Unknown,
        }
    }
}
