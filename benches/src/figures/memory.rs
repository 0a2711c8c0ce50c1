//! What a verifier keeps in memory when it waits for requests.

use super::block_on;
use crate::{
    figure::{Figure, Wanted},
    load::{Connection, get},
    peer::{Obol, Peer},
    stage,
};
use alloy_primitives::hex;
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

/// How long a verifier may take to load its offers.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Looks in which memory has to stay as it is.
const STEADY: usize = 10;

const MANY: usize = 10_000;

fn write_offers(folder: &Path, count: usize) -> Result<()> {
    fs::create_dir(folder)?;
    let payee = stage::requirement()?.pay_to.to_checksum(None);
    for number in 0..count {
        let manifest = format!(
            "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata:\n  name: offer-{number}\n\
             spec:\n  description: What the benches sell\n  upstream:\n    url: http://127.0.0.1:9000\n  \
             payment:\n    network: base-sepolia\n    payTo: \"{payee}\"\n    price:\n      perRequest: \"0.01\"\n"
        );
        fs::write(folder.join(format!("offer-{number}.yaml")), manifest)?;
    }
    Ok(())
}

/// Two addresses that were free a moment ago.
fn free_addresses() -> Result<(SocketAddr, SocketAddr)> {
    let (one, other) = (TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?);
    Ok((one.local_addr()?, other.local_addr()?))
}

/// Waits until the offer of this number is sold, which is when all are.
async fn until_sold(address: SocketAddr, number: usize) -> Result<()> {
    let request = get(&format!("/services/offer-{number}"), &[]);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Ok(mut connection) = Connection::open(address).await
            && let Ok(response) = connection.exchange(&request).await
            && response.status() == "402"
        {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("the verifier does not sell after {} s", PATIENCE.as_secs())
}

/// Resident bytes once they have stopped moving.
async fn steady(obol: &Obol) -> Result<u64> {
    let begun = Instant::now();
    let (mut last, mut steady) = (obol.resident()?, 0);
    while steady < STEADY && begun.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = obol.resident()?;
        // A few pages come and go with the loading of the chain's head.
        steady = if now.abs_diff(last) < 256 * 1024 { steady + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

/// Megabytes (10^6) of a verifier with so many offers.
fn resident(chain: &Peer, offers: usize) -> Result<f64> {
    let folder = stage::folder()?;
    let path = |name: &str| folder.path().join(name);
    let (listen, admin) = free_addresses()?;
    write_offers(&path("offers"), offers)?;
    fs::write(path("settler.key"), format!("0x{}", hex::encode([7; 32])))?;
    let (listen_text, admin_text) = (listen.to_string(), admin.to_string());
    let rpc = format!("base-sepolia={}", chain.url());
    let obol = Obol::start(&[
        OsStr::new("--log"),
        OsStr::new("error"),
        OsStr::new("verifier"),
        OsStr::new("--offers"),
        path("offers").as_os_str(),
        OsStr::new("--listen"),
        OsStr::new(&listen_text),
        OsStr::new("--admin-listen"),
        OsStr::new(&admin_text),
        OsStr::new("--ledger"),
        path("ledger.db").as_os_str(),
        OsStr::new("--settler-key-file"),
        path("settler.key").as_os_str(),
        OsStr::new("--rpc"),
        OsStr::new(&rpc),
    ])?;
    block_on(async {
        until_sold(listen, offers - 1).await?;
        steady(&obol).await.map(|bytes| bytes as f64 / 1e6)
    })
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let chain = Peer::start(["chain"])?;
    let figure = |bench, offers, bound: f64| {
        anyhow::Ok(Figure {
            bench,
            unit: "resident MB of obol verifier, ready",
            ours: resident(&chain, offers).context(bench)?,
            reference: bound,
            reference_name: "the wanted bound".to_owned(),
            wanted: Wanted::AtMost(bound),
        })
    };
    Ok(vec![figure("memory_idle", 1, 15.0)?, figure("memory_10k_offers", MANY, 80.0)?])
}
