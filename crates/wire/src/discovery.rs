//! The extension `bazaar`: what a payment's payload says of the resource that was paid for, and the
//! documents by which facilitators tell buyers of such resources.

mod about;
mod found;
mod listing;
mod resource;

pub use about::About;
pub use found::{Discovered, Discovery, ExtensionResponse, Extensions, Terms};
pub use listing::{Call, Listing, MAX_DECLARATION, Method, Unlisted};
pub use resource::{ResourceError, ResourceUrl, RouteTemplate};

/// The extension's name.
pub const BAZAAR: &str = "bazaar";
