use alloy_primitives::{B256, U256, keccak256};
use obol_core::{Authorization, Payment, Requirement, TransferMethod, WireVersion};
use obol_devchain::Account;
use obol_evm::{Key, typed};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Somebody who pays, with a key of the test mnemonic.
#[derive(Clone, Debug)]
pub struct Buyer {
    pub key: Key,
}

static NONCES: AtomicU64 = AtomicU64::new(0);

impl Buyer {
    pub fn of(account: Account) -> Self {
        Self { key: Key::from_bytes(account.key).expect("the mnemonic's keys are good") }
    }

    /// A fresh authorization for exactly what is required, as published v2 clients sign it.
    pub fn authorize(&self, requirement: &Requirement) -> Authorization {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let mut seed = [0; 40];
        seed[..16].copy_from_slice(&now.as_nanos().to_be_bytes());
        seed[16..24].copy_from_slice(&NONCES.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        seed[24..32].copy_from_slice(&u64::from(std::process::id()).to_be_bytes());
        Authorization {
            from: self.key.address(),
            to: requirement.pay_to,
            value: requirement.amount,
            valid_after: U256::ZERO,
            valid_before: U256::from(now.as_secs() + requirement.max_timeout_seconds),
            nonce: B256::from(keccak256(seed)),
        }
    }

    pub fn pay(&self, requirement: &Requirement) -> Payment {
        self.sign(requirement, self.authorize(requirement))
    }

    /// Signs whatever is asked: also what no seller should accept.
    pub fn sign(&self, requirement: &Requirement, authorization: Authorization) -> Payment {
        let signature = self.key.sign(typed::digest(&requirement.asset, &authorization));
        Payment {
            version: WireVersion::V2,
            chain: requirement.asset.chain,
            asset: requirement.asset.address,
            method: TransferMethod::Eip3009,
            authorization,
            signature: signature.to_bytes(),
        }
    }
}
