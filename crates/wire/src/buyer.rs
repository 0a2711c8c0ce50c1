//! The buyer's direction: reading a 402 and writing the payment header that answers it.

use crate::{encoding, entry::Entry, payload::Payload};
use alloy_primitives::Address;
use base64::{Engine, engine::general_purpose::STANDARD};
use obol_core::{Amount, Asset, ChainId, Domain, Payment, Registry, TransferMethod, WireVersion};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A 402 as a buyer reads it.
#[derive(Clone, Debug)]
pub struct Sale {
    pub version: WireVersion,
    /// The ways to pay that obol can use, in the seller's order. Others are left out.
    pub offered: Vec<Offered>,
}

/// One way to pay.
#[derive(Clone, Debug)]
pub struct Offered {
    pub chain: ChainId,
    pub asset: Address,
    pub pay_to: Address,
    pub amount: Amount,
    pub max_timeout_seconds: u64,
    pub domain: Domain,
    /// As the seller wrote it: v2 payments echo it whole.
    entry: Box<RawValue>,
}

impl Offered {
    /// What its payer signs for. The challenge does not say what the asset is called.
    pub fn asset(&self) -> Asset {
        Asset {
            chain: self.chain,
            address: self.asset,
            symbol: String::new(),
            decimals: 0,
            domain: self.domain.clone(),
            method: TransferMethod::Eip3009,
        }
    }
}

/// A header that pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentHeader {
    pub name: &'static str,
    pub value: String,
}

/// Why an answer is not a challenge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an x402 challenge: {0}")]
pub struct SaleError(String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Required {
    x402_version: u64,
    accepts: Vec<Box<RawValue>>,
}

impl Sale {
    /// Reads the `PAYMENT-REQUIRED` header (v2) where there is one, and the body (v1) otherwise.
    pub fn parse(header: Option<&[u8]>, body: &[u8], registry: &Registry) -> Result<Self, SaleError> {
        let json = match header {
            Some(header) => STANDARD.decode(header).map_err(|error| SaleError(error.to_string()))?,
            None => body.to_vec(),
        };
        let required: Required =
            serde_json::from_slice(&json).map_err(|error| SaleError(error.to_string()))?;
        let version = match required.x402_version {
            1 => WireVersion::V1,
            2 => WireVersion::V2,
            other => return Err(SaleError(format!("x402 version {other} is unknown"))),
        };
        let offered = required.accepts.into_iter().filter_map(|entry| understand(entry, registry)).collect();
        Ok(Self { version, offered })
    }

    /// The header that carries `payment` for `offered`.
    pub fn pay(&self, offered: &Offered, payment: &Payment, registry: &Registry) -> PaymentHeader {
        let payload = Payload::from(payment);
        match self.version {
            WireVersion::V1 => {
                let chain = registry.chain_by_id(offered.chain).ok();
                let network = chain.and_then(|chain| chain.v1_name.clone());
                let network = network.unwrap_or_else(|| offered.chain.to_string());
                let paid = PaidV1 { x402_version: 1, scheme: "exact", network, payload };
                PaymentHeader { name: crate::header::X_PAYMENT, value: encoding::encode(&json(&paid)) }
            }
            WireVersion::V2 => {
                let paid = PaidV2 { x402_version: 2, accepted: &offered.entry, payload };
                PaymentHeader {
                    name: crate::header::PAYMENT_SIGNATURE,
                    value: encoding::encode(&json(&paid)),
                }
            }
        }
    }
}

/// `None` for what this buyer cannot pay: other schemes, networks or transfer methods.
fn understand(entry: Box<RawValue>, registry: &Registry) -> Option<Offered> {
    let text: Entry = serde_json::from_str(entry.get()).ok()?;
    let extra = text.extra?;
    if text.scheme != "exact" || extra.asset_transfer_method.is_some_and(|method| method != "eip3009") {
        return None;
    }
    let named = || registry.chain(&text.network).ok().map(|chain| chain.id);
    Some(Offered {
        chain: text.network.parse().ok().or_else(named)?,
        asset: text.asset.parse().ok()?,
        pay_to: text.pay_to.parse().ok()?,
        amount: Amount::parse_atomic(&text.amount).ok()?,
        max_timeout_seconds: text.max_timeout_seconds,
        domain: Domain { name: extra.name?, version: extra.version? },
        entry,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaidV1 {
    x402_version: u8,
    scheme: &'static str,
    network: String,
    payload: Payload,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaidV2<'a> {
    x402_version: u8,
    accepted: &'a RawValue,
    payload: Payload,
}

/// Of plain structs of strings, for which serialization cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
