//! The gate: a reverse proxy that asks to be paid for each request, and forwards none unpaid.

mod answer;
mod asked;
mod body;
mod catalog;
mod cors;
mod door;
mod drain;
mod forward_auth;
mod gate;
mod headers;
mod held_page;
mod meters;
mod note;
mod page;
mod plain;
mod posted;
mod receipts;
mod redirect;
mod sale;
mod server;
mod trust;
mod upstream;

pub use body::GateBody;
pub use catalog::Catalog;
pub use forward_auth::ForwardAuth;
pub use gate::{Gate, Parts};
pub use meters::FAMILIES;
pub use obol_serve::Limits;
pub use server::{serve_admin, serve_gate};
pub use trust::{Network, NetworkError, TrustedProxies};
