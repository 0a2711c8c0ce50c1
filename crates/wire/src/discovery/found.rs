//! What a facilitator tells of the resources that it knows.

use super::{About, BAZAAR, ResourceUrl};
use crate::encoding;
use obol_core::Requirement;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

/// One way to pay for a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Terms {
    pub scheme: String,
    pub network: String,
    pub amount: String,
    pub asset: String,
    pub pay_to: String,
    max_timeout_seconds: u64,
    extra: Domain,
}

/// The asset's EIP-712 domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    name: String,
    version: String,
}

impl From<&Requirement> for Terms {
    fn from(requirement: &Requirement) -> Self {
        let asset = &requirement.asset;
        Self {
            scheme: "exact".to_owned(),
            network: asset.chain.to_string(),
            amount: requirement.amount.to_string(),
            asset: asset.address.to_checksum(None),
            pay_to: requirement.pay_to.to_checksum(None),
            max_timeout_seconds: requirement.max_timeout_seconds,
            extra: Domain { name: asset.domain.name.clone(), version: asset.domain.version.clone() },
        }
    }
}

/// The answer to `/discovery/resources`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovery<'a> {
    x402_version: u8,
    items: Vec<Discovered<'a>>,
    pagination: Pagination,
}

/// One resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovered<'a> {
    pub resource: &'a ResourceUrl,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub x402_version: u8,
    pub accepts: Vec<&'a Terms>,
    /// RFC 3339.
    pub last_updated: String,
    #[serde(flatten)]
    pub about: &'a About,
    pub extensions: Extensions<'a>,
}

/// What was declared, word for word.
#[derive(Debug, Serialize)]
pub struct Extensions<'a> {
    pub bazaar: &'a RawValue,
}

#[derive(Debug, Serialize)]
struct Pagination {
    limit: usize,
    offset: usize,
    total: usize,
}

impl<'a> Discovery<'a> {
    /// The items from `offset` on, at most `limit`, of so many in all.
    pub fn page(items: Vec<Discovered<'a>>, limit: usize, offset: usize, total: usize) -> Self {
        Self { x402_version: 2, items, pagination: Pagination { limit, offset, total } }
    }
}

/// What became of a declaration, for the header `EXTENSION-RESPONSES` of the answer to `/settle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionResponse {
    Success,
    Rejected(String),
}

impl ExtensionResponse {
    pub fn encode(&self) -> String {
        let told = match self {
            Self::Success => json!({"status": "success"}),
            Self::Rejected(reason) => json!({"status": "rejected", "rejectedReason": reason}),
        };
        encoding::encode(&json!({BAZAAR: told}).to_string())
    }
}
