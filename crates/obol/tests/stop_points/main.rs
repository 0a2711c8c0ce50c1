//! Kills the seller at every stop point there is, starts it again, and asks whether ledger and
//! chain agree, nothing was settled twice, nothing was forgotten, and nothing was charged that
//! the buyer did not get.

mod scenarios;
mod world;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};
use hyper::StatusCode;
use obol_devchain::{Tools, provision};
use scenarios::Scenario;
use std::{collections::BTreeSet, time::Duration};
use world::{Plan, World};

/// Reached, and not on the way of the money: reads of the ledger, signs of life, scan marks, and
/// what is checked of an endpoint when a seller starts.
const OFF_THE_PATH: &[&str] =
    &["ledger.read.", "ledger.beat.", "ledger.scan.", "rpc.eth_chainId.", "rpc.eth_getCode."];

/// Which scenario reaches a point.
fn scenario(point: &str) -> Scenario {
    match point.rsplit_once('.').map_or(point, |(operation, _)| operation) {
        "ledger.release" => Scenario::UpstreamFails,
        "ledger.let-go" => Scenario::OutlastsTheRequest,
        "ledger.orphan" => Scenario::Reorganised,
        "ledger.store-attempt" => Scenario::Stuck,
        "ledger.defer" => Scenario::FundsGone,
        "ledger.fail" => Scenario::Cancelled,
        "ledger.bury" => Scenario::NonceTaken,
        "ledger.take-over" => Scenario::TakenOver,
        "ledger.ask" | "ledger.promise" | "facilitator.settle" => Scenario::Asked,
        "ledger.claim" => Scenario::Believed,
        "ledger.decline" => Scenario::Declined,
        _ => Scenario::Sale,
    }
}

/// Runs at once: each waits for its chain most of the time.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_killed_at_any_stop_point_loses_no_payment_and_charges_for_nothing() -> Result<()> {
    let tools = provision(&mut |line| eprintln!("{line}")).await?;
    let only = std::env::var("OBOL_ONLY_POINT").ok();
    let points: Vec<_> =
        obol_stop::POINTS.iter().filter(|point| only.as_deref().is_none_or(|only| only == **point)).collect();
    let runs = points.into_iter().map(|point| {
        let tools = &tools;
        async move { (point, killed_at(tools, point).await) }
    });
    let results: Vec<_> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    let failures: Vec<_> = results
        .into_iter()
        .filter_map(|(point, result)| Some(format!("{point}: {:#}", result.err()?)))
        .collect();
    ensure!(failures.is_empty(), "{} points failed:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

async fn killed_at(tools: &Tools, point: &str) -> Result<()> {
    let scenario = scenario(point);
    let mut world = World::new(tools, scenario.plan()).await?;
    let played = scenario.play(&mut world, point).await;
    let log = world.log();
    played.with_context(|| format!("{scenario:?}\n{}", world.stderr()))?;
    ensure!(log.contains(&format!("killed {point}\n")), "{scenario:?} does not reach it");
    ensure!(world.deaths == 1, "the seller died {} times", world.deaths);
    let reached: BTreeSet<_> = log.lines().filter_map(|line| line.strip_prefix("reached ")).collect();
    for name in reached {
        let listed =
            obol_stop::POINTS.contains(&name) || OFF_THE_PATH.iter().any(|off| name.starts_with(off));
        ensure!(listed, "{name} is reached and not listed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_told_to_stop_finishes_the_sale_of_a_buyer_who_has_left() -> Result<()> {
    let tools = provision(&mut |line| eprintln!("{line}")).await?;
    let plan = Plan { on_disconnect: "charge", ..Scenario::Sale.plan() };
    let mut world = World::new(&tools, plan).await?;
    world.launch(None).await?;
    let purchase = world.purchase(0).await?;
    let mut arrivals = world.hold_next();
    let buyer = world.send_aside(&purchase);
    let arrival = arrivals.recv().await.context("the request never reached the upstream")?;
    buyer.abort();
    world.terminate()?;
    // Long enough for a seller that does not wait to be gone.
    ensure!(tokio::time::timeout(Duration::from_secs(1), world.ended()).await.is_err(), "it did not wait");
    arrival.send(StatusCode::OK).ok().context("nobody waits for the upstream")?;
    world.ended().await?;
    let rows = world.rows().await?;
    ensure!(rows.iter().all(|row| row.state().is_paid()), "not charged: {rows:?}");
    Ok(())
}
