//! The rules of holds: what a request may do with a payment that it has, and what is earned.

use crate::{
    rules::{Model, Row, is_owed, is_paid, sum},
    step::{Grip, Told, WHY},
};
use alloy_primitives::Address;
use obol_core::{Amount, Exposure, OfferId};
use obol_ledger::{Delivery, State};
use std::collections::BTreeMap;

/// Offer, chain and asset.
pub(crate) type Line = (OfferId, u64, Address);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Earned {
    pub(crate) payments: u64,
    pub(crate) final_payments: u64,
    pub(crate) amount: Amount,
    pub(crate) final_amount: Amount,
    pub(crate) claimed_payments: u64,
    pub(crate) claimed_amount: Amount,
}

impl Model {
    fn held(&self, grip: Grip) -> Option<&Row> {
        Some(self.row(grip.id)).filter(|row| row.reservation == grip.reservation)
    }

    fn lost(&self, grip: Grip) -> Told {
        Told::Lost(self.row(grip.id).state)
    }

    pub(crate) fn release(&mut self, grip: Grip) -> Told {
        match self.held(grip).map(|row| row.state) {
            Some(State::Reserved) => {
                self.change(grip.id, |row| {
                    (row.state, row.held_until, row.reason) = (State::Released, 0, Some(WHY.to_owned()));
                });
                Told::Done
            }
            // A stranger settled it: its payer may come for it.
            Some(state) if is_paid(state) => {
                self.change(grip.id, |row| row.held_until = 0);
                self.lost(grip)
            }
            _ => self.lost(grip),
        }
    }

    pub(crate) fn waive(&mut self, grip: Grip) -> Told {
        match self.held(grip).map(|row| row.state) {
            Some(State::Reserved) => {
                self.change(grip.id, |row| {
                    (row.state, row.delivery, row.held_until) = (State::Waived, Delivery::Done, 0);
                });
                Told::Done
            }
            _ => self.lost(grip),
        }
    }

    pub(crate) fn owe(&mut self, grip: Grip, exposure: Option<Exposure>) -> Told {
        match self.held(grip).cloned() {
            Some(row) if row.state == State::Reserved => {
                let deliver = exposure.is_some_and(|exposure| self.bears(&row, exposure));
                self.change(grip.id, |row| {
                    row.state = State::Due;
                    if deliver {
                        (row.delivery, row.held_until) = (Delivery::Started, 0);
                    }
                });
                if deliver { Told::Deliver } else { Told::SettleFirst }
            }
            // A stranger settled it meanwhile.
            Some(row) if is_paid(row.state) && row.delivery == Delivery::None => Told::SettleFirst,
            _ => self.lost(grip),
        }
    }

    /// Whether one more payment may be out before its money is in.
    fn bears(&self, this: &Row, exposure: Exposure) -> bool {
        let out = |of_payer: bool| {
            let rows = self.rows.iter().filter(move |row| {
                let (a, b) = (&row.terms, &this.terms);
                (is_owed(row.state) || row.state == State::Failed)
                    && row.delivery != Delivery::None
                    && (&a.offer, a.key.asset, a.key.chain) == (&b.offer, b.key.asset, b.key.chain)
                    && (!of_payer || a.key.payer == b.key.payer)
            });
            sum(rows.map(|row| row.terms.amount)).checked_add(this.terms.amount).expect("small amounts")
        };
        out(true) <= exposure.per_payer && out(false) <= exposure.per_offer
    }

    pub(crate) fn start_delivery(&mut self, grip: Grip) -> Told {
        match self.held(grip) {
            Some(row)
                if (is_paid(row.state) || row.state == State::Claimed) && row.delivery == Delivery::None =>
            {
                self.change(grip.id, |row| (row.delivery, row.held_until) = (Delivery::Started, 0));
                Told::Done
            }
            _ => self.lost(grip),
        }
    }

    pub(crate) fn finish_delivery(&mut self, grip: Grip) -> Told {
        if self.held(grip).is_some_and(|row| row.delivery == Delivery::Started) {
            self.change(grip.id, |row| row.delivery = Delivery::Done);
        }
        Told::Done
    }

    pub(crate) fn let_go(&mut self, grip: Grip) -> Told {
        if let Some(row) = self.held(grip)
            && row.delivery == Delivery::None
        {
            let never_sent = row.state == State::Due && row.batch.is_none();
            self.change(grip.id, |row| {
                row.held_until = 0;
                if never_sent {
                    (row.state, row.reason) = (State::Released, Some(WHY.to_owned()));
                }
            });
        }
        Told::Left(self.row(grip.id).state)
    }

    pub(crate) fn undeliver(&mut self, grip: Grip) -> Told {
        if self.held(grip).is_some_and(|row| row.delivery == Delivery::Started) {
            self.change(grip.id, |row| row.delivery = Delivery::None);
        }
        self.let_go(grip);
        Told::Done
    }

    pub(crate) fn earnings(&self) -> BTreeMap<Line, Earned> {
        let mut lines: BTreeMap<_, Earned> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| is_paid(row.state) || row.state == State::Claimed) {
            let key = (row.terms.offer.clone(), row.terms.key.chain.reference(), row.terms.key.asset);
            let line = lines.entry(key).or_default();
            if row.state == State::Claimed {
                line.claimed_payments += 1;
                line.claimed_amount = sum([line.claimed_amount, row.terms.amount].into_iter());
                continue;
            }
            line.payments += 1;
            line.amount = sum([line.amount, row.terms.amount].into_iter());
            if row.state == State::Settled {
                line.final_payments += 1;
                line.final_amount = sum([line.final_amount, row.terms.amount].into_iter());
            }
        }
        lines
    }
}
