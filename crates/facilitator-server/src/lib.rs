//! The facilitator over HTTP: `/verify`, `/settle` and `/supported`, as published servers ask, for
//! callers that the operator knows; and what was sold through it, for buyers to find.

mod callers;
mod discovery;
mod limits;
mod reply;
mod server;

pub use callers::{Caller, Callers, CallersError};
pub use discovery::{Discovery, DiscoveryError};
pub use limits::Rate;
pub use server::{Server, ServerParts, serve_admin, serve_facilitator};
