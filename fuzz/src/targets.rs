pub mod chain;
pub mod keys;
pub mod money;
pub mod routing;
pub mod wire;

use obol_core::{Amount, ChainId, Registry, Requirement};
use std::sync::{Arc, OnceLock};

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::built_in)
}

/// What the published vectors pay, and the same on another chain.
fn accepts() -> &'static [Requirement] {
    static ACCEPTS: OnceLock<Vec<Requirement>> = OnceLock::new();
    ACCEPTS.get_or_init(|| [84532, 8453].map(|chain| usdc(ChainId::new(chain))).to_vec())
}

fn usdc(chain: ChainId) -> Requirement {
    Requirement {
        asset: Arc::clone(registry().default_asset(chain).expect("every listed chain has one")),
        pay_to: alloy_primitives::address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        amount: Amount::from(10_000),
        max_timeout_seconds: 300,
    }
}
