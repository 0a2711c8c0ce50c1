//! The facilitator for others, as `obol facilitator` puts it together.

use crate::stage;
use anyhow::Result;
use obol_core::Registry;
use obol_facilitator::{Counter, Facilitator, Timing};
use obol_facilitator_server::{Callers, Rate, Server, ServerParts, serve_facilitator};
use obol_ledger::{Clock, Ledger, Place};
use obol_serve::Limits;
use std::{num::NonZeroU32, path::Path, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

pub(super) fn start(listener: TcpListener, ledger: &Path, chain: &str, settler: usize) -> Result<()> {
    let ledger = Ledger::open(&Place::File(ledger), Clock::System, "bench")?;
    let setup = stage::chain_setup(chain, stage::key("settler", settler)?)?;
    let facilitator = Arc::new(Facilitator::start(&ledger, vec![setup], Vec::new(), Timing::default()));
    let server = Server::new(ServerParts {
        counter: Counter::new(facilitator, ledger, None),
        registry: Arc::new(Registry::built_in()),
        callers: Callers::anybody(),
        rate: Rate::per_second(NonZeroU32::MAX),
        discovery: None,
        max_requests: 4_096,
    });
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        serve_facilitator(server, listener, Limits::default(), stopped).await;
        drop(stop);
    });
    Ok(())
}
