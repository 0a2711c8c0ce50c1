//! Receipts of one payment, before and after it is settled.

use alloy_primitives::{Address, B256};
use obol_core::{Amount, ChainId, Payment, Reason, WireVersion};
use obol_ledger::{Inclusion, PaymentRecord};
use obol_wire::Receipt;

/// What a receipt tells about the payment behind it.
#[derive(Clone, Copy)]
pub(super) struct Paying {
    pub(super) chain: ChainId,
    pub(super) payer: Address,
    amount: Amount,
}

impl From<&PaymentRecord> for Paying {
    fn from(record: &PaymentRecord) -> Self {
        Self { chain: record.key.chain, payer: record.key.payer, amount: record.amount }
    }
}

impl From<&Payment> for Paying {
    fn from(payment: &Payment) -> Self {
        let authorization = &payment.authorization;
        Self { chain: payment.chain, payer: authorization.from, amount: authorization.value }
    }
}

impl Paying {
    pub(super) fn settled(self, inclusion: Inclusion) -> Receipt {
        self.claimed(inclusion.tx)
    }

    pub(super) fn claimed(self, transaction: B256) -> Receipt {
        let Self { chain, payer, amount } = self;
        Receipt::Settled { chain, transaction, payer, amount: Some(amount) }
    }

    pub(super) fn pending(self, transaction: Option<B256>, version: WireVersion) -> Receipt {
        let reason = Reason::SettlementPending.code(version).to_owned();
        Receipt::Unsettled { chain: self.chain, transaction, payer: self.payer, reason }
    }
}
