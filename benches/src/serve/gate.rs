//! The gate, as `obol verifier` puts it together.

use crate::stage;
use anyhow::{Context, Result};
use obol_core::{Amount, Charge, Exposure, Registry};
use obol_devchain::CHAIN;
use obol_facilitator::{Facilitator, Timing};
use obol_ledger::{Clock, Ledger, Place};
use obol_verifier::{Catalog, ForwardAuth, Gate, Limits, Parts, TrustedProxies, serve_gate};
use std::{path::Path, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// Delivers before it settles: a bench of the gate does not measure the time between blocks.
const EXPOSURE: Amount = Amount::from_atomic(alloy_primitives::U256::MAX);

pub(super) fn start(
    listener: TcpListener,
    ledger: &Path,
    upstream: &str,
    chain: Option<&str>,
    verify_only: bool,
    uncounted: bool,
) -> Result<()> {
    let registry = Arc::new(Registry::built_in());
    let ledger = Ledger::open(&Place::File(ledger), Clock::System, "bench")?;
    let settler = stage::key("settler", 0)?;
    let catalog = Arc::new(match uncounted {
        true => Catalog::uncounted(Arc::clone(&registry)),
        false => Catalog::new(Arc::clone(&registry), [CHAIN]),
    });
    catalog.observe(&ledger)?;
    let chains = chain.map(|url| stage::chain_setup(url, settler)).transpose()?;
    let facilitator =
        Facilitator::start(&ledger, chains.into_iter().collect(), Vec::new(), Timing::default());
    let exposure = Exposure { per_payer: EXPOSURE, per_offer: EXPOSURE };
    let offer = stage::offer("bench", stage::OFFER_PATH, upstream, Charge::Optimistic(exposure))?;
    catalog.publish(&[Arc::new(offer)], 0);
    let gate = Gate::new(Parts {
        catalog,
        registry,
        ledger,
        facilitator: Arc::new(facilitator),
        trusted: TrustedProxies::new(if verify_only { vec!["127.0.0.1".parse()?] } else { Vec::new() }),
        forward_auth: ForwardAuth { verify_only, ..ForwardAuth::default() },
        max_sales: 4_096,
    })
    .context("cannot read this machine's certificates")?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        serve_gate(gate, listener, Limits::default(), stopped).await;
        drop(stop);
    });
    Ok(())
}
