//! What is told of a purchase, in JSON.

use super::choice::Way;
use crate::written::{Account, Atomic, Chain, Hash, Units};
use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::Serialize;

/// What a request costs.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ProbeView<'a> {
    /// HTTP status of the answer to a request without a payment; 402 when it has to be paid for.
    pub(super) status: u16,
    /// The ways to pay that `obol buy pay` knows, in the seller's order.
    pub(super) ways: Vec<WayView<'a>>,
    /// Why each other way cannot be taken, in words for people; absent when no payment is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Vec<String>>,
}

/// One way to pay for a request.
#[derive(Serialize, JsonSchema)]
pub(super) struct WayView<'a> {
    #[serde(flatten)]
    price: PriceView<'a>,
    /// Seconds for which a payment has to be valid.
    max_timeout_seconds: u64,
}

/// What is paid, and to whom.
#[derive(Serialize, JsonSchema)]
pub(super) struct PriceView<'a> {
    /// CAIP-2 id of the chain.
    chain: Chain,
    /// Address of the token.
    asset: Account,
    /// The token's symbol.
    asset_symbol: &'a str,
    /// Atomic units, as text.
    amount: Atomic,
    /// The same in units of the asset, as text.
    price: Units,
    /// Who is paid.
    pay_to: Account,
}

impl<'a> From<&'a Way<'_>> for PriceView<'a> {
    fn from(way: &'a Way<'_>) -> Self {
        let (offered, asset) = (way.offered, &way.asset);
        Self {
            chain: offered.chain.into(),
            asset: offered.asset.into(),
            asset_symbol: &asset.symbol,
            amount: offered.amount.into(),
            price: (offered.amount, asset.decimals).into(),
            pay_to: offered.pay_to.into(),
        }
    }
}

impl<'a> From<&'a Way<'_>> for WayView<'a> {
    fn from(way: &'a Way<'_>) -> Self {
        Self { price: way.into(), max_timeout_seconds: way.offered.max_timeout_seconds }
    }
}

/// What a purchase came to, or with `--dry-run` would.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PurchaseView<'a> {
    Answered(Answered<'a>),
    WouldPay(WouldPay<'a>),
    WouldGoOn(WouldGoOn),
}

/// The seller's answer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Answered<'a> {
    /// Its HTTP status.
    pub(super) status: u16,
    /// Its Location header; null without one.
    pub(super) location: Option<&'a str>,
    /// Null when it was had for nothing.
    pub(super) paid: Option<Paid<'a>>,
    #[serde(flatten)]
    pub(super) body: Body<'a>,
}

/// What it holds.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Body<'a> {
    Text {
        /// The body, which is text.
        body: &'a str,
    },
    Bytes {
        /// The body in base64, as it is not UTF-8.
        body_base64: String,
    },
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(body) => Self::Text { body },
            Err(_) => Self::Bytes { body_base64: STANDARD.encode(bytes) },
        }
    }
}

/// The payment for it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Paid<'a> {
    /// CAIP-2 id of the chain.
    pub(super) chain: Chain,
    /// Address of the token.
    pub(super) asset: Account,
    /// The token's symbol; null when neither the built-in table nor `--chains` has it.
    pub(super) asset_symbol: Option<&'a str>,
    /// Atomic units, as text.
    pub(super) amount: Atomic,
    /// The same in units of the asset, as text; null when the asset is not known.
    pub(super) price: Option<Units>,
    /// Who pays.
    pub(super) payer: Account,
    /// Who is paid.
    pub(super) pay_to: Account,
    /// The authorization's nonce.
    pub(super) nonce: Hash,
    /// The transaction that the seller names; null when it names none.
    pub(super) transaction: Option<Hash>,
    /// Whether the seller says that the money has moved.
    pub(super) settled: bool,
    pub(super) evidence: Evidence,
}

/// Who says that the money has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Evidence {
    /// The chain, of which `--rpc` names an endpoint.
    Chain,
    /// The seller.
    Claimed,
    /// Nobody.
    None,
}

/// With `--dry-run`: a payment would be signed and sent.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WouldPay<'a> {
    pub(super) would_pay: PriceView<'a>,
}

/// With `--dry-run`: an earlier run has signed a payment.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WouldGoOn {
    pub(super) would: Step,
    /// That payment's nonce.
    pub(super) nonce: Hash,
}

/// What would be done with it.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) enum Step {
    /// It was answered.
    #[serde(rename = "print the answer to")]
    Print,
    /// It was not.
    #[serde(rename = "send again")]
    Send,
}

impl Step {
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Print => "print the answer to",
            Self::Send => "send again",
        }
    }
}
