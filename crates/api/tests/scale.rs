//! Ten thousand files, and none that changes. One test: it measures the process.

mod common;

use common::shop::{PATIENCE, Shop, offer, until};
use std::{
    fs,
    time::{Duration, Instant},
};

const FILES: usize = 10_000;
const THREAD: &str = "obol-offers";

/// How often the watching thread went to sleep so far; none when there is no such thread. Unlike
/// its processor time this does not depend on the machine.
fn sleeps_of_the_watch() -> Option<u64> {
    let tasks = fs::read_dir("/proc/self/task").expect("tasks").filter_map(Result::ok);
    let own = tasks
        .map(|task| task.path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == THREAD))?;
    let status = fs::read_to_string(own.join("status")).ok()?;
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    sleeps.trim().parse().ok()
}

#[tokio::test]
async fn ten_thousand_files_load_in_seconds_and_cost_next_to_nothing_afterwards() {
    let shop = Shop::new();
    for number in 0..FILES {
        shop.write(&format!("{number:05}.yaml"), &offer(&format!("o{number}"), "0.01"));
    }
    let begun = Instant::now();
    let mut watch = shop.watch();
    let first = begun.elapsed();
    assert_eq!((watch.loaded().offers.len(), watch.loaded().faults.len()), (FILES, 0));
    assert!(first < 2 * PATIENCE, "the first load took {first:?}");

    let begun = Instant::now();
    shop.write("05000.yaml", &offer("o5000", "0.02"));
    until(&mut watch, "the new price", |loaded| loaded.offers[5_000].accepts[0].amount == 20_000.into())
        .await;
    let reload = begun.elapsed();

    // Files that are younger than two seconds are read by each pass.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    let before = sleeps_of_the_watch().expect("the thread");
    let idle = Duration::from_secs(5);
    tokio::time::sleep(idle).await;
    let sleeps = sleeps_of_the_watch().expect("the thread") - before;
    println!("first load {first:?}, reload of one {reload:?}, asleep {sleeps} times in {idle:?} of idling");
    // The poll is two or three of them; a reload that brings about the next one is dozens.
    assert!(sleeps < 15, "asleep {sleeps} times in {idle:?}");

    drop(watch);
    let ended = tokio::time::timeout(PATIENCE, async {
        while sleeps_of_the_watch().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    ended.await.expect("the thread ends with the watch");
}
