//! What settling costs, and whether the settler account can and may pay it.

use super::{Settler, SettlerState, send::LOOKS};
use crate::sight::TickError;
use alloy_primitives::{Bytes, U256};
use obol_evm::{BlockTag, ContractCall, Fees, sign_call};
use obol_ledger::{Attempt, Clock, LiveBatch, Timestamp};
use std::time::Duration;

/// Payments that the gas money should last for.
const LOW: u64 = 100;

impl Settler {
    /// What the account can do when nothing is due: nothing will be while new payments are
    /// refused, so a state that refuses them has to be left without one.
    pub(super) async fn look_around(&mut self, open: &[LiveBatch]) -> Result<(), TickError> {
        if !self.has_chain().await? {
            return Ok(());
        }
        let Some(nonce) = self.nonce().await? else {
            self.enter(SettlerState::KeyShared);
            return Ok(());
        };
        let Some(fees) = self.fees().await?.and_then(|market| self.needed(market, open.first())) else {
            self.enter(SettlerState::TooExpensive);
            return Ok(());
        };
        let example = ContractCall { to: self.account.account, data: Bytes::new() };
        let (funds, l1_fee) = tokio::try_join!(self.funds(), self.l1_fee(nonce, &example))?;
        let state = self.affordable(l1_fee, funds, self.gas.of_one(), fees, 1).err();
        self.note_funds(funds, fees);
        self.enter(state.unwrap_or(self.part()));
        Ok(())
    }

    /// Says once that the gas money comes to its end, while there is time to send some. As fees go
    /// up and down around the mark, nothing more is said.
    pub(super) fn note_funds(&mut self, funds: U256, fees: Fees) {
        let one = U256::from(self.gas.of_one()) * U256::from(fees.max_fee);
        let lasts_for = |payments: u64| funds >= one * U256::from(payments);
        if self.low {
            self.low = !lasts_for(2 * LOW);
        } else if !lasts_for(LOW) {
            self.low = true;
            tracing::warn!(chain = %self.chain.id, settler = %self.account.account, wei = %funds,
                "the settler's gas money lasts for fewer than {LOW} payments sent one by one; send it some");
        }
    }

    /// Whether the chain has what was final; one look is not believed.
    async fn has_chain(&mut self) -> Result<bool, TickError> {
        let count = self.rpc.transaction_count(self.account.account, BlockTag::Latest).await?;
        let whole = self.ledger.final_nonce(self.account).await? <= Some(count);
        self.misses = if whole { 0 } else { self.misses + 1 };
        if self.misses >= LOOKS {
            self.enter(SettlerState::ChainLost);
        }
        Ok(whole)
    }

    /// What to pay per gas now; none when that is above the ceiling.
    pub(super) async fn fees(&self) -> Result<Option<Fees>, TickError> {
        let (head, tip) = tokio::join!(self.watch.sight.read_head(), self.rpc.suggested_tip());
        Ok(self.gas.fees(head?.base_fee_per_gas, tip)?)
    }

    /// What the account has, in wei.
    pub(super) async fn funds(&self) -> Result<U256, TickError> {
        Ok(self.rpc.balance(self.account.account).await?)
    }

    /// What the data of a transaction costs on L1, in wei: nothing but on OP-stack chains.
    pub(super) async fn l1_fee(&self, nonce: u64, call: &ContractCall) -> Result<U256, TickError> {
        if !self.chain.op_stack {
            return Ok(U256::ZERO);
        }
        // Neither stored nor sent: its length is what is paid for.
        let fees = Fees { max_fee: self.gas.max_fee, tip: self.gas.max_fee };
        let example = sign_call(&self.key, self.chain.id, nonce, u64::MAX, fees, call);
        Ok(self.rpc.l1_fee(&example.raw).await?)
    }

    /// Whether the account can pay for a transaction at its worst, and the L1 fee is bearable.
    pub(super) fn affordable(
        &self,
        l1_fee_each: U256,
        funds: U256,
        gas_limit: u64,
        fees: Fees,
        payments: usize,
    ) -> Result<(), SettlerState> {
        if l1_fee_each > U256::from(self.gas.l1_fee_per_payment) {
            return Err(SettlerState::TooExpensive);
        }
        let l1_fee = l1_fee_each.saturating_mul(U256::from(payments));
        let worst = (U256::from(gas_limit) * U256::from(fees.max_fee)).saturating_add(l1_fee);
        if funds < worst { Err(SettlerState::NoGas) } else { Ok(()) }
    }

    /// One from the future waits by a clock that was wrong, then or now: nobody knows how long.
    pub(super) fn waited(&self, attempt: &Attempt, now: Timestamp) -> Duration {
        let reopened =
            if self.watch.reopened_at <= now { self.watch.reopened_at } else { attempt.created_at };
        let since = attempt.created_at.max(reopened);
        match now.0 - since.0 {
            ..-1_000 => Duration::MAX,
            millis => Duration::from_millis(u64::try_from(millis).unwrap_or(0)),
        }
    }

    /// What the next transaction has to pay, if that is within the ceiling: more than the first
    /// that is out, when that one is stuck.
    pub(super) fn needed(&self, market: Fees, first: Option<&LiveBatch>) -> Option<Fees> {
        let stuck = first
            .and_then(|batch| batch.attempts.last())
            .filter(|attempt| self.waited(attempt, Clock::System.now()) >= self.timing.stuck);
        let fees = stuck.map_or(market, |attempt| market.at_least(paid_by(attempt).raised()));
        (fees.max_fee <= self.gas.max_fee).then_some(fees)
    }
}

fn paid_by(attempt: &Attempt) -> Fees {
    Fees { max_fee: attempt.max_fee.atomic().saturating_to(), tip: attempt.tip.atomic().saturating_to() }
}
