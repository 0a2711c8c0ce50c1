use alloy_primitives::{B256, U256};
use obol_core::{Authorization, Payment, TransferMethod, WireVersion};
use obol_evm::{Key, typed};
use obol_wire::Offered;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds: an authorization that lives longer is of use to nobody but who would take it late.
const LONGEST: u64 = 3_600;

/// A fresh authorization for exactly what is offered.
pub(crate) fn sign(key: &Key, offered: &Offered) -> Payment {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let authorization = Authorization {
        from: key.address(),
        to: offered.pay_to,
        value: offered.amount,
        valid_after: U256::ZERO,
        valid_before: U256::from(now.saturating_add(offered.max_timeout_seconds.min(LONGEST))),
        nonce: B256::random(),
    };
    let signature = key.sign(typed::digest(&offered.asset(), &authorization)).to_bytes();
    Payment {
        version: WireVersion::V2,
        chain: offered.chain,
        asset: offered.asset,
        method: TransferMethod::Eip3009,
        authorization,
        signature,
    }
}
