//! Offers as operators write them: `ServiceOffer` documents, and the watched folder that they
//! lie in.

mod address;
mod asset;
mod charge;
mod credential;
mod document;
mod edit;
mod events;
mod fault;
mod file;
mod folder;
mod listing;
pub mod manifest;
mod names;
mod node;
mod offer;
mod payment;
mod read;
mod suggest;
mod upstream;
mod watch;

pub use document::parse;
pub use edit::{EditError, Removed, remove, set_paused};
pub use fault::Fault;
pub use folder::{Folder, Found, Limits, Loaded};
pub use watch::{Closed, Watch};
