//! `obol verifier` with many offers, as an operator runs it.

use crate::{
    load::{Connection, get},
    peer::{Obol, Peer},
    stage,
};
use alloy_primitives::hex;
use anyhow::{Result, bail};
use std::{
    ffi::OsStr,
    fs,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a verifier may take to load its offers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running one. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) obol: Obol,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    folder: TempDir,
}

impl Verifier {
    /// With so many offers, in a file each.
    pub(crate) fn start(chain: &Peer, offers: usize) -> Result<Self> {
        let folder = stage::folder()?;
        let path = |name: &str| folder.path().join(name);
        let (listen, admin) = free_addresses()?;
        fs::create_dir(path("offers"))?;
        for number in 0..offers {
            write_offer(&folder, number)?;
        }
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
        Ok(Self { obol, listen, admin, folder })
    }

    /// Writes one offer more.
    pub(crate) fn add(&self, number: usize) -> Result<()> {
        write_offer(&self.folder, number)
    }

    /// Waits until the offer of this number is sold, looking so often.
    pub(crate) async fn until_sold(&self, number: usize, look_again: Duration) -> Result<()> {
        let request = offer_request(number);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Ok(mut connection) = Connection::open(self.listen).await
                && let Ok(response) = connection.exchange(&request).await
                && response.status() == "402"
            {
                return Ok(());
            }
            tokio::time::sleep(look_again).await;
        }
        bail!("the verifier does not sell after {} s", PATIENCE.as_secs())
    }
}

/// An unpaid request for the offer of this number.
pub(crate) fn offer_request(number: usize) -> Vec<u8> {
    get(&format!("/services/offer-{number}"), &[])
}

/// Whole or not at all: the folder is watched.
fn write_offer(folder: &TempDir, number: usize) -> Result<()> {
    let payee = stage::requirement()?.pay_to.to_checksum(None);
    let manifest = format!(
        "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata:\n  name: offer-{number}\n\
         spec:\n  description: What the benches sell\n  upstream:\n    url: http://127.0.0.1:9000\n  \
         payment:\n    network: base-sepolia\n    payTo: \"{payee}\"\n    price:\n      perRequest: \"0.01\"\n"
    );
    let part = folder.path().join("part");
    fs::write(&part, manifest)?;
    Ok(fs::rename(part, folder.path().join(format!("offers/offer-{number}.yaml")))?)
}

/// Two addresses that were free a moment ago.
fn free_addresses() -> Result<(SocketAddr, SocketAddr)> {
    let (one, other) = (TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?);
    Ok((one.local_addr()?, other.local_addr()?))
}
