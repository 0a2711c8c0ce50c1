//! How much is served at once, and where.

use crate::faults::{Faults, number, seconds};
use clap::Args;
use obol_serve::Limits;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What whoever answers HTTP allows.
#[derive(Args, Debug)]
pub(crate) struct ServingArgs {
    /// Paid requests that may be on their way at once; above it buyers get 503.
    #[arg(long, env = "OBOL_MAX_REQUESTS", default_value = "4096", value_name = "N")]
    pub(crate) max_requests: String,
    /// Connections of buyers that may be open at once; above it new ones wait.
    #[arg(long, env = "OBOL_MAX_CONNECTIONS", default_value_t = Limits::default().connections.to_string(),
          value_name = "N")]
    pub(crate) max_connections: String,
    /// Seconds that responses and sales may take to end when the verifier is told to stop.
    #[arg(long, env = "OBOL_STOP_GRACE", default_value = "30", value_name = "SECONDS")]
    pub(crate) stop_grace: String,
}

/// The same, understood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    pub(crate) max_requests: usize,
    pub(crate) limits: Limits,
}

impl Serving {
    pub(crate) fn shown(&self) -> [(String, Value); 3] {
        [
            ("max_requests".to_owned(), json!(self.max_requests)),
            ("max_connections".to_owned(), json!(self.limits.connections)),
            ("stop_grace".to_owned(), json!(self.limits.grace.as_secs())),
        ]
    }
}

impl ServingArgs {
    pub(crate) fn sift(&self, faults: &mut Faults) -> Option<Serving> {
        let max_requests = faults.sift("--max-requests", number(&self.max_requests, 1..=100_000));
        let connections = faults.sift("--max-connections", number(&self.max_connections, 1..=1_000_000));
        let grace = seconds("--stop-grace", &self.stop_grace, 0..=3_600, faults);
        let limits = Limits { connections: connections?, grace: grace?, ..Limits::default() };
        Some(Serving { max_requests: max_requests?, limits })
    }
}

/// Both addresses of a role: for those whom it serves, and for operators.
pub(crate) fn addresses(
    (listen, port): (&str, u16),
    (admin, admin_port): (&str, u16),
    faults: &mut Faults,
) -> Option<(SocketAddr, SocketAddr)> {
    let listen = faults.sift("--listen", address(listen, port));
    let admin = faults.sift("--admin-listen", address(admin, admin_port));
    if admin.is_some_and(|admin| admin.port() != 0 && listen == Some(admin)) {
        faults.add("--admin-listen", "is the address of --listen; give it one of its own");
    }
    Some((listen?, admin?))
}

fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not an IP address with a port, such as 127.0.0.1:{port}, or 0.0.0.0:{port} for every \
             interface"
        )
    })
}
