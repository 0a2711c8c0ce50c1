//! The rules of what settles payments: leases, batches, the chain's evidence, dead processes.

use crate::{
    rules::{Batch, Fate, LeaseRow, Model, Row, is_owed, is_owed_a_delivery, millis},
    step::{Told, WHY},
};
use alloy_primitives::B256;
use obol_core::PaymentKey;
use obol_ledger::{BatchId, Delivery, Inclusion, Lease, PaymentId, Settler, State};
use std::time::Duration;

impl Model {
    pub(crate) fn batch(&self, id: BatchId) -> Option<&Batch> {
        self.batches.get(usize::try_from(id.0 - 1).ok()?)
    }

    fn fate(&mut self, id: BatchId) -> Option<&mut Fate> {
        self.batches.get_mut(usize::try_from(id.0 - 1).ok()?).map(|batch| &mut batch.fate)
    }

    /// The payments for which this holds.
    pub(crate) fn ids(&self, holds: impl Fn(&Row) -> bool) -> Vec<PaymentId> {
        self.rows.iter().filter(|row| holds(row)).map(|row| row.id).collect()
    }

    pub(crate) fn lease(&mut self, settler: Settler, ttl: Duration) -> Told {
        let (now, ttl, holder) = (self.now, millis(ttl), self.me().name.clone());
        let epoch = match self.leases.get(&settler.chain.reference()) {
            None => 1,
            Some(row) if row.until <= now => row.epoch + 1,
            Some(row) if row.holder == holder => row.epoch,
            // No lease lasts longer than that: the clock was set back.
            Some(row) if row.until > now + 2 * ttl => row.epoch + 1,
            Some(row) => return Told::HeldBy(row.holder.clone(), row.until),
        };
        self.leases.insert(settler.chain.reference(), LeaseRow { holder, epoch, until: now + ttl });
        Told::Mine(epoch)
    }

    pub(crate) fn end_lease(&mut self, lease: Lease) -> Told {
        if let Some(row) = self.leases.get_mut(&lease.settler.chain.reference())
            && row.epoch == lease.epoch
        {
            row.until = 0;
        }
        Told::Done
    }

    fn in_force(&self, lease: Lease) -> bool {
        self.leases.get(&lease.settler.chain.reference()).is_some_and(|row| {
            row.epoch == lease.epoch && row.holder == self.me().name && row.until > self.now
        })
    }

    pub(crate) fn store_batch(&mut self, lease: Lease, nonce: u64, payments: &[PaymentId]) -> Told {
        let settler = lease.settler;
        if !self.in_force(lease) {
            return Told::Fenced;
        }
        if self.batches.iter().any(|batch| batch.settler == settler && batch.nonce == nonce) {
            return Told::NonceTaken;
        }
        let due = |id: &PaymentId| {
            self.row(*id).state == State::Due && self.row(*id).terms.key.chain == settler.chain
        };
        if let Some(moved) = payments.iter().find(|id| !due(id)) {
            return Told::Moved(*moved);
        }
        if (1..payments.len()).any(|at| payments[..at].contains(&payments[at])) {
            return Told::Failed;
        }
        self.batches.push(Batch { settler, nonce, fate: Fate::Open, attempts: 1 });
        let batch = BatchId(i64::try_from(self.batches.len()).expect("few"));
        for &id in payments {
            self.change(id, |row| {
                (row.state, row.batch, row.reason) = (State::Submitting, Some(batch), None);
            });
        }
        Told::Stored(batch)
    }

    pub(crate) fn store_attempt(&mut self, lease: Lease, batch: BatchId) -> Told {
        if !self.in_force(lease) {
            return Told::Fenced;
        }
        match self.batches.get_mut(usize::try_from(batch.0 - 1).expect("an id")) {
            Some(stored) => {
                stored.attempts += 1;
                Told::Stored(batch)
            }
            None => Told::Failed,
        }
    }

    pub(crate) fn taken(&mut self, batch: BatchId) -> Told {
        for id in self.ids(|row| row.batch == Some(batch) && row.state == State::Submitting) {
            self.change(id, |row| row.state = State::Submitted);
        }
        Told::Done
    }

    pub(crate) fn mined(
        &mut self,
        batch: BatchId,
        at: Inclusion,
        paid: &[PaymentId],
        unpaid: &[PaymentId],
        retry: Duration,
    ) -> Told {
        if let Some(fate) = self.fate(batch) {
            *fate = Fate::Mined(at);
        }
        for &id in paid {
            self.on_chain(id, at);
        }
        let (now, retry) = (self.now, millis(retry));
        let half = u32::try_from((paid.len() + unpaid.len()) / 2).expect("few").max(1);
        for &id in unpaid {
            let row = self.row(id);
            if row.batch != Some(batch) || !matches!(row.state, State::Submitting | State::Submitted) {
                continue;
            }
            let end = (row.terms.valid_before + 1) * 1_000;
            let pause = (0..row.misses).fold(retry, |pause, _| pause.saturating_mul(15));
            self.change(id, |row| {
                (row.state, row.cap) = (State::Due, half);
                row.misses += 1;
                row.retry_at = now.saturating_add(pause).min(end).max(now + retry);
            });
        }
        Told::Done
    }

    fn on_chain(&mut self, id: PaymentId, at: Inclusion) {
        match self.row(id).state {
            State::Settled => {}
            State::Included if self.row(id).inclusion == Some(at) => {}
            State::Included => self.change(id, |row| row.inclusion = Some(at)),
            _ => self.change(id, |row| {
                (row.state, row.inclusion, row.reason) = (State::Included, Some(at), None);
            }),
        }
    }

    pub(crate) fn include(&mut self, key: &PaymentKey, at: Inclusion) -> Told {
        let Some(id) = self.find(key) else { return Told::Unknown };
        self.on_chain(id, at);
        Told::Found(id)
    }

    /// Only what this very transaction paid is to be seen again.
    pub(crate) fn orphan_batch(&mut self, batch: BatchId) -> Told {
        let Some(fate) = self.fate(batch) else { return Told::Done };
        let Fate::Mined(at) = *fate else { return Told::Done };
        *fate = Fate::Open;
        let ours = |row: &Row| {
            row.batch == Some(batch)
                && row.state == State::Included
                && row.inclusion.is_some_and(|inclusion| inclusion.tx == at.tx)
        };
        for id in self.ids(ours) {
            self.change(id, |row| (row.state, row.inclusion) = (State::Submitted, None));
        }
        Told::Done
    }

    /// A stranger's transfer is gone: the payment is what it was before, as far as that still
    /// holds. What bytes of ours may still pay is not given back.
    pub(crate) fn orphan(&mut self, id: PaymentId, block_hash: B256) -> Told {
        let row = self.row(id);
        if row.state == State::Included && row.inclusion.is_some_and(|at| at.block_hash == block_hash) {
            let waived = row.story.iter().any(|line| line.to == State::Waived);
            let ours = row.batch.and_then(|batch| self.batch(batch)).map(|batch| batch.fate);
            if let (Some(Fate::Mined(mined)), Some(at), Some(batch)) = (ours, row.inclusion, row.batch)
                && mined.tx == at.tx
            {
                return self.orphan_batch(batch);
            }
            let next = match ours {
                _ if waived => State::Waived,
                Some(Fate::Open) => State::Submitted,
                Some(_) => State::Due,
                None if row.asked.is_some() => State::Submitted,
                None if row.delivery == Delivery::None => State::Released,
                None => State::Due,
            };
            self.change(id, |row| (row.state, row.inclusion) = (next, None));
        }
        Told::Done
    }

    pub(crate) fn finalize(&mut self, batches: &[BatchId], payments: &[(PaymentId, B256)]) -> Told {
        for &batch in batches {
            if let Some(fate @ Fate::Mined(_)) = self.fate(batch) {
                *fate = Fate::Final;
            }
        }
        let mut settled = 0;
        for &(id, block_hash) in payments {
            let row = self.row(id);
            if row.state == State::Included && row.inclusion.is_some_and(|at| at.block_hash == block_hash) {
                self.change(id, |row| row.state = State::Settled);
                settled += 1;
            }
        }
        Told::Count(settled)
    }

    pub(crate) fn bury(&mut self, batch: BatchId) -> Told {
        if let Some(fate @ Fate::Open) = self.fate(batch) {
            *fate = Fate::Dead;
            let waiting = |row: &Row| {
                row.batch == Some(batch) && matches!(row.state, State::Submitting | State::Submitted)
            };
            for id in self.ids(waiting) {
                self.change(id, |row| row.state = State::Due);
            }
        }
        Told::Done
    }

    pub(crate) fn defer(&mut self, id: PaymentId, retry: Duration) -> Told {
        let row = self.row(id);
        if row.state == State::Due {
            let nothing_owed = row.batch.is_none() && row.delivery == Delivery::None;
            let (age, left) = (self.now - row.created_at, row.terms.valid_before * 1_000 - self.now);
            let pause = (age / 4).min(left / 2).clamp(0, 6 * 3_600_000);
            let retry_at = self.now + millis(retry).max(pause);
            self.change(id, |row| {
                row.reason = Some(WHY.to_owned());
                if nothing_owed {
                    (row.state, row.held_until) = (State::Released, 0);
                } else {
                    row.retry_at = retry_at;
                }
            });
        }
        Told::Done
    }

    pub(crate) fn fail(&mut self, id: PaymentId) -> Told {
        if is_owed(self.row(id).state) || self.row(id).state == State::Claimed {
            self.change(id, |row| (row.state, row.reason) = (State::Failed, Some(WHY.to_owned())));
        }
        Told::Done
    }

    pub(crate) fn recover(&mut self) -> Told {
        let now = self.now;
        let abandoned = |row: &Row| {
            let unpaid_for_nothing =
                row.state == State::Due && row.delivery == Delivery::None && row.batch.is_none();
            (row.state == State::Reserved || unpaid_for_nothing) && row.held_until <= now
        };
        let abandoned = self.ids(abandoned);
        for &id in &abandoned {
            self.change(id, |row| (row.state, row.held_until) = (State::Released, 0));
        }
        Told::Count(abandoned.len())
    }

    pub(crate) fn take_over(&mut self, patience: Duration) -> Told {
        let (now, me) = (self.now, self.me().number);
        *self.beats.entry(me).or_insert(0) += 1;
        let others: Vec<_> =
            self.beats.iter().filter(|(id, _)| **id != me).map(|(id, beat)| (*id, *beat)).collect();
        let seen = &mut self.processes[self.actor].seen;
        seen.retain(|id, _| others.iter().any(|(other, _)| other == id));
        let mut dead = Vec::new();
        for &(id, beat) in &others {
            let (known, since) = *seen.entry(id).or_insert((beat, now));
            if known != beat {
                seen.insert(id, (beat, now));
            } else if now - since >= millis(patience) {
                dead.push(id);
            }
        }
        Told::Count(dead.into_iter().map(|id| self.inherit(id)).sum())
    }

    fn inherit(&mut self, dead: i64) -> usize {
        self.beats.remove(&dead);
        let now = self.now;
        let held = self.ids(|row| row.owner == dead && row.state == State::Reserved && row.held_until > 0);
        for &id in &held {
            self.change(id, |row| (row.state, row.held_until) = (State::Released, 0));
        }
        let cut_off = self.ids(|row| row.owner == dead && row.delivery == Delivery::Started);
        for &id in &cut_off {
            self.change(id, |row| (row.delivery, row.held_until) = (Delivery::None, 0));
        }
        let waited_for = self.ids(|row| {
            let open = is_owed_a_delivery(row.state);
            row.owner == dead && row.delivery == Delivery::None && open && row.held_until > now
        });
        for &id in &waited_for {
            self.change(id, |row| row.held_until = 0);
        }
        held.len() + cut_off.len() + waited_for.len()
    }
}
