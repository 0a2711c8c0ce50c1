//! What a facilitator is asked: the body of `/verify` and of `/settle`.

use crate::{
    challenge::{RequirementV2, requirement_v2},
    payload::Payload,
};
use obol_core::{Payment, Requirement};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    x402_version: u8,
    payment_payload: Paid<'a>,
    payment_requirements: &'a RequirementV2<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Paid<'a> {
    x402_version: u8,
    accepted: &'a RequirementV2<'a>,
    payload: Payload,
}

/// The question in version 2, in whichever version the payment came: what was signed is the same.
pub fn question(payment: &Payment, requirement: &Requirement) -> String {
    let required = requirement_v2(requirement);
    let question = Question {
        x402_version: 2,
        payment_payload: Paid { x402_version: 2, accepted: &required, payload: payment.into() },
        payment_requirements: &required,
    };
    // Of plain structs of strings, for which serialization cannot fail.
    serde_json::to_string(&question).unwrap_or_default()
}
