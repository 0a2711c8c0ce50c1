//! Compares ledger and chain now and then while a seller runs, and says what it finds. It changes
//! nothing: `obol ledger reconcile` does.

use crate::{Audit, Difference, audit, audit::AuditError};
use alloy_primitives::{Address, U256};
use obol_core::ChainId;
use obol_evm::Rpc;
use obol_ledger::{Clock, Ledger, PaymentId, Timestamp};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// What the last comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Payments of which ledger and chain say different things.
    pub payments: u64,
    /// By asset, for each that is paid in on this chain: what the ledger calls paid less what the
    /// chain shows.
    pub amounts: BTreeMap<Address, Balance>,
    pub at: Timestamp,
}

/// Atomic units that one side has and the other has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub ledger_only: U256,
    pub chain_only: U256,
}

/// The first less the second.
impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ledger_only.checked_sub(self.chain_only) {
            Some(surplus) => write!(f, "{surplus}"),
            None => write!(f, "-{}", self.chain_only - self.ledger_only),
        }
    }
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
    /// None until the first comparison. Ends when `stopped` is set, or nobody looks.
    pub(crate) fn start(self, mut stopped: watch::Receiver<bool>) -> watch::Receiver<Option<Arc<Drift>>> {
        let (told, seen) = watch::channel(None);
        tokio::spawn(async move {
            let mut pause = self.every.min(FIRST);
            let mut failures = 0;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = told.closed() => return,
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
                match self.compare().await {
                    Ok(drift) => {
                        if std::mem::take(&mut failures) > 0 {
                            tracing::info!(chain = %self.chain, "ledger and chain are compared again");
                        }
                        pause = if drift.payments > 0 { self.every.min(DIFFERS) } else { self.every };
                        self.tell(&drift, told.borrow().as_deref());
                        told.send_replace(Some(Arc::new(drift)));
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
                    }
                }
            }
        });
        seen
    }

    fn tell(&self, drift: &Drift, before: Option<&Drift>) {
        match (drift.payments, before.map_or(0, |before| before.payments)) {
            (0, 0) => {}
            (0, _) => tracing::info!(chain = %self.chain, "ledger and chain agree again"),
            (now, then) if now == then => {}
            (payments, _) => tracing::error!(chain = %self.chain, payments,
                "ledger and chain differ; obol ledger verify says where"),
        }
    }

    async fn compare(&self) -> Result<Drift, AuditError> {
        let mut found = self.look().await?;
        if counted(&found).next().is_some() {
            tokio::time::sleep(AGAIN.min(self.every)).await;
            let before: HashSet<_> = counted(&found).map(id).collect();
            found = self.look().await?;
            found.differences.retain(|difference| before.contains(&id(difference)));
        }
        let payees = self.ledger.payees(self.chain).await?;
        let mut amounts: BTreeMap<_, Balance> =
            payees.into_iter().map(|payee| (payee.asset, Balance::default())).collect();
        for difference in counted(&found) {
            let (record, side): (_, fn(&mut Balance) -> &mut U256) = match difference {
                Difference::NotOnChain(record) => (record, |balance| &mut balance.ledger_only),
                Difference::NotInLedger(record, _) => (record, |balance| &mut balance.chain_only),
                // In both, in different places.
                Difference::Elsewhere(..) => continue,
            };
            let sum = side(amounts.entry(record.key.asset).or_default());
            *sum = sum.saturating_add(record.amount.atomic());
        }
        Ok(Drift { payments: counted(&found).count() as u64, amounts, at: Clock::System.now() })
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

/// What a facilitator says is not what the ledger calls paid.
fn counted(audit: &Audit) -> impl Iterator<Item = &Difference> {
    audit.differences.iter().filter(|difference| !difference.is_claim())
}

fn id(difference: &Difference) -> PaymentId {
    let (Difference::NotOnChain(record)
    | Difference::NotInLedger(record, _)
    | Difference::Elsewhere(record, _)) = difference;
    record.id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_chain_has_more_of_is_negative() {
        let balance = |ledger_only: u64, chain_only: u64| Balance {
            ledger_only: U256::from(ledger_only),
            chain_only: U256::from(chain_only),
        };
        assert_eq!(balance(0, 0).to_string(), "0");
        assert_eq!(balance(5, 2).to_string(), "3");
        assert_eq!(balance(2, 5).to_string(), "-3");
    }
}
