//! Draws the next step: mostly what a sound program would do, often enough what it never should.

use crate::{
    draw::Draw,
    perform::Hold,
    rules::{Fate, Model, Row},
    step::{Grip, Step},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use obol_core::{Amount, ChainId, Exposure, OfferId, PaymentKey, SettlementCall, TransferMethod};
use obol_ledger::{
    BatchId, Delivery, Inclusion, Lease, NewPayment, Origin, PaymentId, Proof, Settler, State,
};
use std::time::Duration;

const PAYERS: u64 = 2;
const NONCES: u64 = 8;
const REQUESTS: u64 = 3;
const BLOCKS: u64 = 30;

/// A hold that somebody has, and what the model calls it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) grip: Grip,
    pub(crate) hold: Hold,
    /// The process whose request has it.
    pub(crate) process: usize,
}

/// What was handed out and can be used, or used too late.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    pub(crate) holds: Vec<Held>,
    pub(crate) leases: Vec<Lease>,
}

pub(crate) const fn chain(number: u64) -> ChainId {
    ChainId::new(1 + number % 2)
}

pub(crate) fn settler(chain: ChainId) -> Settler {
    Settler { chain, account: Address::repeat_byte(0x5e) }
}

fn word(number: u64) -> B256 {
    B256::from(U256::from(number))
}

fn offer(number: u64) -> OfferId {
    OfferId { namespace: "model".to_owned(), name: format!("offer-{number}") }
}

fn key(payer: u64, nonce: u64) -> PaymentKey {
    PaymentKey {
        chain: chain(nonce),
        asset: Address::repeat_byte(if nonce.is_multiple_of(3) { 0xa1 } else { 0xa2 }),
        method: TransferMethod::Eip3009,
        payer: Address::left_padding_from(&[1 + u8::try_from(payer).expect("few")]),
        nonce: word(nonce),
    }
}

#[derive(Clone, Copy)]
enum Wish {
    Reserve,
    Recall,
    RecallPayer,
    Use,
    Lease,
    EndLease,
    Store,
    StoreAttempt,
    Taken,
    Mined,
    OrphanBatch,
    Bury,
    Include,
    Orphan,
    Finalize,
    Defer,
    Fail,
    Ask,
    Answer,
    Recover,
}

/// Of a hundred and more, as often as brings every state about.
const WISHES: &[(u64, Wish)] = &[
    (24, Wish::Reserve),
    (3, Wish::Recall),
    (2, Wish::RecallPayer),
    (30, Wish::Use),
    (5, Wish::Lease),
    (1, Wish::EndLease),
    (14, Wish::Store),
    (3, Wish::StoreAttempt),
    (8, Wish::Taken),
    (10, Wish::Mined),
    (3, Wish::OrphanBatch),
    (2, Wish::Bury),
    (4, Wish::Include),
    (5, Wish::Orphan),
    (3, Wish::Finalize),
    (3, Wish::Defer),
    (2, Wish::Fail),
    (8, Wish::Ask),
    (8, Wish::Answer),
    (2, Wish::Recover),
];

pub(crate) struct Chooser<'a> {
    pub(crate) draw: &'a mut Draw,
    pub(crate) model: &'a Model,
    pub(crate) hands: &'a mut Hands,
    /// Transactions so far: each has a hash of its own.
    pub(crate) transactions: &'a mut u64,
}

impl Chooser<'_> {
    /// A request to the ledger; it takes the hold that it uses out of the hands.
    pub(crate) fn request(&mut self) -> (Step, Option<Hold>) {
        loop {
            let wish = self.draw.weighted(WISHES);
            let step = match wish {
                Wish::Use => match self.use_hold() {
                    Some(used) => return used,
                    None => continue,
                },
                Wish::Reserve | Wish::Recall | Wish::RecallPayer => Some(self.knock(wish)),
                Wish::Lease | Wish::EndLease | Wish::Store | Wish::StoreAttempt => self.send(wish),
                _ => self.evidence(wish),
            };
            if let Some(step) = step {
                return (step, None);
            }
        }
    }

    fn knock(&mut self, wish: Wish) -> Step {
        let (payer, nonce) = (self.draw.below(PAYERS), self.draw.below(NONCES));
        let hold = Duration::from_millis(self.draw.pick(&[0, 2_000, 20_000]).expect("some"));
        let (key, fingerprint) = (key(payer, nonce), word(1 + self.draw.below(REQUESTS)));
        let origin = Origin { fingerprint, client: word(u64::from(self.draw.percent(15))) };
        let call = Bytes::from(vec![u8::try_from(nonce).expect("few") + u8::from(self.draw.percent(4))]);
        match wish {
            Wish::RecallPayer => Step::RecallPayer { key, calls: vec![call], origin, hold },
            Wish::Recall => Step::Recall { key, calls: vec![Bytes::from(vec![99]), call], origin, hold },
            _ => Step::Reserve { new: Box::new(self.payment(key, nonce, call, origin)), hold },
        }
    }

    fn payment(&mut self, key: PaymentKey, nonce: u64, data: Bytes, origin: Origin) -> NewPayment {
        NewPayment {
            payee: Address::repeat_byte(if self.draw.percent(3) { 0xbb } else { 0xbe }),
            amount: Amount::from(10 + nonce + u64::from(self.draw.percent(3))),
            call: SettlementCall { token: key.asset, data, deployment: None },
            // Some end within the time that a sequence spans.
            valid_before: if nonce == 1 { 1_800_000_060 } else { 4_000_000_000 },
            offer: offer(if self.draw.percent(8) { 1 } else { nonce % 2 }),
            origin,
            balance: Amount::from(if self.draw.percent(20) { 10 + self.draw.below(60) } else { 1_000 }),
            // Some of the processes see no chain.
            verified_block: if self.draw.percent(30) { 0 } else { self.draw.below(BLOCKS) },
            proof: if self.draw.percent(10) { Proof::Word } else { Proof::Signature },
            question: (nonce >= NONCES / 2).then(|| Bytes::from(vec![u8::try_from(nonce).expect("few"); 3])),
            key,
        }
    }

    fn use_hold(&mut self) -> Option<(Step, Option<Hold>)> {
        let mine: Vec<_> = (0..self.hands.holds.len())
            .filter(|&at| self.hands.holds[at].process == self.model.actor)
            .collect();
        let Held { grip, hold, .. } = self.hands.holds.swap_remove(self.draw.pick(&mine)?);
        let step = match hold {
            Hold::Reserved(_) => match self.draw.below(20) {
                0..4 => Step::Release(grip),
                4..5 => Step::Waive(grip),
                5..12 => Step::Owe(grip, None),
                _ => Step::Owe(grip, Some(self.exposure())),
            },
            Hold::Owed(_) if self.draw.percent(60) => Step::StartDelivery(grip),
            Hold::Owed(_) => Step::LetGo(grip),
            Hold::Delivering(_) if self.draw.percent(15) => Step::Undeliver(grip),
            Hold::Delivering(_) => Step::FinishDelivery(grip),
        };
        Some((step, Some(hold)))
    }

    fn exposure(&mut self) -> Exposure {
        let per_payer = self.draw.pick(&[9, 24, 1_000]).expect("some");
        let per_offer = self.draw.pick(&[9, 24, 48, 1_000]).expect("some");
        Exposure { per_payer: per_payer.into(), per_offer: per_offer.into() }
    }

    fn send(&mut self, wish: Wish) -> Option<Step> {
        let settler = settler(chain(self.draw.below(2)));
        if matches!(wish, Wish::Lease) {
            let ttl = Duration::from_millis(self.draw.pick(&[3_000, 10_000]).expect("some"));
            return Some(Step::Lease { settler, ttl });
        }
        let lease = self.lease()?;
        let hash = self.hash();
        Some(match wish {
            Wish::EndLease => Step::EndLease(lease),
            Wish::StoreAttempt => {
                Step::StoreAttempt { lease, batch: self.any_batch(Some(Fate::Open))?, hash }
            }
            _ => {
                let mut payments =
                    self.some(5, |row| row.state == State::Due && row.terms.key.chain == lease.settler.chain);
                if self.draw.percent(10) {
                    payments.extend(self.some(1, |_| true));
                }
                let used = self.model.batches.iter().filter(|batch| batch.settler == lease.settler).count();
                let nonce = if self.draw.percent(5) { self.draw.below(4) } else { used as u64 + 4 };
                Step::StoreBatch { lease, nonce, payments, hash }
            }
        })
    }

    /// Mostly the last one that was given out.
    fn lease(&mut self) -> Option<Lease> {
        let last = self.hands.leases.last().copied();
        if self.draw.percent(75) { last } else { self.draw.pick(&self.hands.leases) }
    }

    fn hash(&mut self) -> B256 {
        *self.transactions += 1;
        word(1_000 + *self.transactions)
    }

    fn evidence(&mut self, wish: Wish) -> Option<Step> {
        let retry = Duration::from_millis(self.draw.pick(&[0, 2_000]).expect("some"));
        Some(match wish {
            Wish::Taken => Step::Taken { batch: self.any_batch(Some(Fate::Open))?, hash: self.hash() },
            Wish::Mined => return self.mined(retry),
            Wish::OrphanBatch => Step::OrphanBatch(self.mined_batch()?),
            Wish::Bury => Step::Bury(self.any_batch(Some(Fate::Open))?),
            Wish::Include => {
                let at = self.inclusion();
                Step::Include { key: key(self.draw.below(PAYERS), self.draw.below(NONCES)), at }
            }
            Wish::Orphan => {
                let (id, at) = self.draw.pick(&self.included())?;
                let other = self.draw.percent(10);
                Step::Orphan { id, block_hash: if other { word(1) } else { at.block_hash } }
            }
            Wish::Finalize => self.finalize(),
            Wish::Defer => Step::Defer { id: self.due_or_any()?, retry },
            Wish::Fail => Step::Fail(self.due_or_any()?),
            Wish::Ask => {
                let facilitator = u64::from(self.draw.percent(10));
                Step::Ask { id: self.due_or_any()?, facilitator }
            }
            Wish::Answer => return self.answer(retry),
            _ => Step::Recover,
        })
    }

    /// What a facilitator says to a question, or to one that nobody has put.
    fn answer(&mut self, retry: Duration) -> Option<Step> {
        let any = self.draw.percent(20);
        if self.draw.percent(15) {
            let claimed = self.model.ids(|row| any || row.state == State::Claimed);
            return Some(Step::Doubt(self.draw.pick(&claimed)?));
        }
        let ids = self.model.ids(|row| {
            any || row.asked.is_some() && matches!(row.state, State::Submitting | State::Submitted)
        });
        let id = self.draw.pick(&ids)?;
        Some(match self.draw.below(5) {
            4 => Step::AskAgain(id),
            0 => Step::Decline { id, retry },
            1 => Step::Claim(id, self.hash()),
            2 => Step::Promise(id, None),
            _ => Step::Promise(id, Some(self.hash())),
        })
    }

    fn due_or_any(&mut self) -> Option<PaymentId> {
        let any = self.draw.percent(30);
        let ids = self.model.ids(|row| any || row.state == State::Due);
        self.draw.pick(&ids)
    }

    fn inclusion(&mut self) -> Inclusion {
        let block = self.draw.below(BLOCKS);
        Inclusion {
            tx: self.hash(),
            block,
            block_hash: word(100 + block),
            block_time: 1_800_000_000,
            log_index: self.draw.below(5),
        }
    }

    fn included(&self) -> Vec<(PaymentId, Inclusion)> {
        self.model.rows.iter().filter_map(|row| Some((row.id, row.inclusion?))).collect()
    }

    /// A batch in this fate, or at times any, or one that does not exist.
    fn any_batch(&mut self, fate: Option<Fate>) -> Option<BatchId> {
        let any = self.draw.percent(10);
        let ids: Vec<_> = (1..)
            .zip(&self.model.batches)
            .filter(|(_, batch)| any || fate.is_none_or(|fate| batch.fate == fate))
            .map(|(id, _)| BatchId(id))
            .collect();
        match self.draw.percent(1) {
            true => Some(BatchId(1_000)),
            false => self.draw.pick(&ids),
        }
    }

    fn mined_batch(&mut self) -> Option<BatchId> {
        let any = self.draw.percent(10);
        let ids: Vec<_> = (1..)
            .zip(&self.model.batches)
            .filter(|(_, batch)| any || matches!(batch.fate, Fate::Mined(_)))
            .map(|(id, _)| BatchId(id))
            .collect();
        self.draw.pick(&ids)
    }

    /// A batch's receipt: what waits for it is in it, paid or not.
    fn mined(&mut self, retry: Duration) -> Option<Step> {
        let batch = self.any_batch(Some(Fate::Open))?;
        let at = self.inclusion();
        let all_paid = self.draw.percent(50);
        let (mut paid, mut unpaid) = (Vec::new(), Vec::new());
        let moving = |row: &Row| matches!(row.state, State::Submitting | State::Submitted | State::Included);
        for id in self.model.ids(|row| row.batch == Some(batch) && moving(row)) {
            if all_paid || self.draw.percent(40) { paid.push(id) } else { unpaid.push(id) }
        }
        if self.draw.percent(5) {
            // A process that has slept believes in a batch that the payment has left.
            unpaid.extend(self.some(1, |row| !paid.contains(&row.id)));
        }
        Some(Step::Mined { batch, at, paid, unpaid, retry })
    }

    fn finalize(&mut self) -> Step {
        let blocks = self.draw.below(BLOCKS);
        let is_final = |at: &Inclusion| at.block <= blocks;
        let batches = (1..)
            .zip(&self.model.batches)
            .filter(|(_, batch)| matches!(batch.fate, Fate::Mined(at) if is_final(&at)))
            .map(|(id, _)| BatchId(id))
            .collect();
        let mut payments: Vec<_> = self.included();
        payments.retain(|(_, at)| is_final(at));
        let spoil = self.draw.percent(10);
        let payments =
            payments.into_iter().map(|(id, at)| (id, if spoil { word(1) } else { at.block_hash })).collect();
        Step::Finalize { batches, payments }
    }

    /// At most `most` payments for which this holds, each at most once unless it is drawn twice.
    fn some(&mut self, most: u64, holds: impl Fn(&Row) -> bool) -> Vec<PaymentId> {
        let mut ids = self.model.ids(holds);
        let count = usize::try_from(1 + self.draw.below(most)).expect("few");
        while ids.len() > count {
            let at = usize::try_from(self.draw.below(ids.len() as u64)).expect("an index");
            ids.swap_remove(at);
        }
        ids
    }
}

/// What a grip that was just given out holds.
pub(crate) fn grip(model: &Model, id: PaymentId) -> Grip {
    Grip { id, reservation: model.row(id).reservation }
}

/// Whether the response may be on its way.
pub(crate) fn is_delivered(delivery: Delivery) -> bool {
    delivery != Delivery::None
}
