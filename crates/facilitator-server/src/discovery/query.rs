//! `GET /discovery/resources?…`: which resources, and how many of them.

use super::catalog::Entry;
use obol_wire::discovery::{BAZAAR, Discovered, Discovery, Extensions, Terms};
use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

const USUAL: usize = 20;
const MOST: usize = 100;

/// What the published client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    kind: Option<String>,
    pay_to: Option<String>,
    scheme: Option<String>,
    network: Option<String>,
    extension: Option<String>,
    limit: usize,
    offset: usize,
}

/// A number that is none, or out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("limit is a number from 1 to {MOST}.")]
    Limit,
    #[error("offset is a number from 0.")]
    Offset,
}

impl Query {
    /// Other parameters are passed over.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let mut query = Self {
            kind: None,
            pay_to: None,
            scheme: None,
            network: None,
            extension: None,
            limit: USUAL,
            offset: 0,
        };
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "type" => query.kind = Some(value.into_owned()),
                "payTo" => query.pay_to = Some(value.into_owned()),
                "scheme" => query.scheme = Some(value.into_owned()),
                "network" => query.network = Some(value.into_owned()),
                "extensions" => query.extension = Some(value.into_owned()),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    query.limit = limit.ok_or(QueryError::Limit)?;
                }
                "offset" => query.offset = value.parse().map_err(|_| QueryError::Offset)?,
                _ => {}
            }
        }
        Ok(query)
    }

    /// The answer where nothing is listed.
    pub(crate) fn none(&self) -> String {
        self.page(&[], 0)
    }

    /// The answer, of what is fresh.
    pub(super) fn page(&self, fresh: &[Arc<Entry>], now: u64) -> String {
        let wanted: Vec<_> = fresh.iter().filter(|entry| self.wants(entry, now)).collect();
        let items = wanted.iter().skip(self.offset).take(self.limit).map(|entry| item(entry, now)).collect();
        let page = Discovery::page(items, self.limit, self.offset, wanted.len());
        // Of plain structs of strings and JSON, for which serialization cannot fail.
        serde_json::to_string(&page).unwrap_or_default()
    }

    fn wants(&self, entry: &Entry, now: u64) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        // Addresses differ in case only by their checksum.
        let paid_to = |terms: &Terms| {
            self.pay_to.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(&terms.pay_to))
        };
        let payable = |terms: &Terms| {
            is(&self.scheme, &terms.scheme) && is(&self.network, &terms.network) && paid_to(terms)
        };
        is(&self.kind, entry.call.kind())
            && is(&self.extension, BAZAAR)
            && entry.fresh_terms(now).any(payable)
    }
}

fn item(entry: &Entry, now: u64) -> Discovered<'_> {
    let paid = UNIX_EPOCH.checked_add(Duration::from_secs(entry.paid())).unwrap_or(UNIX_EPOCH);
    Discovered {
        resource: &entry.resource,
        kind: entry.call.kind(),
        x402_version: 2,
        accepts: entry.fresh_terms(now).collect(),
        last_updated: humantime::format_rfc3339_seconds(paid).to_string(),
        about: &entry.about,
        extensions: Extensions { bazaar: &entry.bazaar },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_what_the_published_client_writes() {
        let query = Query::parse("type=http&network=eip155%3A8453&limit=100&offset=40&more=1").expect("good");
        assert_eq!((query.limit, query.offset), (100, 40));
        assert_eq!((query.kind.as_deref(), query.network.as_deref()), (Some("http"), Some("eip155:8453")));
        assert_eq!(Query::parse("").map(|query| (query.limit, query.offset)), Ok((20, 0)));
    }

    #[test]
    fn numbers_out_of_bounds_are_told() {
        for limit in ["0", "101", "-1", "", "x", "99999999999999999999999"] {
            assert_eq!(Query::parse(&format!("limit={limit}")), Err(QueryError::Limit), "{limit}");
        }
        for offset in ["-1", "", "1.5"] {
            assert_eq!(Query::parse(&format!("offset={offset}")), Err(QueryError::Offset), "{offset}");
        }
    }
}
