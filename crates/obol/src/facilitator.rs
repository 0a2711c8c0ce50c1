//! `obol facilitator`

mod args;
mod settings;

use crate::{
    exit::Failure,
    faults::Faults,
    logging::Logging,
    open_files, output,
    seller::{check_chains, process_name, start_facilitator},
    signals,
    verifier::{bind, local},
};
pub(crate) use args::FacilitatorArgs;
use obol_facilitator::Counter;
use obol_facilitator_server::{
    Callers, Discovery, Rate, Server, ServerParts, serve_admin, serve_facilitator,
};
use obol_ledger::{Clock, Ledger, Place};
use settings::Settings;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) async fn run(args: FacilitatorArgs, logging: Logging, faults: Faults) -> Result<(), Failure> {
    let only_shown = args.print_config;
    let settings = Settings::read(args, logging, faults)?;
    if only_shown {
        return output::pretty(&settings.shown());
    }
    let Settings { settling, serving, callers, .. } = settings;
    open_files::raise(serving.limits.connections, serving.max_requests);
    let discovery = settings.discovery.map(Discovery::open).transpose();
    let discovery = discovery.map_err(|error| Failure::config(format!("--discovery: {error}")))?;
    let ledger = Ledger::open(&Place::File(&settling.ledger), Clock::System, process_name())
        .map_err(|error| Failure::config(format!("--ledger: {error}")))?;
    let listener = bind("--listen", settings.listen).await?;
    let admin = bind("--admin-listen", settings.admin_listen).await?;
    let known = match &callers {
        Callers::Anybody(_) => "anybody on this machine".to_owned(),
        Callers::Known(known) => known.len().to_string(),
    };
    tracing::info!(address = %local(&listener)?, settler = settling.shown_settler(), callers = known, "settling for others");
    let facilitator = start_facilitator(&ledger, settling.setups(), Vec::new(), settling.timing);
    tokio::spawn(check_chains(settling.endpoints.clone()));
    let server = Server::new(ServerParts {
        counter: Counter::new(Arc::clone(&facilitator), ledger, settling.only_payees()),
        registry: Arc::clone(&settling.registry),
        callers,
        rate: Rate::per_second(settings.max_rate),
        discovery: discovery.clone(),
        max_requests: serving.max_requests,
    });
    let (stop, stopped) = watch::channel(false);
    let answering = tokio::spawn(serve_facilitator(server.clone(), listener, serving.limits, stopped));
    let (stop_listing, stopped) = watch::channel(false);
    let listing = discovery.map(|discovery| tokio::spawn(discovery.keep(stopped)));
    let (stop_admin, stopped) = watch::channel(false);
    let health = tokio::spawn(serve_admin(server.clone(), admin, serving.limits, stopped));
    signals::stop_requested().await;
    tracing::info!("stopping: settlements finish first");
    server.retire();
    // Without receivers the servers have ended by themselves, and so have their tasks.
    let _ = stop.send(true);
    let _ = answering.await;
    let _ = stop_listing.send(true);
    if let Some(listing) = listing {
        let _ = listing.await;
    }
    facilitator.stop().await;
    let _ = stop_admin.send(true);
    let _ = health.await;
    tracing::info!("stopped");
    Ok(())
}
