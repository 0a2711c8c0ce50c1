//! How values stand in the columns, and how a payment's row is read.

use crate::{BatchId, Delivery, Inclusion, LedgerError, Origin, PaymentId, PaymentRecord, State, Timestamp};
use alloy_primitives::{Address, B256, U256};
use obol_core::{Amount, ChainId, OfferId, PaymentKey, TransferMethod};
use rusqlite::Row;

/// `SELECT` of a payment in the order in which [`read_payment`] reads it, up to this condition.
macro_rules! select_payments {
    ($($condition:tt)+) => {
        concat!(
            "SELECT id, chain, asset, method, payer, nonce, payee, amount, valid_before, offer_namespace, \
             offer_name, state, revision, reservation, delivery, fingerprint, held_until, verified_block, \
             batch, batch_cap, misses, retry_at, reason, tx, block, block_hash, block_time, log_index, created_at, \
             changed_at, client, claim FROM payments WHERE ",
            $($condition)+
        )
    };
}
pub(crate) use select_payments;

pub(crate) fn chain_code(chain: ChainId) -> i64 {
    chain.reference().cast_signed()
}

pub(crate) fn chain(code: i64) -> ChainId {
    ChainId::new(code.cast_unsigned())
}

pub(crate) fn number_code(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn number(code: i64) -> Result<u64, LedgerError> {
    u64::try_from(code).map_err(|_| LedgerError::Corrupt(format!("a negative number: {code}")))
}

pub(crate) fn amount_code(amount: Amount) -> [u8; 32] {
    amount.atomic().to_be_bytes()
}

pub(crate) fn amount(bytes: &[u8]) -> Result<Amount, LedgerError> {
    word(bytes).map(|word| Amount::from_atomic(U256::from_be_bytes(word.0)))
}

pub(crate) fn word(bytes: &[u8]) -> Result<B256, LedgerError> {
    B256::try_from(bytes).map_err(|_| LedgerError::Corrupt(format!("{} bytes, not 32", bytes.len())))
}

pub(crate) fn account(bytes: &[u8]) -> Result<Address, LedgerError> {
    Address::try_from(bytes).map_err(|_| LedgerError::Corrupt(format!("{} bytes, not 20", bytes.len())))
}

pub(crate) const fn method_code(method: TransferMethod) -> i64 {
    match method {
        TransferMethod::Eip3009 => 0,
        TransferMethod::Permit2 => 1,
    }
}

fn method(code: i64) -> Result<TransferMethod, LedgerError> {
    match code {
        0 => Ok(TransferMethod::Eip3009),
        1 => Ok(TransferMethod::Permit2),
        code => Err(LedgerError::Corrupt(format!("transfer method {code}"))),
    }
}

pub(crate) fn state(code: i64) -> Result<State, LedgerError> {
    State::from_code(code).ok_or_else(|| LedgerError::Corrupt(format!("payment state {code}")))
}

pub(crate) fn delivery(code: i64) -> Result<Delivery, LedgerError> {
    Delivery::from_code(code).ok_or_else(|| LedgerError::Corrupt(format!("delivery {code}")))
}

pub(crate) fn blob<'r>(row: &'r Row<'_>, index: usize) -> Result<&'r [u8], LedgerError> {
    row.get_ref(index)?.as_blob().map_err(|error| LedgerError::Corrupt(error.to_string()))
}

pub(crate) fn read_payment(row: &Row<'_>) -> Result<PaymentRecord, LedgerError> {
    let inclusion = match row.get::<_, Option<i64>>(24)? {
        None => None,
        Some(block) => Some(Inclusion {
            tx: word(blob(row, 23)?)?,
            block: number(block)?,
            block_hash: word(blob(row, 25)?)?,
            block_time: row.get(26)?,
            log_index: number(row.get(27)?)?,
        }),
    };
    Ok(PaymentRecord {
        id: PaymentId(row.get(0)?),
        key: PaymentKey {
            chain: chain(row.get(1)?),
            asset: account(blob(row, 2)?)?,
            method: method(row.get(3)?)?,
            payer: account(blob(row, 4)?)?,
            nonce: word(blob(row, 5)?)?,
        },
        payee: account(blob(row, 6)?)?,
        amount: amount(blob(row, 7)?)?,
        valid_before: row.get(8)?,
        offer: OfferId { namespace: row.get(9)?, name: row.get(10)? },
        state: state(row.get(11)?)?,
        revision: row.get(12)?,
        reservation: row.get(13)?,
        delivery: delivery(row.get(14)?)?,
        origin: Origin { fingerprint: word(blob(row, 15)?)?, client: word(blob(row, 30)?)? },
        held_until: Timestamp(row.get(16)?),
        verified_block: number(row.get(17)?)?,
        batch: row.get::<_, Option<i64>>(18)?.map(BatchId),
        batch_cap: row.get(19)?,
        misses: row.get(20)?,
        retry_at: Timestamp(row.get(21)?),
        reason: row.get(22)?,
        inclusion,
        claim: row.get::<_, Option<Vec<u8>>>(31)?.as_deref().map(word).transpose()?,
        created_at: Timestamp(row.get(28)?),
        changed_at: Timestamp(row.get(29)?),
    })
}
