//! What a facilitator is asked, and what it answers: `/verify`, `/settle`, `/supported`.
//!
//! Published servers send the payment decoded, beside the one requirement that they matched. What is
//! wrong with a payment is an answer, with status 200, and no error.

use crate::{
    claim::{self, Claim},
    encoding,
    entry::Entry,
};
use alloy_primitives::{Address, B256};
use obol_core::{Amount, ChainId, Payment, Reason, Refusal, Registry, Requirement, WireVersion};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

const BODY: &str = "the body";
const PAYLOAD: &str = "paymentPayload";
const REQUIREMENTS: &str = "paymentRequirements";

/// A payment, and what it has to satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facilitation {
    pub requirement: Requirement,
    pub payment: Payment,
}

/// A request that cannot be looked at further, and as much of it as the answer has to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub refusal: Refusal,
    pub version: WireVersion,
    pub payer: Option<Address>,
    /// As the request spelled it.
    pub network: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    x402_version: Option<u64>,
    payment_payload: Box<RawValue>,
    payment_requirements: Box<RawValue>,
}

/// Only the version, whatever else is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    x402_version: u64,
}

impl Facilitation {
    /// Reads the body of `/verify` and `/settle`.
    pub fn read(body: &[u8], registry: &Registry) -> Result<Self, Box<Unreadable>> {
        let parsed = encoding::parse::<Body>(BODY, body);
        let mut known = Unreadable {
            refusal: Reason::InvalidPayload.into(),
            version: parsed.as_ref().map_or(WireVersion::V2, version_of),
            payer: None,
            network: String::new(),
        };
        let refused = |refusal, known: Unreadable| Box::new(Unreadable { refusal, ..known });
        let body = match parsed {
            Ok(body) => body,
            Err(refusal) => return Err(refused(refusal, known)),
        };
        let entry: Entry = match encoding::parse(REQUIREMENTS, body.payment_requirements.get().as_bytes()) {
            Ok(entry) => entry,
            Err(refusal) => return Err(refused(refusal, known)),
        };
        known.network.clone_from(&entry.network);
        let claim = match claimed(&body, known.version) {
            Ok(claim) => claim,
            Err(refusal) => return Err(refused(refusal, known)),
        };
        known.payer = Some(claim.payer());
        let matched = requirement(entry, registry).and_then(|requirement| {
            let (_, payment) = claim.select(std::slice::from_ref(&requirement), registry)?;
            Ok(Self { requirement, payment })
        });
        matched.map_err(|refusal| refused(refusal, known))
    }
}

/// The payment's own version; the body's says the same, or nothing.
fn version_of(body: &Body) -> WireVersion {
    let payload = serde_json::from_str::<Versioned>(body.payment_payload.get()).ok();
    match payload.map(|payload| payload.x402_version).or(body.x402_version) {
        Some(1) => WireVersion::V1,
        _ => WireVersion::V2,
    }
}

fn claimed(body: &Body, version: WireVersion) -> Result<Claim, Refusal> {
    if body.x402_version.is_some_and(|stated| stated != u64::from(version.number())) {
        return Err(Refusal::new(Reason::InvalidVersion, "x402Version is not the payment's"));
    }
    let json = body.payment_payload.get().as_bytes();
    match version {
        WireVersion::V1 => claim::read_v1(PAYLOAD, json),
        WireVersion::V2 => claim::read_v2(PAYLOAD, json),
    }
}

/// Only assets that are known are settled: a token that a caller makes up could do anything with
/// the settler's gas.
fn requirement(entry: Entry, registry: &Registry) -> Result<Requirement, Refusal> {
    claim::scheme(&entry.scheme)?;
    let chain = registry.chain(&entry.network).map_err(|_| {
        Refusal::new(Reason::NetworkMismatch, format!("{:?} is no known chain", claim::shown(&entry.network)))
    })?;
    let address = claim::address("paymentRequirements.asset", &entry.asset)?;
    let asset = registry.asset_at(chain.id, address).map_err(|_| {
        Refusal::new(Reason::NoMatchingRequirement, format!("{address} is no known asset of {}", chain.id))
    })?;
    if let Some(extra) = entry.extra {
        let differs =
            |stated: &Option<String>, known: &str| stated.as_deref().is_some_and(|stated| stated != known);
        if differs(&extra.name, &asset.domain.name) || differs(&extra.version, &asset.domain.version) {
            let detail = format!(
                "extra has another domain than the asset: it is {:?}, version {:?}",
                asset.domain.name, asset.domain.version
            );
            return Err(Refusal::new(Reason::NoMatchingRequirement, detail));
        }
        if differs(&extra.asset_transfer_method, asset.method.as_str()) {
            let detail = format!("the asset moves by {}", asset.method);
            return Err(Refusal::new(Reason::UnsupportedScheme, detail));
        }
    }
    Ok(Requirement {
        asset: Arc::clone(asset),
        pay_to: claim::address("paymentRequirements.payTo", &entry.pay_to)?,
        amount: claim::atomic("paymentRequirements.amount", &entry.amount)?,
        max_timeout_seconds: entry.max_timeout_seconds,
    })
}

/// The answer to `/verify`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReply {
    is_valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<String>,
}

impl VerifyReply {
    pub fn valid(payer: Address) -> Self {
        let payer = Some(payer.to_checksum(None));
        Self { is_valid: true, invalid_reason: None, invalid_message: None, payer }
    }

    pub fn invalid(refusal: &Refusal, version: WireVersion, payer: Option<Address>) -> Self {
        Self {
            is_valid: false,
            invalid_reason: Some(refusal.reason.code(version)),
            invalid_message: Some(message(refusal)),
            payer: payer.map(|payer| payer.to_checksum(None)),
        }
    }
}

/// The answer to `/settle`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettleReply {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<String>,
    transaction: String,
    network: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
}

impl SettleReply {
    /// The transfer is in a block.
    pub fn settled(payment: &Payment, transaction: B256, registry: &Registry) -> Self {
        let amount: Amount = payment.authorization.value;
        Self {
            success: true,
            error_reason: None,
            error_message: None,
            payer: Some(payment.authorization.from.to_checksum(None)),
            transaction: transaction.to_string(),
            network: network(payment.chain, payment.version, registry),
            // Unknown to v1, whose servers parse strictly.
            amount: (payment.version == WireVersion::V2).then(|| amount.to_string()),
        }
    }

    /// It is not. `transaction` is what is out for it, when something is.
    pub fn refused(
        payment: &Payment,
        refusal: &Refusal,
        transaction: Option<B256>,
        registry: &Registry,
    ) -> Self {
        Self {
            success: false,
            error_reason: Some(refusal.reason.code(payment.version)),
            error_message: Some(message(refusal)),
            payer: Some(payment.authorization.from.to_checksum(None)),
            transaction: transaction.map(|hash| hash.to_string()).unwrap_or_default(),
            network: network(payment.chain, payment.version, registry),
            amount: None,
        }
    }
}

impl From<&Unreadable> for VerifyReply {
    fn from(unreadable: &Unreadable) -> Self {
        Self::invalid(&unreadable.refusal, unreadable.version, unreadable.payer)
    }
}

impl From<&Unreadable> for SettleReply {
    fn from(unreadable: &Unreadable) -> Self {
        let Unreadable { refusal, version, payer, network } = unreadable;
        Self {
            success: false,
            error_reason: Some(refusal.reason.code(*version)),
            error_message: Some(message(refusal)),
            payer: payer.map(|payer| payer.to_checksum(None)),
            transaction: String::new(),
            network: network.clone(),
            amount: None,
        }
    }
}

fn message(refusal: &Refusal) -> String {
    let meaning = refusal.reason.meaning();
    match &*refusal.detail {
        "" => meaning.to_owned(),
        detail => format!("{meaning} {detail}"),
    }
}

fn network(chain: ChainId, version: WireVersion, registry: &Registry) -> String {
    let v1_name = || registry.chain_by_id(chain).ok()?.v1_name.clone();
    match version {
        WireVersion::V1 => v1_name().unwrap_or_else(|| chain.to_string()),
        WireVersion::V2 => chain.to_string(),
    }
}

/// The answer to `/supported`.
#[derive(Clone, Debug, Serialize)]
pub struct Supported {
    kinds: Vec<Kind>,
    extensions: Vec<&'static str>,
    signers: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    x402_version: u8,
    scheme: &'static str,
    network: String,
}

impl Supported {
    /// Both versions of each chain, and the account that sends its settlements.
    pub fn new(chains: &[(ChainId, Address)], extensions: Vec<&'static str>, registry: &Registry) -> Self {
        let kind =
            |version: WireVersion, network| Kind { x402_version: version.number(), scheme: "exact", network };
        let v2 = chains.iter().map(|(chain, _)| kind(WireVersion::V2, chain.to_string()));
        let v1 = chains.iter().filter_map(|(chain, _)| {
            let name = registry.chain_by_id(*chain).ok()?.v1_name.clone()?;
            Some(kind(WireVersion::V1, name))
        });
        let signers =
            chains.iter().map(|(chain, settler)| (chain.to_string(), vec![settler.to_checksum(None)]));
        Self { kinds: v2.chain(v1).collect(), extensions, signers: signers.collect() }
    }
}
