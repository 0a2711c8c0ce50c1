//! The rules of payments that a facilitator of others settles.

use crate::{
    rules::{Model, millis},
    step::{Told, WHY},
};
use alloy_primitives::B256;
use obol_ledger::{Delivery, PaymentId, State};
use std::time::Duration;

impl Model {
    /// A question is put to one facilitator, once and for all.
    pub(crate) fn ask(&mut self, id: PaymentId, facilitator: u64) -> Told {
        let row = self.row(id);
        let open = row.state == State::Due && row.batch.is_none() && row.terms.question.is_some();
        if !open || row.asked.is_some_and(|asked| asked != facilitator) {
            return Told::Moved(id);
        }
        self.change(id, |row| {
            (row.state, row.asked, row.reason) = (State::Submitting, Some(facilitator), None);
            row.puts += 1;
        });
        Told::Done
    }

    pub(crate) fn ask_again(&mut self, id: PaymentId) -> Told {
        if !self.is_asked(id) || !matches!(self.row(id).state, State::Submitting | State::Submitted) {
            return Told::Moved(id);
        }
        self.row_mut(id).puts += 1;
        Told::Done
    }

    /// What an endpoint does not show is to be seen from then on.
    pub(crate) fn doubt(&mut self, id: PaymentId) -> Told {
        if self.row(id).state == State::Claimed {
            self.change(id, |row| {
                (row.state, row.verified_block) = (State::Submitted, row.verified_block.max(1))
            });
        }
        Told::Done
    }

    fn is_asked(&self, id: PaymentId) -> bool {
        self.row(id).asked.is_some() && self.row(id).batch.is_none()
    }

    pub(crate) fn promise(&mut self, id: PaymentId, tx: Option<B256>) -> Told {
        let row = self.row(id);
        let other = tx.is_some() && row.claim != tx;
        let news = row.state == State::Submitting || row.state == State::Submitted && other;
        if self.is_asked(id) && news {
            self.change(id, |row| {
                row.state = State::Submitted;
                row.claim = tx.or(row.claim);
            });
        }
        Told::Done
    }

    pub(crate) fn claim(&mut self, id: PaymentId, tx: B256) -> Told {
        let row = self.row(id);
        if row.verified_block > 0 {
            // Whoever verified it has to see it.
            return self.promise(id, Some(tx));
        }
        if self.is_asked(id) && matches!(row.state, State::Submitting | State::Submitted) {
            self.change(id, |row| {
                (row.state, row.claim, row.reason) = (State::Claimed, Some(tx), None);
            });
        }
        Told::Done
    }

    /// Only an answer to the first question says anything, and what was delivered stays owed.
    pub(crate) fn decline(&mut self, id: PaymentId, retry: Duration) -> Told {
        let row = self.row(id);
        let (age, left) = (self.now - row.created_at, row.terms.valid_before * 1_000 - self.now);
        let pause = (age / 4).min(left / 2).clamp(0, 6 * 3_600_000);
        let retry_at = self.now + millis(retry).max(pause);
        let next = match (row.state, row.delivery) {
            (State::Submitting, Delivery::None) => State::Released,
            (State::Submitting | State::Submitted, Delivery::Started | Delivery::Done) => State::Due,
            _ => return Told::Moved(id),
        };
        if !self.is_asked(id) || self.row(id).puts != 1 {
            return Told::Moved(id);
        }
        {
            self.change(id, |row| {
                (row.state, row.reason) = (next, Some(WHY.to_owned()));
                (row.asked, row.puts, row.declined) = (None, 0, true);
                match next {
                    State::Released => row.held_until = 0,
                    _ => row.retry_at = retry_at,
                }
            });
        }
        Told::Done
    }
}
