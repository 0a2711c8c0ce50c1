//! The file as it is written: names and shapes.

use crate::{
    fault::Faults,
    manifest::Method,
    node::{Node, Value},
    read::{Decimal, Entry, Fields, Located, Read, record},
};
use std::fmt;

pub(super) const UPSTREAM_AUTH: &str = "upstreamAuth";

record! {
    pub(super) PricingSpec {
        wallet: String = "wallet",
        chain: String = "chain",
        facilitator_url: String = "facilitatorURL",
        verify_only: bool = "verifyOnly",
        routes: Items = "routes",
    }

    pub(super) RouteSpec {
        pattern: String = "pattern",
        hostname: String = "hostname",
        description: String = "description",
        offer_namespace: String = "offerNamespace",
        offer_name: String = "offerName",
        upstream_url: String = "upstreamURL",
        upstream_auth: Secret = "upstreamAuth",
        strip_prefix: String = "stripPrefix",
        payments: Vec<Located<PaymentSpec>> = "payments",
        price: Decimal = "price",
        pay_to: String = "payTo",
        network: String = "network",
        asset_address: String = "assetAddress",
        asset_symbol: String = "assetSymbol",
        asset_decimals: u64 = "assetDecimals",
        asset_transfer_method: Method = "assetTransferMethod",
        eip712_name: String = "eip712Name",
        eip712_version: String = "eip712Version",
        max_timeout_seconds: u64 = "maxTimeoutSeconds",
        /// What is metered is refused unless there is a price for a request.
        price_model: String = "priceModel",
        per_mtok: Decimal = "perMTok",
        /// This and what follows is accepted when it says what is done anyway.
        gate: String = "gate",
        free_quota: u64 = "freeQuota",
        is_async: bool = "async",
        broker_url: String = "brokerURL",
        async_ttl: String = "asyncTTL",
        async_visibility: String = "asyncVisibility",
    }

    pub(super) PaymentSpec {
        price: Decimal = "price",
        pay_to: String = "payTo",
        network: String = "network",
        asset_address: String = "assetAddress",
        asset_symbol: String = "assetSymbol",
        asset_decimals: u64 = "assetDecimals",
        asset_transfer_method: Method = "assetTransferMethod",
        eip712_name: String = "eip712Name",
        eip712_version: String = "eip712Version",
        max_timeout_seconds: u64 = "maxTimeoutSeconds",
        price_model: String = "priceModel",
        per_mtok: Decimal = "perMTok",
    }
}

/// A list whose items are read one by one: a fault in one is no fault of the others.
#[derive(Clone, Debug)]
pub(super) struct Items(pub(super) Vec<Node>);

impl Read for Items {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        let kind = node.kind();
        match node.value {
            Value::List(items) => Some(Self(items)),
            _ => {
                faults.add(node.line, field, format!("must be a list, not {kind}"));
                None
            }
        }
    }
}

/// A text that is never shown.
#[derive(Clone)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl Read for Secret {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        let kind = node.kind();
        match node.value {
            Value::Text(text) => Some(Self(text)),
            _ => {
                faults.add(node.line, field, format!("must be a text, not {kind}; put it in quotes"));
                None
            }
        }
    }
}

/// What the original says of a service beside its price. It is not used yet.
const ABOUT: [&str; 6] =
    ["approxTokensPerRequest", "agentModel", "agentSkills", "agentRuntime", "offerType", "model"];

/// The map without what says nothing here: empty texts, which the original writes for what is not
/// set, and what is about the service.
pub(super) fn telling(mut node: Node) -> Node {
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|(key, node)| node.text() != Some("") && !ABOUT.contains(&key.name.as_str()));
        for (_, node) in entries.iter_mut().filter(|(key, _)| key.name == "payments") {
            if let Value::List(items) = &mut node.value {
                items.iter_mut().for_each(|item| *item = telling(item.clone()));
            }
        }
    }
    node
}
