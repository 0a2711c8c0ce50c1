//! Sending what is due: build, sign, store, and only then broadcast.

use super::{Pace, Settler, SettlerState};
use crate::limits::{BATCH, BATCH_OVERHEAD, OPEN_BATCHES};
use crate::sight::TickError;
use alloy_primitives::{B256, Bytes, U256};
use obol_core::{Amount, SettlementCall};
use obol_evm::{
    BlockTag, Fees, RpcError, SignedTransaction, Simulated, batch_call, gas_limit_of, sign_call, sign_filler,
};
use obol_ledger::{
    Attempt, BatchId, BatchState, Clock, DuePayment, Lease, LedgerError, LiveBatch, NewAttempt, PaymentId,
    Stored,
};
use std::time::{Duration, Instant};

/// How often bytes that are out are given to the node again.
const REBROADCAST: Duration = Duration::from_secs(5);

/// How often in a row nonces have to be missing on the chain before that is believed: an endpoint
/// may be behind.
pub(super) const LOOKS: u32 = 2;

/// Due payments that can travel together, and how.
struct Load {
    payments: Vec<DuePayment>,
    room: Room,
}

/// How much gas each payment of a transaction may take.
#[derive(Clone, Copy)]
enum Room {
    /// The payer, or the wallet that it is to become, has code: it is alone.
    Alone(u64),
    /// So much each, however many there are.
    Each(u64),
}

impl Room {
    const fn gas_limit(self, payments: usize) -> u64 {
        let gas = match self {
            Self::Alone(gas) => gas,
            Self::Each(gas) => gas.saturating_mul(payments as u64),
        };
        gas.saturating_add(BATCH_OVERHEAD)
    }
}

impl Load {
    const fn gas_limit(&self) -> u64 {
        self.room.gas_limit(self.payments.len())
    }
}

/// Whether the loop goes on after an attempt to send.
enum Sent {
    Again,
    Enough,
}

impl Settler {
    pub(super) async fn send(&mut self) -> Result<Pace, TickError> {
        let Some(lease) = self.lead.lease() else { return Ok(Pace::Idle) };
        let live = self.ledger.live_batches(self.account).await?;
        let lowest = live.iter().map(|batch| batch.nonce).min();
        let open: Vec<_> = live.into_iter().filter(|batch| batch.state == BatchState::Open).collect();
        if !open.is_empty() && Instant::now() >= self.rebroadcast_at {
            self.heal_gap(lease, lowest).await?;
            self.send_again(lease, &open).await?;
            self.rebroadcast_at = Instant::now() + REBROADCAST;
        }
        let mut pace = if open.is_empty() { Pace::Idle } else { Pace::Watching };
        let mut looked = *self.state.borrow() == SettlerState::Leading;
        // Fillers are bounded by themselves, and dead ones would take the places until final blocks
        // show it.
        let taken = open.iter().filter(|batch| !batch.payments.is_empty()).count();
        for _ in taken..OPEN_BATCHES {
            let due = self.ledger.due(self.chain.id, BATCH).await?;
            if due.is_empty() {
                break;
            }
            looked = true;
            match self.send_some(lease, due, open.first()).await? {
                Sent::Again => pace = Pace::Moving,
                Sent::Enough => break,
            }
        }
        if !looked {
            self.look_around(&open).await?;
        }
        Ok(pace)
    }

    /// Fills nonces below `lowest`, the first that something of ours is out for: nothing after
    /// them can be mined.
    async fn heal_gap(&mut self, lease: Lease, lowest: Option<u64>) -> Result<(), TickError> {
        let Some(lowest) = lowest else { return Ok(()) };
        let next = self.rpc.transaction_count(self.account.account, BlockTag::Latest).await?;
        self.gaps = if next < lowest { self.gaps + 1 } else { 0 };
        if self.gaps < LOOKS {
            return Ok(());
        }
        let Some(fees) = self.fees().await? else { return Ok(()) };
        for nonce in (next..lowest).take(OPEN_BATCHES) {
            let filler = sign_filler(&self.key, self.chain.id, nonce, fees);
            match self.ledger.store_batch(lease, nonce, Vec::new(), attempt(&filler, fees)).await? {
                Stored::Batch(batch) => {
                    tracing::warn!(chain = %self.chain.id, nonce, transaction = %filler.hash,
                        "a nonce of the settler's is missing on the chain; filling it");
                    self.broadcast(batch, filler.hash, &filler.raw).await?;
                }
                Stored::Fenced => {
                    self.fenced();
                    return Ok(());
                }
                // Ours was there, and final.
                Stored::NonceTaken | Stored::Moved(_) => {
                    self.enter(SettlerState::ChainLost);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send_some(
        &mut self,
        lease: Lease,
        due: Vec<DuePayment>,
        first_out: Option<&LiveBatch>,
    ) -> Result<Sent, TickError> {
        // Two round trips to a far endpoint rather than eight.
        let (nonce, load, market, funds) =
            tokio::try_join!(self.nonce(), self.load(due), self.fees(), self.funds())?;
        let Some(nonce) = nonce else {
            self.enter(SettlerState::KeyShared);
            return Ok(Sent::Enough);
        };
        let whole = batch_call(&calls(&load.payments));
        let gathered = load.payments.len();
        let (mut load, l1_fee) = tokio::try_join!(self.simulate(load), self.l1_fee(nonce, &whole))?;
        let l1_fee_each = l1_fee.div_ceil(U256::from(gathered));
        if load.payments.is_empty() {
            return Ok(Sent::Again);
        }
        // Behind a transaction that is stuck for its price no other can be mined.
        let Some(fees) = market.filter(|market| self.needed(*market, first_out).is_some()) else {
            self.enter(SettlerState::TooExpensive);
            return Ok(Sent::Enough);
        };
        self.note_funds(funds, fees);
        // The last of the gas money settles what it can.
        while let Err(state) =
            self.affordable(l1_fee_each, funds, load.gas_limit(), fees, load.payments.len())
        {
            if load.payments.len() == 1 || state != SettlerState::NoGas {
                self.enter(state);
                return Ok(Sent::Enough);
            }
            load.payments.truncate(load.payments.len() / 2);
        }
        self.enter(SettlerState::Leading);
        let call = batch_call(&calls(&load.payments));
        let signed = sign_call(&self.key, self.chain.id, nonce, load.gas_limit(), fees, &call);
        let ids: Vec<PaymentId> = load.payments.iter().map(|payment| payment.record.id).collect();
        let count = ids.len();
        match self.ledger.store_batch(lease, nonce, ids, attempt(&signed, fees)).await? {
            Stored::Batch(batch) => {
                tracing::info!(chain = %self.chain.id, transaction = %signed.hash, nonce, payments = count,
                    "settlement stored; sending it");
                self.broadcast(batch, signed.hash, &signed.raw).await?;
                Ok(Sent::Again)
            }
            Stored::Fenced => {
                self.fenced();
                Ok(Sent::Enough)
            }
            Stored::NonceTaken | Stored::Moved(_) => Ok(Sent::Again),
        }
    }

    /// The next nonce by the ledger, or by the chain before the first batch. None when the chain
    /// has used nonces that the ledger did not give out.
    pub(super) async fn nonce(&self) -> Result<Option<u64>, TickError> {
        let on_chain = self.rpc.transaction_count(self.account.account, BlockTag::Latest).await?;
        Ok(match self.ledger.next_nonce(self.account).await? {
            None => Some(on_chain),
            Some(next) if on_chain <= next => Some(next),
            Some(_) => None,
        })
    }

    /// Chooses what travels together. A payer with code, or one that is about to have some, can
    /// burn all gas of its transaction, so it travels alone; payments of a batch that failed
    /// travel in ever smaller ones.
    async fn load(&self, due: Vec<DuePayment>) -> Result<Load, TickError> {
        let payers: Vec<_> = due.iter().map(|payment| payment.record.key.payer).collect();
        let codes = self.rpc.codes(&payers).await?;
        let mut first_cap = None;
        let mut payments = Vec::new();
        for (mut payment, code) in due.into_iter().zip(codes) {
            if !code.is_empty() {
                // Deployed meanwhile: doing it again would take all gas of the transaction.
                payment.call.deployment = None;
            }
            if !code.is_empty() || payment.call.deployment.is_some() {
                if payments.is_empty() {
                    let gas = match payment.call.deployment {
                        Some(_) => self.gas.per_deployment,
                        None => self.gas.per_contract_payment,
                    };
                    return Ok(Load { payments: vec![payment], room: Room::Alone(gas) });
                }
                continue;
            }
            let cap = *first_cap.get_or_insert(payment.record.batch_cap);
            let fits = cap == 0 || payments.len() < cap as usize;
            if payment.record.batch_cap == cap && fits {
                payments.push(payment);
            }
        }
        Ok(Load { payments, room: Room::Each(self.gas.per_payment) })
    }

    /// Leaves behind what the token would refuse, and has it judged.
    async fn simulate(&self, load: Load) -> Result<Load, TickError> {
        let simulated =
            self.rpc.simulate(self.account.account, &calls(&load.payments), load.gas_limit()).await?;
        let mut payments = Vec::with_capacity(load.payments.len());
        for (payment, result) in load.payments.into_iter().zip(simulated) {
            match result {
                Simulated::Succeeds => payments.push(payment),
                Simulated::Fails(why) => self.judge(&payment.record, &why).await?,
            }
        }
        Ok(Load { payments, room: load.room })
    }

    /// Gives stored bytes to the node. Whatever it answers, or does not, the bytes stay stored:
    /// only the chain's receipts and events decide.
    async fn broadcast(&self, batch: BatchId, hash: B256, raw: &Bytes) -> Result<(), TickError> {
        let answer = self.rpc.send_raw(raw).await;
        match answer {
            Ok(_) => Ok(self.ledger.taken(batch, hash).await?),
            Err(RpcError::Refused { message, .. }) if is_known(&message) => {
                Ok(self.ledger.taken(batch, hash).await?)
            }
            Err(error) => {
                tracing::warn!(chain = %self.chain.id, endpoint = self.rpc.shown(), transaction = %hash, %error,
                    "no node is known to have the settlement; it will be sent again");
                Ok(())
            }
        }
    }

    /// Sends open batches again, lowest nonce first: with higher fees when the first has waited
    /// too long, and as a filler when nothing is left to pay in it.
    async fn send_again(&mut self, lease: Lease, open: &[LiveBatch]) -> Result<(), TickError> {
        let now = Clock::System.now();
        for (place, batch) in open.iter().enumerate() {
            let Some(last) = batch.attempts.last() else { continue };
            let waited = self.waited(last, now);
            if place == 0 && waited >= self.timing.stuck {
                self.replace(lease, batch, last).await?;
            } else {
                self.broadcast(batch.id, last.hash, &last.raw).await?;
            }
        }
        Ok(())
    }

    async fn replace(&mut self, lease: Lease, batch: &LiveBatch, last: &Attempt) -> Result<(), TickError> {
        let calls = self.ledger.batch_calls(batch.id).await?;
        let whole = batch_call(&calls);
        let (market, funds, l1_fee) =
            tokio::try_join!(self.fees(), self.funds(), self.l1_fee(batch.nonce, &whole))?;
        let Some(fees) = market.and_then(|market| self.needed(market, Some(batch))) else {
            self.enter(SettlerState::TooExpensive);
            return self.broadcast(batch.id, last.hash, &last.raw).await;
        };
        let signed = if calls.is_empty() {
            sign_filler(&self.key, self.chain.id, batch.nonce, fees)
        } else {
            let gas_limit = gas_limit(&batch.attempts)?;
            let l1_fee_each = l1_fee.div_ceil(U256::from(calls.len()));
            if let Err(state) = self.affordable(l1_fee_each, funds, gas_limit, fees, calls.len()) {
                self.enter(state);
                return self.broadcast(batch.id, last.hash, &last.raw).await;
            }
            sign_call(&self.key, self.chain.id, batch.nonce, gas_limit, fees, &whole)
        };
        match self.ledger.store_attempt(lease, batch.id, attempt(&signed, fees)).await? {
            Stored::Batch(batch) => {
                tracing::warn!(chain = %self.chain.id, transaction = %signed.hash, max_fee = fees.max_fee,
                    "a settlement waits too long; sending it with higher fees");
                self.broadcast(batch, signed.hash, &signed.raw).await
            }
            Stored::Fenced | Stored::NonceTaken | Stored::Moved(_) => {
                self.fenced();
                Ok(())
            }
        }
    }
}

fn calls(payments: &[DuePayment]) -> Vec<SettlementCall> {
    payments.iter().map(|payment| payment.call.clone()).collect()
}

/// What was enough for the first attempt is for the next; a filler between them needs less.
fn gas_limit(attempts: &[Attempt]) -> Result<u64, LedgerError> {
    attempts.iter().try_fold(0, |most, attempt| {
        let limit = gas_limit_of(&attempt.raw).ok_or_else(|| {
            LedgerError::Corrupt(format!("the bytes of {} are no transaction", attempt.hash))
        })?;
        Ok(most.max(limit))
    })
}

fn attempt(signed: &SignedTransaction, fees: Fees) -> NewAttempt {
    NewAttempt {
        hash: signed.hash,
        raw: signed.raw.clone(),
        max_fee: Amount::from_atomic(U256::from(fees.max_fee)),
        tip: Amount::from_atomic(U256::from(fees.tip)),
    }
}

/// Nodes have no code for this, only words.
fn is_known(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["already known", "already imported", "known transaction"].iter().any(|words| message.contains(words))
}
