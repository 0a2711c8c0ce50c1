//! SQLite without a ledger around it: the least that a durable reservation can cost.

use crate::measure::rate;
use anyhow::Result;
use obol_ledger::NewPayment;
use rusqlite::{Connection, OpenFlags, params};
use std::{path::Path, time::Instant};

/// The ledger's two rows of a reservation, with its only index that a payment cannot do without.
const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 4000;
CREATE TABLE payments (
    id INTEGER PRIMARY KEY, chain INTEGER, asset BLOB, method INTEGER, payer BLOB, nonce BLOB, payee BLOB,
    amount BLOB, call BLOB, factory BLOB, factory_data BLOB, valid_before INTEGER, offer_namespace TEXT,
    offer_name TEXT, state INTEGER, revision INTEGER, reservation INTEGER, delivery INTEGER, fingerprint BLOB,
    held_until INTEGER, verified_block INTEGER, batch INTEGER, batch_cap INTEGER DEFAULT 0,
    misses INTEGER DEFAULT 0, retry_at INTEGER DEFAULT 0, reason TEXT, tx BLOB, block INTEGER, block_hash BLOB,
    block_time INTEGER, log_index INTEGER, created_at INTEGER, changed_at INTEGER
) STRICT;
CREATE UNIQUE INDEX payment_key ON payments (payer, nonce, asset, chain, method);
CREATE TABLE events (
    payment INTEGER, revision INTEGER, at INTEGER, who TEXT, state_from INTEGER, state_to INTEGER,
    delivery INTEGER, why TEXT, PRIMARY KEY (payment, revision)
) STRICT, WITHOUT ROWID;
";

const PAYMENT: &str = "
INSERT INTO payments (chain, asset, method, payer, nonce, payee, amount, call, valid_before, offer_namespace,
    offer_name, state, revision, reservation, delivery, fingerprint, held_until, verified_block, created_at,
    changed_at, factory, factory_data)
VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, 1, 1, 0, ?11, ?12, ?13, ?14, ?14, NULL, NULL)";

const EVENT: &str = "
INSERT INTO events (payment, revision, at, who, state_from, state_to, delivery, why)
VALUES (?1, 1, ?2, 'bench', NULL, 0, 0, 'verified')";

/// A payment, ready to be bound.
pub(super) struct Row {
    chain: i64,
    asset: [u8; 20],
    payer: [u8; 20],
    nonce: [u8; 32],
    payee: [u8; 20],
    amount: [u8; 32],
    call: Vec<u8>,
    valid_before: i64,
    offer: (String, String),
    fingerprint: [u8; 32],
}

pub(super) fn rows(payments: &[NewPayment]) -> Vec<Row> {
    let row = |new: &NewPayment| Row {
        chain: new.key.chain.reference().cast_signed(),
        asset: new.key.asset.into(),
        payer: new.key.payer.into(),
        nonce: new.key.nonce.into(),
        payee: new.payee.into(),
        amount: new.amount.atomic().to_be_bytes(),
        call: new.call.data.to_vec(),
        valid_before: new.valid_before,
        offer: (new.offer.namespace.clone(), new.offer.name.clone()),
        fingerprint: new.origin.fingerprint.into(),
    };
    payments.iter().map(row).collect()
}

pub(super) struct Bare {
    db: Connection,
}

impl Bare {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let db = Connection::open(path)?;
        db.execute_batch(SCHEMA)?;
        Ok(Self { db })
    }

    /// Inserts all, so many in a commit; tells how many each second.
    pub(super) fn insert_all(&mut self, rows: &[Row], group: usize) -> Result<f64> {
        let begun = Instant::now();
        for group in rows.chunks(group.max(1)) {
            let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut payment = tx.prepare_cached(PAYMENT)?;
                let mut event = tx.prepare_cached(EVENT)?;
                for row in group {
                    let now = 1_800_000_000_000i64;
                    payment.execute(params![
                        row.chain,
                        &row.asset[..],
                        &row.payer[..],
                        &row.nonce[..],
                        &row.payee[..],
                        &row.amount[..],
                        &row.call[..],
                        row.valid_before,
                        row.offer.0,
                        row.offer.1,
                        &row.fingerprint[..],
                        now,
                        1,
                        now
                    ])?;
                    event.execute(params![tx.last_insert_rowid(), now])?;
                }
            }
            tx.commit()?;
        }
        Ok(rate(rows.len(), begun.elapsed()))
    }
}

/// Commits of a ledger so far. All events of a commit have its time, and a commit takes longer
/// than the millisecond in which it is told.
pub(super) fn commits(ledger: &Path) -> Result<usize> {
    let db = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let count: i64 = db.query_row("SELECT count(DISTINCT at) FROM events", [], |row| row.get(0))?;
    Ok(usize::try_from(count)?)
}
