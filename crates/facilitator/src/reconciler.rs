//! Compares ledger and chain now and then while a seller runs, and says what it finds. It changes
//! nothing: `obol ledger reconcile` does.

use crate::{Audit, Difference, audit, audit::AuditError};
use obol_core::ChainId;
use obol_evm::Rpc;
use obol_ledger::{Clock, Comparison, Ledger, LedgerError, Timestamp};
use std::{collections::HashSet, time::Duration};
use tokio::sync::watch;

/// How comparing goes in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparing {
    /// It has not failed since it last worked, if it was ever tried.
    Works,
    /// The last try came to nothing.
    Fails,
}

/// A difference is looked at twice: a payment may be on its way into the ledger.
const AGAIN: Duration = Duration::from_secs(30);

/// A seller that starts catches up with the chain first.
const FIRST: Duration = Duration::from_secs(60);

/// How soon it is looked again after a difference: people look at it by then.
const DIFFERS: Duration = Duration::from_secs(600);

pub(crate) struct Reconciler {
    pub(crate) ledger: Ledger,
    pub(crate) rpc: Rpc,
    pub(crate) chain: ChainId,
    pub(crate) every: Duration,
}

impl Reconciler {
    /// Ends when `stopped` is set.
    pub(crate) fn start(self, mut stopped: watch::Receiver<bool>) -> watch::Receiver<Comparing> {
        let (told, seen) = watch::channel(Comparing::Works);
        tokio::spawn(async move {
            let started = Clock::System.now();
            let mut pause = self.every.min(FIRST);
            let mut failures = 0;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
                match self.turn(started).await {
                    Ok(next) => {
                        if std::mem::take(&mut failures) > 0 {
                            tracing::info!(chain = %self.chain, "ledger and chain are compared again");
                        }
                        pause = next;
                        told.send_replace(Comparing::Works);
                    }
                    Err(error) => {
                        // It reads all of the chain's history that matters: an endpoint that has enough of it
                        // is not asked for it each minute.
                        pause = FIRST.saturating_mul(2u32.saturating_pow(failures)).min(self.every);
                        failures += 1;
                        if failures == 1 {
                            tracing::warn!(chain = %self.chain, %error,
                                "ledger and chain cannot be compared; it is tried again, and said when it works");
                        }
                        told.send_replace(Comparing::Fails);
                    }
                }
            }
        });
        seen
    }

    /// Compares, unless another process on the ledger has done it in time, and says for how long that will do.
    /// Whoever starts compares: what a crash has left is seen soon.
    async fn turn(&self, started: Timestamp) -> Result<Duration, AuditError> {
        let before = self.last().await?;
        if let Some(rest) = before.as_ref().filter(|last| last.at > started).and_then(|last| self.rest(last))
        {
            return Ok(rest);
        }
        let found = self.compare().await?;
        found.remember(&self.ledger).await?;
        let differ = found.drifting().count() as u64;
        self.tell(differ, before.map_or(0, |before| before.payments));
        Ok(self.period(differ))
    }

    async fn last(&self) -> Result<Option<Comparison>, LedgerError> {
        Ok(self.ledger.comparisons().await?.into_iter().find(|last| last.chain == self.chain))
    }

    fn period(&self, payments: u64) -> Duration {
        if payments > 0 { self.every.min(DIFFERS) } else { self.every }
    }

    /// How long a comparison is still good for; none if it is not, or was made by a clock that is ahead.
    fn rest(&self, last: &Comparison) -> Option<Duration> {
        let age = u64::try_from(Clock::System.now().0 - last.at.0).ok().map(Duration::from_millis)?;
        self.period(last.payments).checked_sub(age).filter(|rest| !rest.is_zero())
    }

    fn tell(&self, now: u64, before: u64) {
        match (now, before) {
            (0, 0) => {}
            (0, _) => tracing::info!(chain = %self.chain, "ledger and chain agree again"),
            (now, before) if now == before => {}
            (payments, _) => tracing::error!(chain = %self.chain, payments,
                "ledger and chain differ; obol ledger verify says where"),
        }
    }

    async fn compare(&self) -> Result<Audit, AuditError> {
        let mut found = self.look().await?;
        if found.drifting().next().is_some() {
            tokio::time::sleep(AGAIN.min(self.every)).await;
            let before: HashSet<_> = found.drifting().map(|difference| difference.record().id).collect();
            found = self.look().await?;
            found.differences.retain(|difference| before.contains(&difference.record().id));
        }
        Ok(found)
    }

    /// What others have settled is the ledger's when it is final and the settler has looked there: before,
    /// it is no difference.
    async fn look(&self) -> Result<Audit, AuditError> {
        let mut audit = audit(&self.ledger, &self.rpc, self.chain, &mut |_, _| {}).await?;
        let scanned = self.ledger.scanned(self.chain).await?;
        audit.differences.retain(|difference| match difference {
            Difference::NotInLedger(_, transfer) => scanned.is_some_and(|scanned| transfer.block <= scanned),
            Difference::NotOnChain(_) | Difference::Elsewhere(..) => true,
        });
        Ok(audit)
    }
}
