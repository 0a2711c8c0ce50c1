//! Compares ledger and chain now and then while a seller runs, and says what it finds. It changes
//! nothing: `obol ledger reconcile` does.

use crate::{Audit, Difference, audit, audit::AuditError, rhythm::Rhythm};
use obol_core::ChainId;
use obol_evm::Rpc;
use obol_ledger::{Ledger, Timestamp};
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
            let rhythm = Rhythm { every: self.every, started: self.ledger.now() };
            let mut pause = rhythm.first();
            let mut mine = None;
            let mut failures = 0;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
                match self.turn(rhythm, &mut mine).await {
                    Ok(rest) => {
                        if std::mem::take(&mut failures) > 0 {
                            tracing::info!(chain = %self.chain, "ledger and chain are compared again");
                        }
                        pause = rhythm.sleep(rest);
                        told.send_replace(Comparing::Works);
                    }
                    Err(error) => {
                        failures += 1;
                        pause = rhythm.after(failures);
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

    /// Compares if it is time, and says how long it is until the next time.
    async fn turn(&self, rhythm: Rhythm, mine: &mut Option<Timestamp>) -> Result<Duration, AuditError> {
        let last = self.ledger.comparison(self.chain, self.rpc.shown()).await?;
        let rest = last.as_ref().map(|last| rhythm.rest(last, *mine, self.ledger.now()));
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            return Ok(rest);
        }
        let found = self.compare().await?;
        let made = found.remember(&self.ledger, &self.rpc).await?;
        self.tell(made.found.payments, last.map_or(0, |last| last.found.payments));
        *mine = Some(made.at);
        Ok(rhythm.rest(&made, *mine, self.ledger.now()))
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
