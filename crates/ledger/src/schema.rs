//! The tables, their migrations, and the checks that run before a ledger is used.

use crate::LedgerError;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// One step per schema version; never edited once released, nor made of what may change.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1_payments.sql"),
    include_str!("migrations/2_questions.sql"),
    include_str!("migrations/3_charges.sql"),
    include_str!("migrations/4_claims_and_comparisons.sql"),
];

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
    use crate::sets::{claimed, due, entitled, failed, lost, moving, open as is_open, owed, reserved};
    use alloy_primitives::keccak256;

    /// Ledgers have taken these steps: who edits one would have two schemas of one version.
    #[test]
    fn the_steps_to_each_version_are_what_they_were() {
        let digests = MIGRATIONS.iter().map(|step| keccak256(step).to_string()[2..10].to_owned());
        assert_eq!(
            digests.collect::<Vec<_>>(),
            ["4f633c14", "75467fb9", "03fc5ea3", "0b0e1b03"],
            "a change is a further step"
        );
    }

    /// A query is served by an index over a part of the table only when it repeats the index's condition:
    /// who changes one needs a further step that makes its index anew.
    #[test]
    fn each_condition_that_has_an_index_is_the_one_of_the_newest_step_that_makes_it() {
        let conditions = [
            ("open_by_payer", is_open!()),
            ("due", due!()),
            ("moving", moving!()),
            ("reserved", reserved!()),
            ("entitled", entitled!()),
            ("failed_by_payer", failed!()),
            ("claimed", claimed!()),
            ("lost_by_offer", lost!()),
            ("exposed_by_offer", concat!("delivery <> 0 AND ", owed!())),
        ];
        let db = open(&Place::Memory).expect("a ledger");
        for (index, condition) in conditions {
            let made: String = db
                .query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [index], |row| row.get(0))
                .unwrap_or_else(|error| panic!("{index}: {error}"));
            assert!(made.ends_with(&format!("WHERE {condition}")), "{index}: {made}");
        }
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
        db.execute_batch(MIGRATIONS[0]).expect("the first schema");
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
        earlier.execute_batch(&MIGRATIONS[1..3].concat()).expect("the third schema");
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
