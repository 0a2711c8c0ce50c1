//! Which process on the ledger acts for an account, for as long as it renews its lease.

use obol_ledger::{Lease, Leased, Ledger, LedgerError, Settler as Account};
use std::time::{Duration, Instant};

pub(crate) struct Lead {
    ledger: Ledger,
    account: Account,
    ttl: Duration,
    lease: Option<Lease>,
    /// The last one that was this process's.
    last: Option<Lease>,
    renew_at: Instant,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Led {
    /// This process, since just now: others may have acted before.
    Anew,
    /// This process after a lease of its own that ran out, and nobody in between.
    Again,
    /// This process, as before.
    Still,
    /// Another one.
    ByAnother,
}

impl Lead {
    pub(crate) fn new(ledger: Ledger, account: Account, ttl: Duration) -> Self {
        Self { ledger, account, ttl, lease: None, last: None, renew_at: Instant::now() }
    }

    pub(crate) const fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// Takes or renews the lease.
    pub(crate) async fn hold(&mut self) -> Result<Led, LedgerError> {
        if self.lease.is_some() && Instant::now() < self.renew_at {
            return Ok(Led::Still);
        }
        let asked_at = Instant::now();
        match self.ledger.lease(self.account, self.ttl).await? {
            Leased::Mine(lease) => {
                let known = self.lease.replace(lease);
                let last = self.last.replace(lease);
                self.renew_at = asked_at + self.ttl / 3;
                Ok(match last {
                    _ if known == Some(lease) => Led::Still,
                    Some(last) if last.epoch + 1 == lease.epoch => Led::Again,
                    _ => Led::Anew,
                })
            }
            Leased::HeldBy { holder, .. } => {
                if self.lease.take().is_some() {
                    tracing::warn!(chain = %self.account.chain, holder, "lost the lease");
                }
                Ok(Led::ByAnother)
            }
        }
    }

    /// It is not this process's any more.
    pub(crate) fn lose(&mut self) {
        self.lease = None;
    }

    /// Gives it back at a clean stop, so that the next process need not wait.
    pub(crate) async fn end(&mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = self.ledger.end_lease(lease).await
        {
            tracing::warn!(chain = %self.account.chain, %error, "the lease stays until it expires");
        }
    }
}
