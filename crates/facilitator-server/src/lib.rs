//! The facilitator over HTTP: `/verify`, `/settle` and `/supported`, as published servers ask, for
//! callers that the operator knows.

mod callers;
mod limits;
mod reply;
mod server;

pub use callers::{Caller, Callers, CallersError};
pub use limits::Rate;
pub use server::{Server, ServerParts, serve_admin, serve_facilitator};
