//! Which files are ledgers, and what becomes of those that are none.

use crate::payments::{HOLD, close, id_of, open, owe, payment, reserve};
use obol_ledger::{Clock, Ledger, LedgerError, Place};
use rusqlite::Connection;
use std::{fs, path::Path, process::Command};

fn refusal(path: &Path) -> LedgerError {
    Ledger::open(&Place::File(path), Clock::System, "gate").map(drop).expect_err("refused")
}

/// A ledger with enough payments to fill some dozen pages, closed.
async fn filled(path: &Path) {
    let ledger = open(path, "gate");
    for number in 0..150 {
        reserve(&ledger, payment(number)).await;
    }
    close(ledger, path).await;
}

#[tokio::test]
async fn a_ledger_on_a_file_writes_ahead() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let _ledger = open(&path, "gate");
    let raw = Connection::open(&path).expect("the same file");
    let mode: String = raw.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("read");
    assert_eq!(mode, "wal");
}

/// The name to open in its own folder, told to the child.
const NAME: &str = "OBOL_TEST_LEDGER_NAME";

#[test]
fn a_name_that_sqlite_reads_otherwise_is_a_file_like_any_other() {
    if let Some(name) = std::env::var_os(NAME) {
        println!(
            "opened: {:?}",
            Ledger::open(&Place::File(Path::new(&name)), Clock::System, "gate").map(drop)
        );
        return;
    }
    for name in [":memory:", "file:ledger.db?mode=memory", "file::memory:"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(std::env::current_exe().expect("this test"));
        child.args(["--exact", "opening::a_name_that_sqlite_reads_otherwise_is_a_file_like_any_other"]);
        child.arg("--nocapture").env(NAME, name).current_dir(folder.path());
        let told = String::from_utf8(child.output().expect("a child").stdout).expect("text");
        assert!(told.contains("opened: Ok(())"), "{name}: {told}");
        Ledger::open_read_only(&folder.path().join(name)).expect("a ledger in the file of that name");
    }
}

#[test]
fn a_file_that_is_no_database_is_named_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    let text = "not a ledger, but somebody's notes\n".repeat(500);
    fs::write(&path, &text).expect("written");
    let refusal = refusal(&path);
    assert!(
        matches!(&refusal, LedgerError::Open { path: named, .. } if *named == path.display().to_string())
    );
    assert!(refusal.to_string().contains("not a database"), "{refusal}");
    assert_eq!(fs::read_to_string(&path).expect("read"), text);
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing is left beside it");
}

#[tokio::test]
async fn a_page_of_garbage_anywhere_is_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    filled(&path).await;
    let whole = fs::read(&path).expect("read");
    let page = 4_096;
    assert!(whole.len() > 20 * page, "{} bytes are too few pages", whole.len());
    for number in 1..whole.len() / page {
        let mut spoiled = whole.clone();
        spoiled[number * page..(number + 1) * page].fill(0xff);
        let copy = folder.path().join(format!("page-{number}.db"));
        fs::write(&copy, spoiled).expect("written");
        let refusal = refusal(&copy);
        assert!(matches!(refusal, LedgerError::Damaged { .. }), "page {number}: {refusal}");
    }
}

#[tokio::test]
async fn a_file_that_ends_too_early_is_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    filled(&path).await;
    let whole = fs::read(&path).expect("read");
    for length in [whole.len() / 2, whole.len() - 4_096, 8_192, 5_000] {
        let copy = folder.path().join(format!("{length}.db"));
        fs::write(&copy, &whole[..length]).expect("written");
        let opened = Ledger::open(&Place::File(&copy), Clock::System, "gate").map(drop);
        assert!(
            matches!(opened, Err(LedgerError::Damaged { .. })),
            "{length} of {} bytes: {opened:?}",
            whole.len()
        );
    }
}

#[tokio::test]
async fn a_ledger_of_a_newer_obol_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    filled(&path).await;
    let raw = Connection::open(&path).expect("the same file");
    raw.pragma_update(None, "user_version", 99).expect("set");
    raw.close().expect("closed");
    let before = fs::read(&path).expect("read");
    let reading = Ledger::open_read_only(&path).map(drop).expect_err("refused");
    for refusal in [refusal(&path), reading] {
        assert!(matches!(refusal, LedgerError::NewerSchema { found: 99, known: 1.., .. }), "{refusal}");
        assert!(refusal.to_string().contains("use a newer obol"), "{refusal}");
    }
    assert_eq!(fs::read(&path).expect("read"), before);
}

#[tokio::test]
async fn an_empty_database_becomes_a_ledger_and_stays_the_same_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let raw = Connection::open(&path).expect("made");
    raw.execute_batch("PRAGMA user_version = 0; VACUUM").expect("an empty database");
    raw.close().expect("closed");
    let refused = Ledger::open_read_only(&path).map(drop).expect_err("there is nothing to read");
    assert!(refused.to_string().contains("start the verifier once"), "{refused}");

    let ledger = open(&path, "gate");
    let id = ledger.id().await.expect("read");
    reserve(&ledger, payment(0)).await;
    close(ledger, &path).await;
    let again = open(&path, "gate");
    assert_eq!(again.id().await, Ok(id));
    assert!(id_of(&again, &payment(0)).await.is_some());
}

#[tokio::test]
async fn a_reader_writes_nothing_and_makes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    Ledger::open_read_only(&path).map(drop).expect_err("nothing is there");
    assert!(!path.exists());

    filled(&path).await;
    let before = fs::read(&path).expect("read");
    let reader = Ledger::open_read_only(&path).expect("a reader");
    let id = id_of(&reader, &payment(7)).await.expect("stored");
    assert_eq!(reader.events(id).await.map(|events| events.len()), Ok(1));
    let refused = reader.reserve(payment(7_000), HOLD).await.expect_err("a reader takes no payment");
    assert!(matches!(&refused, LedgerError::Unavailable(why) if why.contains("readonly")), "{refused}");
    assert_eq!(reader.list(id, 1_000).await.map(|page| page.len()), Ok(142), "it reads on");
    assert_eq!(fs::read(&path).expect("read"), before);
}

#[tokio::test]
async fn a_reader_sees_what_a_writer_writes_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let writer = open(&path, "gate");
    let reader = Ledger::open_read_only(&path).expect("a reader");
    let id = owe(&writer, payment(0)).await.id();
    assert_eq!(reader.events(id).await.map(|events| events.len()), Ok(2));
}

#[tokio::test]
async fn many_processes_may_make_the_same_ledger_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let openers: Vec<_> = (0..8)
        .map(|number| {
            let path = path.clone();
            std::thread::spawn(move || {
                Ledger::open(&Place::File(&path), Clock::System, format!("gate-{number}"))
            })
        })
        .collect();
    let mut ids = Vec::new();
    for opener in openers {
        let ledger = opener.join().expect("ran").expect("a ledger");
        ids.push(ledger.id().await.expect("read"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "all have the same ledger: {ids:?}");
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    for version in [0, 1, 99, -1] {
        let path = folder.path().join(format!("songs-{version}.db"));
        let raw = Connection::open(&path).expect("made");
        raw.execute_batch("CREATE TABLE songs (title TEXT)").expect("a table");
        raw.pragma_update(None, "user_version", version).expect("set");
        raw.close().expect("closed");
        let before = fs::read(&path).expect("read");
        let reading = Ledger::open_read_only(&path).map(drop).expect_err("refused");
        for refusal in [refusal(&path), reading] {
            assert!(refusal.to_string().contains("not a ledger"), "version {version}: {refusal}");
        }
        assert_eq!(fs::read(&path).expect("read"), before, "version {version}");
    }
}
