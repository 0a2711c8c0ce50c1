//! What an endpoint says now and then: for people, and for nothing else. Whoever verifies or sends
//! reads it anew.

use alloy_primitives::{Address, U256};
use obol_evm::Rpc;
use std::time::Duration;
use tokio::sync::watch;

const EVERY: Duration = Duration::from_secs(15);

/// What was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Glance {
    /// Of the newest block, in seconds since the Unix epoch; none when the endpoint did not tell.
    pub(crate) head: Option<i64>,
    /// What the account has that settles, in wei, when the endpoint last told.
    pub(crate) gas_money: Option<U256>,
}

/// Looks until `stopped` is set.
pub(crate) fn glance(
    rpc: Rpc,
    account: Option<Address>,
    mut stopped: watch::Receiver<bool>,
) -> watch::Receiver<Glance> {
    let (told, seen) = watch::channel(Glance::default());
    tokio::spawn(async move {
        loop {
            let head = rpc.latest_block().await.and_then(|block| block.seconds()).ok();
            let gas_money = match account {
                Some(account) => rpc.balance(account).await.ok().or(told.borrow().gas_money),
                None => None,
            };
            told.send_replace(Glance { head, gas_money });
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    });
    seen
}
