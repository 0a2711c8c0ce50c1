//! What it costs to be observed.

use super::{block_on, journal};
use crate::{
    figure::{Figure, Wanted},
    load::{Load, get},
    measure::{Turns, median, quantile, rate},
    peer::Peer,
    stage,
    verifier::{Verifier, offer_request},
};
use anyhow::{Context, Result, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(700);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How often the latency under scrapes is compared, and how often it is scraped meanwhile.
const SCRAPED: Duration = Duration::from_secs(3);
const SCRAPE_EVERY: Duration = Duration::from_millis(500);

/// A gate under load.
struct Side {
    gate: Peer,
    load: Load,
}

impl Side {
    async fn open(gate: Peer) -> Result<Self> {
        let load = Load::open(gate.address(), CONNECTIONS, get(stage::OFFER_PATH, &[]), "402").await?;
        let mut side = Self { gate, load };
        // Warms it up.
        side.round().await?;
        Ok(side)
    }

    /// Requests in a second, and microseconds of its processor time for each.
    async fn round(&mut self) -> Result<[f64; 2]> {
        let cpu = self.gate.cpu_time()?;
        let count = self.load.run(ROUND).await?.len();
        let cpu = self.gate.cpu_time()? - cpu;
        Ok([rate(count, ROUND), cpu.as_secs_f64() * 1e6 / count as f64])
    }
}

/// Processes of each side: two of one program differ by where they happen to lie in memory.
const PAIRS: usize = 4;

fn counted(folder: &Path) -> Result<Vec<Figure>> {
    block_on(async {
        let [mut rates, mut times] = <[Turns; 2]>::default();
        for pair in 0..PAIRS {
            let ledgers = [folder.join(format!("{pair}-counted.db")), folder.join(format!("{pair}-not.db"))];
            let on = Peer::start(["gate".as_ref(), "--ledger".as_ref(), ledgers[0].as_os_str()])?;
            let off = ["gate".as_ref(), "--uncounted".as_ref(), "--ledger".as_ref(), ledgers[1].as_os_str()];
            let (mut on, mut off) = (Side::open(on).await?, Side::open(Peer::start(off)?).await?);
            for _ in 0..ROUNDS / 2 {
                let ([rate, time], [reference_rate, reference_time]) =
                    (on.round().await?, off.round().await?);
                rates.add(rate, reference_rate);
                times.add(time, reference_time);
            }
        }
        let figure = |bench, unit, turns: &Turns, wanted| {
            let (ours, reference) = turns.medians();
            let reference_name = "the same gate that counts nothing".to_owned();
            Figure { bench, unit, ours, reference, reference_name, wanted }
        };
        // The bound is on processor time, which varies less than requests in a second.
        Ok(vec![
            figure("counted", "unpaid requests/s at c=64", &rates, Wanted::Nothing),
            figure("counted_cpu", "us of server CPU per request", &times, Wanted::RatioAtMost(1.1)),
        ])
    })
}

/// One scrape, read whole into `page`, which keeps its memory as Prometheus's buffers do.
fn scrape(admin: SocketAddr, page: &mut Vec<u8>) -> Result<Duration> {
    page.clear();
    let begun = Instant::now();
    let mut stream = TcpStream::connect(admin)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    stream.read_to_end(page)?;
    let took = begun.elapsed();
    ensure!(page.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&page[..page.len().min(200)]));
    Ok(took)
}

/// The median of some scrapes, in milliseconds, and the size of one, in megabytes.
fn scrapes(admin: SocketAddr) -> Result<(f64, f64)> {
    let (mut took, mut page) = (Vec::new(), Vec::new());
    scrape(admin, &mut page)?;
    for _ in 0..ROUNDS {
        took.push(scrape(admin, &mut page)?.as_secs_f64() * 1e3);
    }
    Ok((median(&took), page.len() as f64 / 1e6))
}

/// The 99th percentile of one connection's unpaid requests, in microseconds.
fn latency(address: SocketAddr) -> Result<f64> {
    block_on(async {
        let mut load = Load::open(address, 1, offer_request(0), "402").await?;
        Ok(quantile(&load.run(SCRAPED).await?, 0.99) * 1e6)
    })
}

/// While it is scraped, and while it is not.
fn scraped_latency(verifier: &Verifier) -> Result<(f64, f64)> {
    let _warm = latency(verifier.listen)?;
    let quiet = latency(verifier.listen)?;
    let over = AtomicBool::new(false);
    let scraped = std::thread::scope(|scope| {
        let scraping = scope.spawn(|| -> Result<usize> {
            let (mut scrapes, mut page) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                scrape(verifier.admin, &mut page)?;
                scrapes += 1;
                std::thread::sleep(SCRAPE_EVERY);
            }
            Ok(scrapes)
        });
        let scraped = latency(verifier.listen);
        over.store(true, Ordering::Relaxed);
        let scrapes = scraping.join().ok().context("the scraping died")??;
        ensure!(scrapes > 2, "only {scrapes} scrapes");
        scraped
    })?;
    Ok((scraped, quiet))
}

/// From a file more in the folder until its offer is sold, in milliseconds.
fn reload(verifier: &Verifier, offers: usize) -> Result<f64> {
    let mut took = Vec::new();
    for number in offers..offers + 5 {
        let begun = Instant::now();
        verifier.add(number)?;
        block_on(verifier.until_sold(number, LOOK_AGAIN))?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&took))
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let folder = stage::folder()?;
    let mut figures = counted(folder.path())?;
    figures.extend(journal::run(folder.path())?);
    let chain = Peer::start(["chain"])?;
    let bound = |bench, unit, ours, bound| Figure {
        bench,
        unit,
        ours,
        reference: bound,
        reference_name: "the wanted bound".to_owned(),
        wanted: Wanted::AtMost(bound),
    };
    for (bench, size_bench, offers) in [
        ("scrape_10", "scrape_10_size", 10),
        ("scrape_1000", "scrape_1000_size", 1_000),
        ("scrape_10000", "scrape_10000_size", 10_000),
    ] {
        let verifier = Verifier::start(&chain, offers)?;
        block_on(verifier.until_sold(offers - 1, LOOK_AGAIN))?;
        let (took, size) = scrapes(verifier.admin).context(bench)?;
        figures.push(bound(bench, "ms for one scrape, read whole", took, 100.0));
        figures.push(Figure {
            wanted: Wanted::Nothing,
            reference_name: "KB for each offer".to_owned(),
            reference: size * 1e3 / offers as f64,
            ..bound(size_bench, "MB of one scrape", size, 0.0)
        });
        if offers < 10_000 {
            continue;
        }
        let (scraped, quiet) = scraped_latency(&verifier).context("scraped_latency")?;
        figures.push(Figure {
            reference: quiet,
            reference_name: "the same without scrapes".to_owned(),
            wanted: Wanted::Nothing,
            ..bound(
                "scraped_latency",
                "us p99 of unpaid requests at c=1, scraped twice a second",
                scraped,
                0.0,
            )
        });
        figures.push(bound(
            "reload_10000",
            "ms from a changed file to its sale",
            reload(&verifier, offers).context("reload_10000")?,
            1_000.0,
        ));
    }
    Ok(figures)
}
