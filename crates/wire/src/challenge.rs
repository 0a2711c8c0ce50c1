//! The 402: what to pay, for both versions at once.

use crate::{ErrorBody, Money, encoding};
use obol_core::{Reason, Refusal, Registry, Requirement, WireVersion};
use serde::Serialize;

/// An offer's challenge, rendered once per load except for what each request adds.
#[derive(Clone, Debug)]
pub struct ChallengeTemplate {
    description: String,
    /// The JSON of v2's `accepts`.
    accepts_v2: String,
    /// Each entry of v1's `accepts` up to its resource, which comes last.
    accepts_v1: Vec<String>,
}

/// What a 402 carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Of `PAYMENT-REQUIRED`.
    pub header: String,
    /// JSON: what v1 clients read, and the refusal for people.
    pub body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequirementV2<'a> {
    scheme: &'static str,
    network: String,
    amount: String,
    asset: String,
    pay_to: String,
    max_timeout_seconds: u64,
    extra: Extra<'a>,
}

#[derive(Serialize)]
struct Extra<'a> {
    name: &'a str,
    version: &'a str,
}

/// `outputSchema` and a null `extra` would be refused by published clients: they are left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequirementV1<'a> {
    scheme: &'static str,
    network: &'a str,
    max_amount_required: String,
    description: &'a str,
    mime_type: &'static str,
    pay_to: String,
    max_timeout_seconds: u64,
    asset: String,
    extra: Extra<'a>,
}

impl ChallengeTemplate {
    pub fn new(accepts: &[Requirement], registry: &Registry, description: &str) -> Self {
        let v2: Vec<_> = accepts.iter().map(requirement_v2).collect();
        let mut offered: Vec<&Requirement> = Vec::new();
        let mut accepts_v1 = Vec::new();
        for requirement in accepts {
            // A v1 payment names neither asset nor amount but in its authorization.
            let ambiguous = offered.iter().any(|other| {
                (other.asset.chain, other.pay_to, other.amount)
                    == (requirement.asset.chain, requirement.pay_to, requirement.amount)
            });
            let chain = registry.chain_by_id(requirement.asset.chain).ok();
            let Some(network) = chain.and_then(|chain| chain.v1_name.as_deref()) else { continue };
            if !ambiguous {
                offered.push(requirement);
                accepts_v1.push(up_to_resource(&requirement_v1(requirement, network, description)));
            }
        }
        Self { description: json(&description), accepts_v2: json(&v2), accepts_v1 }
    }

    /// `url` is the resource's address as the client knows it. `refusal` says why the payment
    /// that came was not taken.
    pub fn render(&self, url: &str, refusal: Option<&Refusal>, version: WireVersion) -> Challenge {
        let none = Refusal::from(Reason::PaymentRequired);
        let refusal = refusal.unwrap_or(&none);
        let url = json(&url);
        let mut required =
            String::with_capacity(160 + url.len() + self.description.len() + self.accepts_v2.len());
        required.push_str(r#"{"x402Version":2,"error":""#);
        required.push_str(refusal.reason.code(WireVersion::V2));
        required.push_str(r#"","resource":{"url":"#);
        required.push_str(&url);
        required.push_str(r#","description":"#);
        required.push_str(&self.description);
        required.push_str(r#"},"accepts":"#);
        required.push_str(&self.accepts_v2);
        required.push('}');
        let error = ErrorBody::new(refusal, version, Money::default()).to_json();
        Challenge { header: encoding::encode(&required), body: self.body(&url, &error) }
    }

    fn body(&self, url: &str, error: &str) -> String {
        let error = error.strip_suffix('}').unwrap_or(error);
        let mut body = String::with_capacity(error.len() + 64 + self.accepts_v1.len() * (url.len() + 400));
        body.push_str(error);
        // An offer on chains that v1 has no name for is shown as v2 shows it.
        if self.accepts_v1.is_empty() {
            body.push_str(r#","x402Version":2,"resource":{"url":"#);
            body.push_str(url);
            body.push_str(r#"},"accepts":"#);
            body.push_str(&self.accepts_v2);
            body.push('}');
            return body;
        }
        body.push_str(r#","x402Version":1,"accepts":["#);
        for (index, entry) in self.accepts_v1.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            body.push_str(entry);
            body.push_str(url);
            body.push('}');
        }
        body.push_str("]}");
        body
    }
}

fn requirement_v2(requirement: &Requirement) -> RequirementV2<'_> {
    let asset = &requirement.asset;
    RequirementV2 {
        scheme: "exact",
        network: asset.chain.to_string(),
        amount: requirement.amount.to_string(),
        asset: asset.address.to_checksum(None),
        pay_to: requirement.pay_to.to_checksum(None),
        max_timeout_seconds: requirement.max_timeout_seconds,
        extra: Extra { name: &asset.domain.name, version: &asset.domain.version },
    }
}

fn requirement_v1<'a>(
    requirement: &'a Requirement,
    network: &'a str,
    description: &'a str,
) -> RequirementV1<'a> {
    let asset = &requirement.asset;
    RequirementV1 {
        scheme: "exact",
        network,
        max_amount_required: requirement.amount.to_string(),
        description,
        mime_type: "",
        pay_to: requirement.pay_to.to_checksum(None),
        max_timeout_seconds: requirement.max_timeout_seconds,
        asset: asset.address.to_checksum(None),
        extra: Extra { name: &asset.domain.name, version: &asset.domain.version },
    }
}

fn up_to_resource(requirement: &RequirementV1<'_>) -> String {
    let mut before = json(requirement);
    before.pop();
    before.push_str(r#","resource":"#);
    before
}

/// Of strings and plain structs of strings, for which serialization cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
