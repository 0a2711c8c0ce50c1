//! Files and folders that may not be written.

use crate::payments::{close, open, payment, reserve};
use obol_ledger::{Clock, Ledger, LedgerError, Place};
use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

/// The path to open, told to the child.
const LEDGER: &str = "OBOL_TEST_UNWRITABLE_LEDGER";

/// Opens a ledger as somebody to whom permissions apply, which they do not to root, and tells
/// what that came to.
fn open_as_nobody(path: &Path) -> String {
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", "permissions::what_may_not_be_written_is_refused_in_one_sentence", "--nocapture"]);
    child.env(LEDGER, path);
    if rustix::process::geteuid().is_root() {
        child.uid(65_534).gid(65_534);
    }
    let told = child.output().expect("a child");
    let told = String::from_utf8(told.stdout).expect("text");
    let line = told.lines().find_map(|line| line.split_once("opened: "));
    line.unwrap_or_else(|| panic!("the child told nothing: {told}")).1.to_owned()
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
}

#[tokio::test]
async fn what_may_not_be_written_is_refused_in_one_sentence() {
    if let Some(path) = std::env::var_os(LEDGER) {
        let opened = Ledger::open(&Place::File(Path::new(&path)), Clock::System, "gate");
        println!("opened: {}", opened.map_or_else(|refusal| refusal.to_string(), |_| "a ledger".to_owned()));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "gate");
    reserve(&ledger, payment(0)).await;
    close(ledger, &path).await;
    let expect = |why: &str| {
        let told = open_as_nobody(&path);
        assert!(told.starts_with(&format!("cannot open the ledger {}: ", path.display())), "{told}");
        assert!(told.contains(why), "{told}");
    };

    allow(folder.path(), 0o777);
    allow(&path, 0o666);
    assert_eq!(open_as_nobody(&path), "a ledger", "nothing is in the way yet");
    // Of the child's files beside it, which would be there to be written.
    close(open(&path, "gate"), &path).await;
    allow(&path, 0o444);
    expect("may not be written");
    allow(&path, 0o000);
    expect("unable to open");
    allow(&path, 0o666);
    allow(folder.path(), 0o555);
    expect("folder may not be written");
    allow(folder.path(), 0o755);
    fs::remove_file(&path).expect("removed");
    allow(folder.path(), 0o555);
    expect("unable to open");
    assert!(!path.exists());
    allow(folder.path(), 0o755);
}

#[test]
fn a_folder_in_the_ledgers_place_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusal = Ledger::open(&Place::File(folder.path()), Clock::System, "gate").map(drop);
    assert!(matches!(&refusal, Err(LedgerError::Open { .. })), "{refusal:?}");
    let nowhere = folder.path().join("missing").join("ledger.db");
    let refusal = Ledger::open(&Place::File(&nowhere), Clock::System, "gate").map(drop);
    assert!(matches!(&refusal, Err(LedgerError::Open { .. })), "{refusal:?}");
}
