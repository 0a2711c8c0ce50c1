//! Payments that only words stand for, held against the chain by whoever can see it: also where they
//! were claimed in a time without an endpoint, and where nobody asks any more.

use crate::sight::{Resolved, Sight, TickError};
use obol_ledger::PaymentId;
use std::time::Duration;
use tokio::sync::watch;

/// How often.
const PAUSE: Duration = Duration::from_secs(5);

/// Rows of the ledger read at once.
const PAGE: u32 = 256;

/// Errors in a row after which the endpoint is left alone until the next time.
const ENOUGH: u32 = 3;

/// Looks until `stopped`. In a task of its own: there may be much to look at, and others wait for
/// their settlements.
pub(crate) async fn audit(sight: Sight, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow_and_update() {
        if let Err(error) = look(&sight).await {
            tracing::debug!(chain = %sight.chain.id, %error, "claims cannot be checked at the moment");
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

async fn look(sight: &Sight) -> Result<(), TickError> {
    let mut errors = 0;
    let mut after = PaymentId(0);
    loop {
        let page = sight.ledger.claims(sight.chain.id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for record in page {
            let resolved = sight.resolve(&record).await;
            if let Some(Resolved::Open) = unless_enough(&mut errors, resolved)? {
                tracing::error!(chain = %sight.chain.id, payment = record.id.0, claim = ?record.claim,
                    "a payment is said to be settled, and the chain does not show it");
                sight.ledger.doubt(record.id).await?;
            }
        }
    }
    for id in sight.ledger.open_questions(sight.chain.id).await? {
        if let Some(question) = sight.ledger.question(id).await? {
            let resolved = sight.resolve(&question.record).await;
            unless_enough(&mut errors, resolved)?;
        }
    }
    Ok(())
}

/// One payment about which the endpoint says nothing does not keep others from being looked at.
fn unless_enough(
    errors: &mut u32,
    resolved: Result<Resolved, TickError>,
) -> Result<Option<Resolved>, TickError> {
    match resolved {
        Ok(resolved) => {
            *errors = 0;
            Ok(Some(resolved))
        }
        Err(error) => {
            *errors += 1;
            if *errors >= ENOUGH { Err(error) } else { Ok(None) }
        }
    }
}
