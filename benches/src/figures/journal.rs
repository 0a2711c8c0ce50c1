//! What a scrape reads of a ledger that is old.

use super::block_on;
use crate::{
    figure::{Figure, Wanted},
    measure::{median, quantile},
    stage,
};
use alloy_primitives::{Address, B256, U256};
use anyhow::{Context, Result, bail, ensure};
use obol_core::{Authorization, Payment, TransferMethod, WireVersion};
use obol_devchain::CHAIN;
use obol_ledger::{Books, Clock, Inclusion, Ledger, Place, Reservation};
use std::{
    cell::Cell,
    convert::Infallible,
    path::Path,
    time::{Duration, Instant},
};

/// Each doubles what the ledger has, from one payment on.
const DOUBLINGS: u32 = 18;
const PAYMENTS: u64 = 1 << DOUBLINGS;

/// Payments that are delivered and not on the chain.
const EXPOSED: u64 = 8_192;

const ROUNDS: usize = 9;

/// How long reservations are timed, and how often the ledger is read meanwhile.
const TIMED: Duration = Duration::from_secs(3);
const READ_EVERY: Duration = Duration::from_millis(500);

/// How long a scrape waits for the ledger, in milliseconds: what takes longer takes several scrapes.
const PATIENCE: f64 = 3_000.0;

fn payment() -> Result<Payment> {
    let requirement = stage::requirement()?;
    Ok(Payment {
        version: WireVersion::V2,
        chain: CHAIN,
        asset: requirement.asset.address,
        method: TransferMethod::Eip3009,
        authorization: Authorization {
            from: Address::repeat_byte(7),
            to: requirement.pay_to,
            value: requirement.amount,
            valid_after: U256::ZERO,
            valid_before: U256::from(u32::MAX),
            nonce: B256::repeat_byte(7),
        },
        // The ledger does not look at what was signed.
        signature: [vec![7; 64], vec![27]].concat().into(),
    })
}

async fn sell_one(ledger: &Ledger) -> Result<()> {
    let payment = stage::verified(&payment()?)?;
    let key = payment.key;
    let Reservation::Granted(held) = ledger.reserve(payment, stage::HOLD).await? else {
        bail!("not granted")
    };
    let Ok(_owing) = ledger.owe(held, None).await? else { bail!("not held") };
    let now = Clock::System.now().seconds();
    let word = B256::repeat_byte(1);
    let at = Inclusion { tx: word, block: 1, block_hash: word, block_time: now, log_index: 0 };
    ledger.include(key, at, "seen").await?;
    Ok(())
}

/// Copies of one payment, each of its own, with the rows of the journal that it had.
fn multiply(path: &Path) -> Result<()> {
    let mut db = rusqlite::Connection::open(path)?;
    let tx = db.transaction()?;
    for _ in 0..DOUBLINGS {
        tx.execute_batch(
            "CREATE TEMP TABLE more AS SELECT * FROM payments; \
             UPDATE more SET id = id + (SELECT max(id) FROM payments), nonce = randomblob(32), payer = randomblob(20); \
             INSERT INTO payments SELECT * FROM more; \
             DROP TABLE more;",
        )?;
    }
    tx.execute_batch(
        "INSERT INTO charges (payment, kind, at) SELECT id, 0, block_time FROM payments \
         WHERE id NOT IN (SELECT payment FROM charges);",
    )?;
    // Delivered and not on the chain, as an optimistic offer has them.
    tx.execute_batch(&format!(
        "CREATE TEMP TABLE more AS SELECT * FROM payments LIMIT {EXPOSED}; \
         UPDATE more SET id = id + (SELECT max(id) FROM payments), nonce = randomblob(32), state = 4, delivery = 2, \
             tx = NULL, block = NULL, block_hash = NULL, block_time = NULL, log_index = NULL; \
         INSERT INTO payments SELECT * FROM more; \
         DROP TABLE more;"
    ))?;
    Ok(tx.commit()?)
}

/// All that a scrape reads.
async fn read(books: &mut Books, ledger: &Ledger) -> Result<Duration> {
    let begun = Instant::now();
    books.follow(ledger).await?;
    let _ = (ledger.comparison(CHAIN, "").await?, ledger.exposure().await?, ledger.losses().await?);
    Ok(begun.elapsed())
}

/// The 99th percentile of reservations, one after the other, in microseconds.
async fn reservations(ledger: &Ledger, first: &mut u64) -> Result<f64> {
    let mut took = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < TIMED {
        let mut payment = payment()?;
        payment.authorization.nonce = B256::from(U256::from(*first));
        payment.authorization.from = Address::from_word(payment.authorization.nonce);
        *first += 1;
        let payment = stage::verified(&payment)?;
        let asked = Instant::now();
        let Reservation::Granted(_) = ledger.reserve(payment, stage::HOLD).await? else {
            bail!("not granted")
        };
        took.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    Ok(quantile(&took, 0.99))
}

async fn read_on(ledger: &Ledger, books: &mut Books, reads: &Cell<usize>) -> Result<Infallible> {
    loop {
        read(books, ledger).await?;
        reads.set(reads.get() + 1);
        tokio::time::sleep(READ_EVERY).await;
    }
}

/// While the ledger is read for scrapes, and while it is not.
async fn scraped(ledger: &Ledger, books: &mut Books) -> Result<(f64, f64)> {
    let mut first = 1;
    let quiet = reservations(ledger, &mut first).await?;
    let reads = Cell::new(0);
    let scraped = tokio::select! {
        timed = reservations(ledger, &mut first) => timed?,
        failed = read_on(ledger, books, &reads) => match failed? {},
    };
    let reads = reads.get();
    ensure!(reads > 2, "only {reads} reads");
    Ok((scraped, quiet))
}

pub(super) fn run(folder: &Path) -> Result<Vec<Figure>> {
    let path = folder.join("old.db");
    block_on(async {
        let open = |path: &Path, who| Ledger::open(&Place::File(path), Clock::System, who);
        let ledger = open(&path, "bench")?;
        sell_one(&ledger).await?;
        multiply(&path).context("the ledger was not filled")?;
        let mut books = Books::default();
        let first = read(&mut books, &ledger).await?;
        let counted: u64 = books.by_asset()?.values().map(|sums| sums.charged.lifetime.payments).sum();
        ensure!(counted == PAYMENTS, "{counted} payments are counted, not {PAYMENTS}");
        let empty = open(&folder.join("new.db"), "bench")?;
        let mut none = Books::default();
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(read(&mut books, &ledger).await?.as_secs_f64() * 1e6);
            reference.push(read(&mut none, &empty).await?.as_secs_f64() * 1e6);
        }
        let (scraped, quiet) = scraped(&ledger, &mut books).await.context("scraped_reservation")?;
        Ok(vec![
            Figure {
                bench: "scraped_reservation",
                unit: "us p99 of a reservation at c=1, the ledger read for scrapes twice a second",
                ours: scraped,
                reference: quiet,
                reference_name: "the same without scrapes".to_owned(),
                wanted: Wanted::Nothing,
            },
            Figure {
                bench: "journal_first",
                unit: "ms for what the first scrape reads of 262,144 payments",
                ours: first.as_secs_f64() * 1e3,
                reference: PATIENCE,
                reference_name: "how long a scrape waits".to_owned(),
                wanted: Wanted::AtMost(PATIENCE),
            },
            Figure {
                bench: "journal_next",
                unit: "us for what each next one reads",
                ours: median(&ours),
                reference: median(&reference),
                reference_name: "the same of an empty ledger".to_owned(),
                wanted: Wanted::Nothing,
            },
        ])
    })
}
