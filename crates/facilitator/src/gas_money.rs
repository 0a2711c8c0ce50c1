//! What the account that settles has, looked at now and then: for people, and for nothing else. The
//! settler reads it anew before it sends.

use alloy_primitives::{Address, U256};
use obol_evm::Rpc;
use std::time::Duration;
use tokio::sync::watch;

const EVERY: Duration = Duration::from_secs(15);

/// None while it is not known. Ends when `stopped` is set, or nobody looks.
pub(crate) fn watch_gas_money(
    rpc: Rpc,
    account: Address,
    mut stopped: watch::Receiver<bool>,
) -> watch::Receiver<Option<U256>> {
    let (told, seen) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let balance = rpc.balance(account).await;
            if told.send(balance.ok()).is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    });
    seen
}
