//! `obol verifier`

mod args;
mod settings;
mod settler;

use crate::{
    exit::Failure,
    faults::Faults,
    logging::Logging,
    open_files, output,
    seller::{Seller, Setup, process_name},
    signals,
};
#[cfg(test)]
pub(crate) use args::REQUIRED;
pub(crate) use args::VerifierArgs;
use obol_ledger::{Clock, Ledger, Place};
use obol_verifier::TrustedProxies;
use settings::Settings;
use std::net::SocketAddr;
use tokio::net::TcpListener;

pub(crate) async fn run(args: VerifierArgs, logging: Logging, faults: Faults) -> Result<(), Failure> {
    let only_shown = args.print_config;
    let settings = Settings::read(args, logging, faults)?;
    if only_shown {
        return show(&settings);
    }
    open_files::raise(settings.limits.connections, settings.max_requests);
    let ledger = Ledger::open(&Place::File(&settings.ledger), Clock::System, process_name())
        .map_err(|error| Failure::config(format!("--ledger: {error}")))?;
    let listener = bind("--listen", settings.listen).await?;
    let admin = bind("--admin-listen", settings.admin_listen).await?;
    tracing::info!(address = %settings.listen, settler = %settings.settler.address(), "selling");
    tell_forward_auth(&settings);
    let seller = Seller::start(Setup {
        registry: settings.registry,
        endpoints: settings.endpoints,
        settler: settings.settler,
        ledger,
        offers: settings.offers,
        listener,
        admin,
        trusted: TrustedProxies::new(settings.trusted),
        forward_auth: settings.forward_auth,
        timing: settings.timing,
        gas: settings.gas,
        payees: (!settings.payees.is_empty()).then(|| settings.payees.into_iter().collect()),
        factories: settings.factories,
        max_sales: settings.max_requests,
        limits: settings.limits,
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

fn show(settings: &Settings) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&settings.shown())
        .map_err(|error| Failure::failed(format!("cannot show the settings: {error}")))?;
    output::print(&format!("{text}\n"));
    Ok(())
}

pub(crate) async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::unavailable(format!(
            "{flag}: cannot listen on {address}: {error}; stop what listens there, or give another"
        ))
    })
}
