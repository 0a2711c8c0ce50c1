//! Payments for which there are words only, held against the chain by whoever can see it: also where
//! they were claimed in a time without an endpoint, and where nobody asks any more.

use crate::sight::{Resolved, Sight};
use obol_ledger::{LedgerError, PaymentId, PaymentRecord};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How often.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest pause between two looks at a payment that may stay open for long.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Rows of the ledger read at once.
const PAGE: u32 = 256;

/// Looks in a row that told nothing, after which the endpoint is left alone until the next time.
const ENOUGH: u32 = 3;

struct Unseen {
    sight: Sight,
    /// When to look again at what is open, and the pause after that.
    later: HashMap<PaymentId, (Instant, Duration)>,
    /// Looks in a row that told nothing.
    in_vain: u32,
}

/// Looks until `stopped`. In a task of its own: there may be much to look at, and others wait for
/// their settlements.
pub(crate) async fn look_for_unseen(sight: Sight, mut stopped: watch::Receiver<bool>) {
    let chain = sight.chain.id;
    let mut unseen = Unseen { sight, later: HashMap::new(), in_vain: 0 };
    while !*stopped.borrow_and_update() {
        if let Err(error) = unseen.look().await {
            tracing::debug!(%chain, %error, "what facilitators say cannot be checked at the moment");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            changed = stopped.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

impl Unseen {
    async fn look(&mut self) -> Result<(), LedgerError> {
        let (ledger, chain) = (self.sight.ledger.clone(), self.sight.chain.id);
        self.in_vain = 0;
        self.later.retain(|_, (when, _)| when.elapsed() < LONGEST);
        let mut after = PaymentId(0);
        while self.in_vain < ENOUGH {
            let page = ledger.claims(chain, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for record in page {
                self.check(&record).await;
            }
        }
        for id in ledger.open_questions(chain).await? {
            if self.in_vain < ENOUGH
                && !self.waits(id)
                && let Some(question) = ledger.question(id).await?
            {
                self.check(&question.record).await;
            }
        }
        Ok(())
    }

    fn waits(&self, id: PaymentId) -> bool {
        self.later.get(&id).is_some_and(|(when, _)| *when > Instant::now())
    }

    /// One payment of which the endpoint does not tell keeps no other from being looked at.
    async fn check(&mut self, record: &PaymentRecord) {
        if self.in_vain >= ENOUGH || self.waits(record.id) {
            return;
        }
        match self.sight.check(record).await {
            Ok(Resolved::Paid | Resolved::Failed) => {
                self.in_vain = 0;
                self.later.remove(&record.id);
                return;
            }
            Ok(Resolved::Open) => self.in_vain = 0,
            Ok(Resolved::Unclear | Resolved::Untold) => self.in_vain += 1,
            Err(error) => {
                self.in_vain += 1;
                tracing::debug!(chain = %self.sight.chain.id, payment = record.id.0, %error,
                    "the chain does not tell what became of a payment");
            }
        }
        let pause = self.later.get(&record.id).map_or(PAUSE, |(_, pause)| *pause);
        self.later.insert(record.id, (Instant::now() + pause, (pause * 2).min(LONGEST)));
    }
}
