//! Asking a facilitator of others, over HTTP, whether payments are good, and to settle them.
//!
//! Nothing here retries, follows a redirect or uses a proxy: whoever calls knows what an answer
//! that was lost may have meant.

mod client;
mod url;

pub use client::{AskError, Client, ClientError};
pub use url::{Url, UrlError};
