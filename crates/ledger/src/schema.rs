//! The tables, their migrations, and the checks that run before a ledger is used.

use crate::{
    LedgerError,
    sets::{claimed, due, entitled, failed, lost, moving, open, owed, paid, reserved},
};
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// One step per schema version; never edited once released: `tests/migrations.sql` has them as they were.
const MIGRATIONS: &[&str] = &[FIRST, QUESTIONS, CHARGES, CLAIMS_AND_COMPARISONS];

const FIRST: &str = concat!(
    r"
CREATE TABLE ledger (id TEXT NOT NULL) STRICT;
INSERT INTO ledger VALUES (lower(hex(randomblob(8))));

CREATE TABLE payments (
    id              INTEGER PRIMARY KEY,
    chain           INTEGER NOT NULL,
    asset           BLOB    NOT NULL,
    method          INTEGER NOT NULL,
    payer           BLOB    NOT NULL,
    nonce           BLOB    NOT NULL,
    payee           BLOB    NOT NULL,
    amount          BLOB    NOT NULL,
    call            BLOB    NOT NULL,
    factory         BLOB,
    factory_data    BLOB,
    valid_before    INTEGER NOT NULL,
    offer_namespace TEXT    NOT NULL,
    offer_name      TEXT    NOT NULL,
    state           INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    reservation     INTEGER NOT NULL,
    delivery        INTEGER NOT NULL,
    fingerprint     BLOB    NOT NULL,
    client          BLOB    NOT NULL,
    held_until      INTEGER NOT NULL,
    owner           INTEGER NOT NULL,
    verified_block  INTEGER NOT NULL,
    batch           INTEGER REFERENCES batches (id),
    batch_cap       INTEGER NOT NULL DEFAULT 0,
    misses          INTEGER NOT NULL DEFAULT 0,
    retry_at        INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    tx              BLOB,
    block           INTEGER,
    block_hash      BLOB,
    block_time      INTEGER,
    log_index       INTEGER,
    created_at      INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX payment_key ON payments (payer, nonce, asset, chain, method);
CREATE INDEX open_by_payer ON payments (payer, asset, chain) WHERE ",
    open!(),
    r";
CREATE INDEX due ON payments (chain, retry_at) WHERE ",
    due!(),
    r";
CREATE INDEX moving ON payments (chain, state) WHERE ",
    moving!(),
    r";
CREATE INDEX reserved ON payments (held_until) WHERE ",
    reserved!(),
    r";
CREATE INDEX entitled ON payments (payer, fingerprint) WHERE ",
    entitled!(),
    r";
CREATE INDEX failed_by_payer ON payments (payer, asset, chain, changed_at) WHERE ",
    failed!(),
    r";
CREATE INDEX exposed_by_offer ON payments (offer_namespace, offer_name, asset, chain, amount)
    WHERE delivery <> 0 AND ",
    owed!(),
    r";
CREATE INDEX lost_by_offer ON payments (offer_namespace, offer_name, asset, chain, payer, amount) WHERE ",
    lost!(),
    r";
CREATE INDEX delivering ON payments (owner) WHERE delivery = 1;
CREATE INDEX by_batch ON payments (batch) WHERE batch IS NOT NULL;

CREATE TABLE payees (
    chain INTEGER NOT NULL,
    asset BLOB    NOT NULL,
    payee BLOB    NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (chain, asset, payee)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    payment    INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    who        TEXT    NOT NULL,
    state_from INTEGER,
    state_to   INTEGER NOT NULL,
    delivery   INTEGER NOT NULL,
    why        TEXT    NOT NULL,
    PRIMARY KEY (payment, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE owners (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT    NOT NULL,
    beat INTEGER NOT NULL
) STRICT;

CREATE TABLE leases (
    chain      INTEGER NOT NULL,
    settler    BLOB    NOT NULL,
    holder     TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (chain, settler)
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
    id         INTEGER PRIMARY KEY,
    chain      INTEGER NOT NULL,
    settler    BLOB    NOT NULL,
    nonce      INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    block      INTEGER,
    block_hash BLOB,
    tx         BLOB,
    created_at INTEGER NOT NULL,
    UNIQUE (chain, settler, nonce)
) STRICT;
CREATE INDEX live_batches ON batches (chain, settler) WHERE state IN (0, 1);

CREATE TABLE attempts (
    batch      INTEGER NOT NULL REFERENCES batches (id),
    attempt    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    raw        BLOB    NOT NULL,
    max_fee    BLOB    NOT NULL,
    tip        BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    taken_at   INTEGER,
    PRIMARY KEY (batch, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE scans (
    chain INTEGER PRIMARY KEY,
    block INTEGER NOT NULL
) STRICT;
"
);

/// Facilitators of others settle, too: what each is asked, and what it says.
const QUESTIONS: &str = concat!(
    r"
ALTER TABLE payments ADD COLUMN claim BLOB;

CREATE TABLE questions (
    payment     INTEGER PRIMARY KEY REFERENCES payments (id),
    body        BLOB NOT NULL,
    facilitator TEXT,
    puts        INTEGER NOT NULL DEFAULT 0
) STRICT;

DROP INDEX entitled;
CREATE INDEX entitled ON payments (payer, fingerprint) WHERE ",
    entitled!(),
    r";
CREATE INDEX claimed ON payments (chain) WHERE ",
    claimed!(),
    ";
"
);

/// What was earned and spent, in the order in which it came to be known: rows are added, and never
/// changed, so that sums can be kept up to date by reading what is new. Rows are numbered in the order
/// in which they are committed, which holds because there is one writer at a time: a database with
/// several has to number them under one lock. Triggers write them: a process of an earlier version that
/// still runs on the ledger keeps the journal, too. The kinds are [`crate::journal::Kind`]'s.
const CHARGES: &str = concat!(
    r"
CREATE TABLE charges (
    seq     INTEGER PRIMARY KEY,
    payment INTEGER NOT NULL REFERENCES payments (id),
    kind    INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX first_charge ON charges (payment) WHERE kind = 0;

CREATE TABLE spendings (
    seq     INTEGER PRIMARY KEY,
    batch   INTEGER NOT NULL UNIQUE REFERENCES batches (id),
    wei     BLOB    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

INSERT INTO charges (payment, kind, at)
    SELECT p.id, 0, coalesce(p.block_time, min(e.at) / 1000) AS at
    FROM payments p JOIN events e ON e.payment = p.id AND e.state_to = 5
    GROUP BY p.id ORDER BY at, p.id;
INSERT INTO charges (payment, kind, at)
    SELECT c.payment, 1, p.changed_at / 1000 FROM charges c JOIN payments p ON p.id = c.payment
    WHERE NOT (",
    paid!(),
    r");

CREATE TRIGGER charged AFTER UPDATE OF state ON payments WHEN NEW.state IN (5, 6) AND OLD.state NOT IN (5, 6)
BEGIN
    INSERT INTO charges (payment, kind, at) VALUES (
        NEW.id,
        CASE WHEN EXISTS (SELECT 1 FROM charges WHERE payment = NEW.id AND kind = 0) THEN 2 ELSE 0 END,
        coalesce(NEW.block_time, NEW.changed_at / 1000)
    );
END;
CREATE TRIGGER reversed AFTER UPDATE OF state ON payments WHEN OLD.state IN (5, 6) AND NEW.state NOT IN (5, 6)
BEGIN
    INSERT INTO charges (payment, kind, at) VALUES (NEW.id, 1, NEW.changed_at / 1000);
END;

DROP INDEX exposed_by_offer;
CREATE INDEX exposed_by_offer
    ON payments (offer_namespace, offer_name, asset, chain, amount, created_at) WHERE delivery <> 0 AND ",
    owed!(),
    ";
"
);

/// What facilitators say is settled, kept as what was earned is: a row when one says so, and one, of the
/// same time, when it is no claim any more. A payment that is found in another block left the one before.
/// And what the last comparison with each chain came to, by each endpoint.
const CLAIMS_AND_COMPARISONS: &str = concat!(
    r"
CREATE TABLE claims (
    seq     INTEGER PRIMARY KEY,
    payment INTEGER NOT NULL REFERENCES payments (id),
    stands  INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX claims_of_payment ON claims (payment);

INSERT INTO claims (payment, stands, at)
    SELECT p.id, 1, coalesce(max(e.at), p.changed_at) / 1000
    FROM payments p LEFT JOIN events e ON e.payment = p.id AND e.state_to = 9 AND e.state_from <> 9 WHERE ",
    claimed!(),
    r"
    GROUP BY p.id ORDER BY p.id;

CREATE TRIGGER claimed AFTER UPDATE OF state ON payments WHEN NEW.state = 9 AND OLD.state <> 9
BEGIN
    INSERT INTO claims (payment, stands, at) VALUES (NEW.id, 1, NEW.changed_at / 1000);
END;
CREATE TRIGGER claimed_no_more AFTER UPDATE OF state ON payments WHEN OLD.state = 9 AND NEW.state <> 9
BEGIN
    INSERT INTO claims (payment, stands, at)
        SELECT payment, 0, at FROM claims WHERE payment = NEW.id ORDER BY seq DESC LIMIT 1;
END;

INSERT INTO charges (payment, kind, at)
    SELECT p.id, row.kind, CASE row.kind WHEN 1 THEN p.changed_at / 1000 ELSE p.block_time END
    FROM payments p JOIN (SELECT payment, at, max(seq) FROM charges GROUP BY payment) c ON c.payment = p.id
        JOIN (SELECT 1 AS kind UNION ALL SELECT 2) row
    WHERE p.state IN (5, 6) AND p.block_time IS NOT NULL AND c.at <> p.block_time ORDER BY p.id, row.kind;
CREATE TRIGGER moved AFTER UPDATE OF block_time ON payments
    WHEN NEW.state IN (5, 6) AND OLD.state IN (5, 6) AND NEW.block_time IS NOT OLD.block_time
BEGIN
    INSERT INTO charges (payment, kind, at) VALUES (NEW.id, 1, NEW.changed_at / 1000);
    INSERT INTO charges (payment, kind, at) VALUES (NEW.id, 2, NEW.block_time);
END;

CREATE TABLE comparisons (
    chain        INTEGER NOT NULL,
    endpoint     TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    payments     INTEGER NOT NULL,
    unattributed INTEGER NOT NULL,
    PRIMARY KEY (chain, endpoint)
) STRICT, WITHOUT ROWID;

CREATE TABLE drifts (
    chain        INTEGER NOT NULL,
    endpoint     TEXT    NOT NULL,
    asset        BLOB    NOT NULL,
    ledger_only  BLOB    NOT NULL,
    chain_only   BLOB    NOT NULL,
    unattributed BLOB    NOT NULL,
    PRIMARY KEY (chain, endpoint, asset)
) STRICT, WITHOUT ROWID;
"
);

/// Where a ledger's database lives.
#[derive(Clone, Debug)]
pub enum Place<'a> {
    File(&'a Path),
    /// For tests: gone with the last handle.
    Memory,
}

impl Place<'_> {
    fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Memory => ":memory:".to_owned(),
        }
    }
}

/// Why a file cannot be used.
fn refusal(path: &str, error: &rusqlite::Error) -> LedgerError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => LedgerError::Damaged { path, why },
        Some(ErrorCode::ReadOnly) => {
            LedgerError::Open { path, why: "it or its folder may not be written by this user".to_owned() }
        }
        _ => LedgerError::Open { path, why },
    }
}

/// How long a writer waits for another process's commit.
const BUSY: Duration = Duration::from_secs(10);

/// A new ledger is its owner's to read: it says who bought what, and holds signatures that are
/// not on the chain yet. What cannot be made is reported by the open that follows.
fn keep_private(path: &Path) {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    if std::fs::metadata(path).is_ok_and(|known| known.mode() & 0o077 != 0) {
        let path = path.display();
        tracing::warn!("the ledger {path} can be read by others than its owner; chmod 600 {path}");
    }
    let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

/// The path from the root, in which SQLite sees no more than a path: by themselves `:memory:` and
/// `file:ledger?mode=memory` would be ledgers that end with the process.
fn whole(path: &Path) -> Result<PathBuf, LedgerError> {
    std::path::absolute(path)
        .map_err(|error| LedgerError::Open { path: path.display().to_string(), why: error.to_string() })
}

pub(crate) fn open(place: &Place<'_>) -> Result<Connection, LedgerError> {
    let shown = place.shown();
    let failed = |error: rusqlite::Error| refusal(&shown, &error);
    let mut db = match place {
        Place::File(path) => {
            let path = whole(path)?;
            keep_private(&path);
            // One thread has it.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(path, flags)
        }
        Place::Memory => Connection::open_in_memory(),
    }
    .map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    db.set_prepared_statement_cache_capacity(128);
    // Else the planner looks at the values too, and plans anew each time that they change.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    if matches!(place, Place::File(_)) {
        recognize(&db, &shown)?;
        configure(&db, &shown)?;
    }
    migrate(&mut db, &shown)?;
    Ok(db)
}

/// Enters a process among those that may hold payments, and gives it its number.
pub(crate) fn enrol(db: &Connection, who: &str, place: &Place<'_>) -> Result<i64, LedgerError> {
    db.execute("INSERT INTO owners (name, beat) VALUES (?1, 1)", [who])
        .map_err(|error| refusal(&place.shown(), &error))?;
    Ok(db.last_insert_rowid())
}

/// Opens an existing ledger for reading only: no migration, no recovery, no write.
pub(crate) fn open_read_only(path: &Path) -> Result<Connection, LedgerError> {
    let shown = path.display().to_string();
    let failed = |error: rusqlite::Error| refusal(&shown, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(whole(path)?, flags).map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    match recognize(&db, &shown)? {
        found if found < known() => Err(LedgerError::Open {
            path: shown,
            why: format!("its schema is {found}; start the verifier once to bring it to {}", known()),
        }),
        _ => Ok(db),
    }
}

/// The schema's version; 0 for a database in which nothing is. Asked before anything is written,
/// so that a file of another program is left as it is.
fn recognize(db: &Connection, shown: &str) -> Result<i64, LedgerError> {
    // One statement, which sees one moment: another process may be making the ledger.
    let (found, tables, ledgers): (i64, i64, i64) = db
        .query_row(
            "SELECT user_version, (SELECT count(*) FROM sqlite_schema WHERE type = 'table'), \
             (SELECT count(*) FROM sqlite_schema WHERE name = 'ledger') FROM pragma_user_version",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(|error| refusal(shown, &error))?;
    let path = shown.to_owned();
    match (found, tables, ledgers) {
        (0, 0, _) => Ok(0),
        (1.., _, 1) if found > known() => Err(LedgerError::NewerSchema { path, found, known: known() }),
        (1.., _, 1) => Ok(found),
        _ => Err(LedgerError::Open { path, why: "it is a database, but not a ledger".to_owned() }),
    }
}

/// WAL and a sync at every commit, asserted rather than hoped for: some file systems and builds
/// ignore the pragma silently.
fn configure(db: &Connection, shown: &str) -> Result<(), LedgerError> {
    let refused = |why: String| LedgerError::Open { path: shown.to_owned(), why };
    let failed = |error: rusqlite::Error| refusal(shown, &error);
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(refused(format!("its journal mode is {mode}, and it cannot be set to wal")));
    }
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4000; \
         PRAGMA cache_size = -16000;",
    )
    .map_err(failed)?;
    let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).map_err(failed)?;
    if synchronous != 2 {
        return Err(refused(format!("synchronous is {synchronous}, and it cannot be set to FULL")));
    }
    let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(failed)?;
    let begun = Instant::now();
    tracing::info!(ledger = shown, pages, "checking the ledger");
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    tracing::info!(took = ?begun.elapsed(), "the ledger is checked");
    if verdict != "ok" {
        return Err(LedgerError::Damaged { path: shown.to_owned(), why: verdict });
    }
    Ok(())
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn migrate(db: &mut Connection, shown: &str) -> Result<(), LedgerError> {
    let failed = |error: rusqlite::Error| refusal(shown, &error);
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let found = version(&tx).map_err(failed)?;
    if found > known() {
        return Err(LedgerError::NewerSchema { path: shown.to_owned(), found, known: known() });
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.execute_batch(step).map_err(failed)?;
    }
    tx.pragma_update(None, "user_version", known()).map_err(failed)?;
    if found == 0 {
        let id: String = tx.query_row("SELECT id FROM ledger", [], |row| row.get(0)).map_err(failed)?;
        tracing::info!(ledger = shown, id, "made a new ledger: nothing was sold before");
    }
    tx.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps that ledgers have taken must stay as they were, also in what they take from `sets.rs`.
    #[test]
    fn the_steps_to_each_version_are_what_they_were() {
        let known = include_str!("../tests/migrations.sql");
        let steps: Vec<_> =
            MIGRATIONS.iter().zip(1..).map(|(step, version)| format!("-- {version}\n{step}")).collect();
        assert!(steps.concat() == known, "a new step is added to tests/migrations.sql, and none is changed");
    }

    #[test]
    fn every_commit_on_a_file_is_synced() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = open(&Place::File(&folder.path().join("ledger.db"))).expect("a ledger");
        // 2 is FULL: in write-ahead mode NORMAL would sync at checkpoints only.
        let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).expect("read");
        let keys: i64 = db.query_row("PRAGMA foreign_keys", [], |row| row.get(0)).expect("read");
        assert_eq!((synchronous, keys), (2, 1));
    }

    /// A ledger of the first schema with these payments: number, state, and whether an event says that
    /// it was in a block, before, in milliseconds.
    fn of_the_first_schema(path: &Path, payments: &[(i64, i64, Option<i64>)]) {
        let db = Connection::open(path).expect("a database");
        db.execute_batch(FIRST).expect("the first schema");
        for (number, state, included_at) in payments {
            db.execute(
                "INSERT INTO payments (id, chain, asset, method, payer, nonce, payee, amount, call, valid_before, \
                 offer_namespace, offer_name, state, revision, reservation, delivery, fingerprint, client, \
                 held_until, owner, verified_block, created_at, changed_at, block_time) \
                 VALUES (?1, 1, x'', 0, x'', CAST(?1 AS BLOB), x'', x'', x'', 1, 'a', 'b', ?2, 1, 1, 0, x'', x'', 0, 1, 1, 1, \
                 9000, ?3)",
                rusqlite::params![number, state, (*state == 5).then_some(70 + number)],
            )
            .expect("a payment");
            if let Some(at) = included_at {
                db.execute("INSERT INTO events VALUES (?1, 2, ?2, 'x', 4, 5, 0, '')", [number, at])
                    .expect("an event");
            }
        }
        db.pragma_update(None, "user_version", 1).expect("its version");
    }

    #[test]
    fn a_ledger_of_an_earlier_schema_keeps_its_payments() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        of_the_first_schema(&path, &[(1, 5, Some(1))]);
        let db = open(&Place::File(&path)).expect("brought up to date");
        assert_eq!(version(&db).expect("a version"), known());
        let sql = concat!("SELECT count(*), count(claim) FROM payments WHERE payer = x'' AND ", entitled!());
        let found: (i64, i64) =
            db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("the payment");
        assert_eq!(found, (1, 0));
    }

    #[test]
    fn what_a_ledger_of_an_earlier_schema_has_earned_is_in_the_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        // In a block, never in one, and in one that is gone.
        of_the_first_schema(&path, &[(1, 5, Some(5_000)), (2, 2, None), (3, 4, Some(6_000))]);
        let db = open(&Place::File(&path)).expect("brought up to date");
        let mut rows = db.prepare("SELECT payment, kind, at FROM charges ORDER BY seq").expect("a query");
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("read");
        let rows: Vec<(i64, i64, i64)> = rows.map(|row| row.expect("a row")).collect();
        assert_eq!(rows, [(3, 0, 6), (1, 0, 71), (3, 1, 9)]);
    }

    #[test]
    fn what_a_ledger_of_an_earlier_schema_has_of_facilitators_words_is_in_the_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        of_the_first_schema(&path, &[(1, 9, None), (2, 5, Some(1))]);
        let db = open(&Place::File(&path)).expect("brought up to date");
        db.execute("UPDATE payments SET state = 5, block_time = 80, changed_at = 90000 WHERE id = 1", [])
            .expect("written");
        let mut rows = db.prepare("SELECT payment, stands, at FROM claims ORDER BY seq").expect("a query");
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("read");
        let rows: Vec<(i64, i64, i64)> = rows.map(|row| row.expect("a row")).collect();
        assert_eq!(rows, [(1, 1, 9), (1, 0, 9)], "at the time of the claim, both");
    }

    #[test]
    fn what_moved_before_a_move_left_a_row_has_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        of_the_first_schema(&path, &[(1, 4, None), (2, 4, None)]);
        let earlier = Connection::open(&path).expect("a database");
        earlier.execute_batch(&[QUESTIONS, CHARGES].concat()).expect("the third schema");
        earlier.pragma_update(None, "user_version", 3).expect("its version");
        for (payment, block_time) in [(1, 70), (1, 75), (2, 71)] {
            earlier
                .execute(
                    "UPDATE payments SET state = 5, block_time = ?2 WHERE id = ?1",
                    [payment, block_time],
                )
                .expect("written");
        }
        let db = open(&Place::File(&path)).expect("brought up to date");
        let mut rows = db.prepare("SELECT payment, kind, at FROM charges ORDER BY seq").expect("a query");
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("read");
        let rows: Vec<(i64, i64, i64)> = rows.map(|row| row.expect("a row")).collect();
        assert_eq!(rows, [(1, 0, 70), (2, 0, 71), (1, 1, 9), (1, 2, 75)]);
    }

    #[test]
    fn a_process_of_an_earlier_version_keeps_the_journal_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        of_the_first_schema(&path, &[(1, 4, None)]);
        // It has the file open when another one brings it up to date.
        let earlier = Connection::open(&path).expect("a database");
        let db = open(&Place::File(&path)).expect("brought up to date");
        for (state, block_time) in [(5, Some(70)), (4, None), (5, Some(75)), (6, Some(75))] {
            earlier
                .execute(
                    "UPDATE payments SET state = ?1, block_time = ?2, changed_at = 80000 WHERE id = 1",
                    rusqlite::params![state, block_time],
                )
                .expect("written");
        }
        let mut rows = db.prepare("SELECT kind, at FROM charges ORDER BY seq").expect("a query");
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
        let rows: Vec<(i64, i64)> = rows.map(|row| row.expect("a row")).collect();
        assert_eq!(rows, [(0, 70), (1, 80), (2, 75)]);
    }
}
