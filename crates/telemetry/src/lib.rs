//! What every role tells Prometheus with: counters that requests move without a lock, and the page
//! on which they are read, in the text format 0.0.4.
//!
//! Series are owned by whoever moves them. There is no registry to look them up in: a request has
//! its own at hand, and a scrape writes one page from what is served at the moment.

mod counter;
mod family;
mod histogram;
mod labels;
mod page;
mod value;

pub use counter::{Counter, Units};
pub use family::{Family, Kind};
pub use histogram::Histogram;
pub use labels::Labels;
pub use page::{CONTENT_TYPE, Page};
pub use value::Value;
