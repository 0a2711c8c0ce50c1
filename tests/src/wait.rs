use anyhow::{Result, bail};
use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// How long a condition may take before that is a fault.
const PATIENCE: Duration = Duration::from_secs(40);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until there is something to see; `what` names it in the failure.
pub async fn until<T>(what: impl Display, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            bail!("{what}: not after {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
