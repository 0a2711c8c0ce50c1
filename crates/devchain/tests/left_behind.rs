//! However the owner of a chain ends, the chain's process ends too.

use obol_devchain::{Devchain, Options};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The part that the other test kills.
const VICTIM: &str = "OBOL_TEST_VICTIM";

fn is_running(id: u32) -> bool {
    // A zombie has ended; it only waits to be asked for its status.
    std::fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn assert_ends(id: u32) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_running(id) {
        assert!(Instant::now() < deadline, "anvil {id} still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_dropped_chain_ends() {
    let chain = Devchain::start(Options::default()).await.expect("a chain");
    let id = chain.process_id().expect("running");
    assert!(is_running(id));
    drop(chain);
    assert_ends(id);
}

#[tokio::test]
async fn a_killed_owner_leaves_no_chain_behind() {
    if std::env::var_os(VICTIM).is_some() {
        let chain = Devchain::start(Options::default()).await.expect("a chain");
        println!("\nanvil {}", chain.process_id().expect("running"));
        std::future::pending::<()>().await;
    }
    if !Path::new("/proc/self/stat").exists() {
        return;
    }
    let mut victim = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture", "a_killed_owner_leaves_no_chain_behind"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(victim.stdout.take().expect("piped")).lines();
    let id = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("anvil ").and_then(|id| id.parse().ok()))
        .expect("the chain's process id");
    assert!(is_running(id));
    victim.kill().expect("SIGKILL");
    victim.wait().expect("ended");
    assert_ends(id);
}
