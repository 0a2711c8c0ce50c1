//! Payments and ledgers that the tests start from.

use alloy_primitives::{Address, B256, Bytes, U256};
use obol_core::{Amount, ChainId, OfferId, PaymentKey, SettlementCall, TransferMethod};
use obol_ledger::{
    BatchId, Clock, Held, Inclusion, Lease, Leased, Ledger, MinedBatch, NewAttempt, NewPayment, Origin,
    Owing, PaymentId, PaymentRecord, Place, Proof, Reservation, Settler, Stored, held,
};
use std::{path::Path, time::Duration};

pub(crate) const CHAIN: ChainId = ChainId::new(31_337);
pub(crate) const ASSET: Address = Address::repeat_byte(0xa5);
pub(crate) const PRICE: u64 = 10_000;
pub(crate) const HOLD: Duration = Duration::from_secs(60);

pub(crate) const SETTLER: Settler = Settler { chain: CHAIN, account: Address::repeat_byte(0x5e) };

/// A payment that no other call with another number makes: own nonce, own payer, own request.
pub(crate) fn payment(number: u64) -> NewPayment {
    let payer = Address::left_padding_from(&(0x1000 + number).to_be_bytes());
    NewPayment {
        key: PaymentKey {
            chain: CHAIN,
            asset: ASSET,
            method: TransferMethod::Eip3009,
            payer,
            nonce: B256::from(U256::from(number)),
        },
        payee: Address::repeat_byte(0xbe),
        amount: PRICE.into(),
        call: SettlementCall {
            token: ASSET,
            data: Bytes::copy_from_slice(&number.to_be_bytes()),
            deployment: None,
        },
        valid_before: 4_000_000_000,
        offer: OfferId { namespace: "llm".to_owned(), name: "hello".to_owned() },
        origin: Origin { fingerprint: B256::from(U256::from(0xf00_0000 + number)), client: B256::ZERO },
        balance: Amount::from(1_000_000_000),
        verified_block: 7,
        proof: Proof::Signature,
        question: None,
    }
}

pub(crate) fn open(path: &Path, who: &str) -> Ledger {
    Ledger::open(&Place::File(path), Clock::System, who).expect("a ledger")
}

pub(crate) async fn reserve(ledger: &Ledger, new: NewPayment) -> Held<held::Reserved> {
    match ledger.reserve(new, HOLD).await.expect("stored") {
        Reservation::Granted(held) => held,
        other => panic!("not granted: {other:?}"),
    }
}

/// In memory: for tests of which files are no part.
pub(crate) fn ledger() -> Ledger {
    Ledger::open(&Place::Memory, Clock::System, "gate").expect("a ledger")
}

/// Reserved, and owed with nothing delivered.
pub(crate) async fn owe(ledger: &Ledger, new: NewPayment) -> Held<held::Owed> {
    let held = reserve(ledger, new).await;
    match ledger.owe(held, None).await.expect("stored").expect("held") {
        Owing::SettleFirst(owed) => owed,
        other => panic!("not owed: {other:?}"),
    }
}

pub(crate) async fn lease(ledger: &Ledger) -> Lease {
    match ledger.lease(SETTLER, Duration::from_secs(30)).await.expect("stored") {
        Leased::Mine(lease) => lease,
        other => panic!("not leased: {other:?}"),
    }
}

pub(crate) fn attempt(number: u64) -> NewAttempt {
    NewAttempt {
        hash: B256::from(U256::from(0xa77_0000 + number)),
        raw: Bytes::copy_from_slice(&number.to_be_bytes()),
        max_fee: 9.into(),
        tip: 1.into(),
    }
}

pub(crate) async fn id_of(ledger: &Ledger, new: &NewPayment) -> Option<PaymentId> {
    ledger.payment_by_key(new.key).await.expect("read").map(|record| record.id)
}
pub(crate) fn inclusion(number: u64, block: u64) -> Inclusion {
    Inclusion {
        tx: B256::from(U256::from(0xa77_0000 + number)),
        block,
        block_hash: B256::from(U256::from(0xb10c_0000 + block)),
        block_time: 1_800_000_000,
        log_index: 0,
    }
}

/// Owed with nothing delivered, and in a batch of its own whose bytes are stored.
pub(crate) async fn submit(ledger: &Ledger, number: u64) -> (PaymentId, BatchId) {
    let id = owe(ledger, payment(number)).await.id();
    (id, store(ledger, number, vec![id]).await)
}

/// A batch with the nonce, and the attempt, of this number.
pub(crate) async fn store(ledger: &Ledger, number: u64, payments: Vec<PaymentId>) -> BatchId {
    let lease = lease(ledger).await;
    match ledger.store_batch(lease, number, payments, attempt(number)).await.expect("stored") {
        Stored::Batch(batch) => batch,
        other => panic!("not stored: {other:?}"),
    }
}

/// What its first attempt's receipt says.
pub(crate) fn receipt(batch: BatchId, at: Inclusion, paid: &[PaymentId], unpaid: &[PaymentId]) -> MinedBatch {
    MinedBatch {
        batch,
        tx: at.tx,
        block: at.block,
        block_hash: at.block_hash,
        block_time: at.block_time,
        cost: U256::from(100_000),
        paid: paid.iter().map(|id| (*id, at)).collect(),
        unpaid: unpaid.to_vec(),
        retry_after: Duration::ZERO,
    }
}

pub(crate) async fn record(ledger: &Ledger, id: PaymentId) -> PaymentRecord {
    ledger.payment(id).await.expect("read").expect("stored")
}

/// Drops the last handle on a file and waits until the file is whole: the last connection takes
/// the write-ahead log with it.
pub(crate) async fn close(ledger: Ledger, path: &Path) {
    drop(ledger);
    let log = path.with_extension("db-wal");
    let closed = async {
        while log.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("closed");
}
