//! What a process on the ledger does whatever its chains do: it gives signs of life, and takes
//! over what dead requests and dead processes held.

use crate::Timing;
use obol_ledger::{Census, Ledger, LedgerError};
use std::time::Duration;
use tokio::sync::watch;

/// Well below the patience that others have.
const BEAT: Duration = Duration::from_secs(1);

/// Keeps until `stopped`. Its own task: a chain's endpoint that hangs must not make a living
/// process look dead, whose responses others would then send again.
pub(crate) async fn keep(ledger: Ledger, timing: Timing, mut stopped: watch::Receiver<bool>) {
    let mut census = Census::default();
    while !*stopped.borrow_and_update() {
        if let Err(error) = beat(&ledger, &mut census, timing.patience).await {
            tracing::debug!(%error, "no sign of life could be given");
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            changed = stopped.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

async fn beat(ledger: &Ledger, census: &mut Census, patience: Duration) -> Result<(), LedgerError> {
    ledger.take_over(census, patience).await?;
    ledger.recover().await?;
    Ok(())
}
