//! What an endpoint says now and then: for people, and for nothing else. Whoever verifies or sends
//! reads it anew.

use crate::GasCeilings;
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
    /// How many payments that is enough for at the fees of then, each in a transaction of its own.
    pub(crate) payments_left: Option<u64>,
}

/// Looks until `stopped` is set.
pub(crate) fn glance(
    rpc: Rpc,
    account: Option<(Address, GasCeilings)>,
    mut stopped: watch::Receiver<bool>,
) -> watch::Receiver<Glance> {
    let (told, seen) = watch::channel(Glance::default());
    tokio::spawn(async move {
        loop {
            let block = rpc.latest_block().await.ok();
            let head = block.as_ref().and_then(|block| block.seconds().ok());
            let mut seen = Glance { head, ..*told.borrow() };
            if let Some((account, gas)) = account {
                let (money, tip) = tokio::join!(rpc.balance(account), rpc.suggested_tip());
                seen.gas_money = money.ok().or(seen.gas_money);
                // Without the fees, or while they are above the ceiling, the last figure stays.
                let fees = block.and_then(|block| gas.fees(block.base_fee_per_gas, tip).ok().flatten());
                if let Some((money, fees)) = seen.gas_money.zip(fees) {
                    let each = U256::from(gas.of_one()).saturating_mul(U256::from(fees.max_fee));
                    seen.payments_left = money.checked_div(each).map(|left| left.saturating_to());
                }
            }
            told.send_replace(seen);
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    });
    seen
}
