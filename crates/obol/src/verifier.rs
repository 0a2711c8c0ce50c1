//! `obol verifier`

mod args;
mod settings;

use crate::{
    exit::Failure,
    faults::Faults,
    logging::Logging,
    open_files, output,
    seller::{Seller, Setup, process_name},
    signals,
};
pub(crate) use args::VerifierArgs;
use obol_ledger::{Clock, Ledger, Place};
use obol_verifier::TrustedProxies;
use settings::Settings;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

pub(crate) async fn run(args: VerifierArgs, logging: Logging, faults: Faults) -> Result<(), Failure> {
    let only_shown = args.print_config;
    let settings = Settings::read(args, logging, faults)?;
    if only_shown {
        return output::pretty(&settings.shown());
    }
    open_files::raise(settings.serving.limits.connections, settings.serving.max_requests);
    let settling = &settings.settling;
    let ledger = Ledger::open(&Place::File(&settling.ledger), Clock::System, process_name())
        .map_err(|error| Failure::config(format!("--ledger: {error}")))?;
    let listener = bind("--listen", settings.listen).await?;
    let admin = bind("--admin-listen", settings.admin_listen).await?;
    tracing::info!(address = %local(&listener)?, admin = %local(&admin)?, settler = settling.shown_settler(), "selling");
    tell_forward_auth(&settings);
    let seller = Seller::start(Setup {
        registry: Arc::clone(&settling.registry),
        endpoints: settling.endpoints.clone(),
        chains: settling.setups(),
        remotes: settling.remote_setups(),
        ledger,
        offers: settings.offers,
        pricing: settings.pricing,
        listener,
        admin,
        trusted: TrustedProxies::new(settings.trusted),
        forward_auth: settings.forward_auth,
        timing: settling.timing,
        payees: settling.only_payees(),
        max_sales: settings.serving.max_requests,
        limits: settings.serving.limits,
    })?;
    signals::stop_requested().await;
    tracing::info!("stopping: responses and settlements finish first");
    seller.stop().await;
    Ok(())
}

/// What differs where proxies ask at /verify, said plainly.
fn tell_forward_auth(settings: &Settings) {
    if settings.forward_auth.verify_only {
        tracing::warn!("--verify-only: what /verify lets pass is verified and never charged");
    } else if !settings.trusted.is_empty() {
        tracing::info!(
            "what /verify lets pass is charged before the service has answered, and stays charged if it fails; \
             behind the gate itself it is not"
        );
    }
}

/// Where a listener really listens, which is told for port 0.
pub(crate) fn local(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(Failure::failed)
}

pub(crate) async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::unavailable(format!(
            "{flag}: cannot listen on {address}: {error}; stop what listens there, or give another"
        ))
    })
}
