//! What the ledger says to a scrape, and what is remembered of it for the next.

use crate::catalog::Snapshot;
use alloy_primitives::{Address, U256};
use obol_core::ChainId;
use obol_facilitator::Report;
use obol_ledger::{Books, Comparison, Ledger, LedgerError, Position, Takings, Timestamp, Unsettled};
use obol_serve::Trouble;
use obol_telemetry::Labels;
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    time::Duration,
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

/// How long a scrape waits for the ledger: less than Prometheus waits for the scrape.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reads on where it has read before.
#[derive(Debug, Default)]
pub(super) struct Reader {
    read: Mutex<Read>,
    trouble: Trouble,
}

#[derive(Debug, Default)]
struct Read {
    books: Books,
    /// Which ledger.
    id: Option<String>,
    comparisons: BTreeMap<ChainId, Comparison>,
}

/// What the ledger says.
#[derive(Default)]
pub(super) struct Told {
    /// Which ledger; none until it could be read.
    pub(super) id: Option<Labels>,
    /// Delivered and not paid; none when it could not be read for this scrape.
    pub(super) exposed: Option<Exposed>,
    /// Whether it takes what is written.
    pub(super) writable: bool,
    /// None before all of the journal was read once: a sum of a part of it would be too small.
    pub(super) books: Option<Said>,
    /// What the last comparison with each chain came to, by the endpoint of this process, as last read.
    pub(super) comparisons: BTreeMap<ChainId, Comparison>,
}

/// What is delivered and not paid.
pub(super) struct Exposed {
    /// Not yet.
    pub(super) open: HashMap<Position, Unsettled>,
    /// Never.
    pub(super) lost: HashMap<Position, Unsettled>,
}

/// What its journal comes to.
pub(super) struct Said {
    /// Of each of the snapshot's series, in their order.
    pub(super) takings: Vec<Takings>,
    /// Of each asset, whoever sold it.
    pub(super) by_asset: BTreeMap<(ChainId, Address), Takings>,
    /// Of each chain's settler, in a day and in wei.
    pub(super) spent: HashMap<ChainId, U256>,
}

impl Reader {
    pub(super) async fn ask(&self, ledger: &Ledger, snapshot: Option<&Snapshot>, reports: &[Report]) -> Told {
        let until = Instant::now() + PATIENCE;
        let mut told = Told { writable: ledger.commits(), ..Told::default() };
        let Ok(mut read) = timeout_at(until, self.read.lock()).await else {
            self.fails(&"another scrape is still reading it");
            return told;
        };
        match timeout_at(until, read.on(ledger, reports)).await {
            Ok(Ok(exposed)) => {
                self.trouble.works(|| tracing::info!("scrapes read the ledger again"));
                told.exposed = Some(exposed);
            }
            Ok(Err(error)) => self.fails(&error),
            Err(_) => self.fails(&"it takes too long"),
        }
        told.id = read.id.as_deref().map(|id| Labels::new([("ledger", id)]));
        told.comparisons.clone_from(&read.comparisons);
        match read.said(snapshot, reports) {
            Ok(said) => told.books = said,
            Err(error) => self.fails(&error),
        }
        told
    }

    fn fails(&self, why: &dyn Display) {
        self.trouble.fails(|| {
            tracing::warn!(%why, "a scrape does without the ledger; ledger_up is 0 until it can be read");
        });
    }
}

impl Read {
    /// May be given up between any two reads: the next one begins there.
    async fn on(&mut self, ledger: &Ledger, reports: &[Report]) -> Result<Exposed, LedgerError> {
        // First: what has left the windows is out of them, also when nothing can be read.
        self.books.follow(ledger).await?;
        if self.id.is_none() {
            self.id = Some(ledger.id().await?);
        }
        for (chain, (endpoint, _)) in reports.iter().filter_map(|of| Some((of.chain, of.comparing.as_ref()?)))
        {
            if let Some(last) = ledger.comparison(chain, endpoint).await? {
                self.comparisons.insert(chain, last);
            }
        }
        let by_position =
            |lines: Vec<Unsettled>| lines.into_iter().map(|line| (line.position.clone(), line)).collect();
        let (open, lost) = (ledger.exposure().await?, ledger.losses().await?);
        Ok(Exposed { open: by_position(open), lost: by_position(lost) })
    }

    fn said(&self, snapshot: Option<&Snapshot>, reports: &[Report]) -> Result<Option<Said>, LedgerError> {
        if !self.books.are_whole() {
            return Ok(None);
        }
        let series = snapshot.map(Snapshot::series).unwrap_or_default();
        let settlers = reports.iter().filter_map(|report| Some((report.chain, report.settler?)));
        Ok(Some(Said {
            takings: series.iter().map(|series| self.books.takings(series.position())).collect(),
            by_asset: self.books.by_asset()?,
            spent: settlers.map(|(chain, settler)| (chain, self.books.spent(chain, settler))).collect(),
        }))
    }
}

/// What is outstanding in one asset, whoever sold it.
pub(super) struct Outstanding {
    pub(super) payments: u64,
    pub(super) amount: U256,
    pub(super) oldest: Timestamp,
}

pub(super) fn by_asset(lines: &HashMap<Position, Unsettled>) -> BTreeMap<(ChainId, Address), Outstanding> {
    let mut sums: BTreeMap<(ChainId, Address), Outstanding> = BTreeMap::new();
    for (position, line) in lines {
        let sum = sums.entry((position.chain, position.asset)).or_insert(Outstanding {
            payments: 0,
            amount: U256::ZERO,
            oldest: line.oldest,
        });
        sum.payments += line.payments;
        sum.amount = sum.amount.saturating_add(line.amount.atomic());
        sum.oldest = sum.oldest.min(line.oldest);
    }
    sums
}
