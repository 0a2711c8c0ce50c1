use obol_core::{Refusal, WireVersion};
use serde::Serialize;

/// How far the money of a refused request got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// The payment was found good.
    pub verified: bool,
    /// The payment is on the chain.
    pub settled: bool,
}

/// The JSON body of every refusal: `docs/reasons.md` lists what it can say.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody<'a> {
    /// As clients of the payment's version know it.
    error: &'static str,
    reason: &'static str,
    detail: &'a str,
    hint: &'static str,
    retriable: bool,
    payment_verified: bool,
    payment_settled: bool,
}

impl<'a> ErrorBody<'a> {
    pub fn new(refusal: &'a Refusal, version: WireVersion, money: Money) -> Self {
        Self {
            error: refusal.reason.code(version),
            reason: refusal.reason.code(WireVersion::V2),
            detail: &refusal.detail,
            hint: refusal.reason.hint(),
            retriable: refusal.reason.retriable(),
            payment_verified: money.verified,
            payment_settled: money.settled,
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| r#"{"error":"unknown"}"#.to_owned())
    }
}
