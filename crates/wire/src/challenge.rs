//! The 402: what to pay, for both versions at once.

use crate::{ErrorBody, Money, encoding};
use obol_core::{Reason, Refusal, Registry, Requirement, WireVersion};
use serde::Serialize;
use std::sync::LazyLock;

/// An offer's challenge, rendered once per load except for what each request adds.
///
/// Anybody can cause a 402, so it has to cost little: most of it is put together from parts that
/// are in their final form, base64 included.
#[derive(Clone, Debug)]
pub struct ChallengeTemplate {
    /// Base64 of the header's JSON from behind the resource's URL to its end.
    after_url: String,
    shown: Shown,
}

/// What the body offers.
#[derive(Clone, Debug)]
enum Shown {
    /// Each entry of v1's `accepts` up to its resource, which comes last.
    V1(Vec<String>),
    /// The JSON of v2's `accepts`: of an offer on chains that v1 has no name for.
    V2(String),
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
pub(crate) struct RequirementV2<'a> {
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
        let accepts_v2 = json(&v2);
        let after_url = format!(r#","description":{}}},"accepts":{accepts_v2}}}"#, json(&description));
        let shown = if accepts_v1.is_empty() { Shown::V2(accepts_v2) } else { Shown::V1(accepts_v1) };
        Self { after_url: encoding::encode(&after_url), shown }
    }

    /// `url` is the resource's address as the client knows it. `refusal` says why the payment
    /// that came was not taken.
    pub fn render(&self, url: &str, refusal: Option<&Refusal>, version: WireVersion) -> Challenge {
        let url = in_whole_groups(json(&url));
        match refusal {
            None => self.assemble(&url, &UNPAID.before_url, UNPAID.error(version)),
            Some(refusal) => self.assemble(&url, &before_url(refusal.reason), &open_error(refusal, version)),
        }
    }

    fn assemble(&self, url: &str, before_url: &str, error: &str) -> Challenge {
        let mut header = String::with_capacity(before_url.len() + url.len() / 3 * 4 + self.after_url.len());
        header.push_str(before_url);
        encoding::append(url, &mut header);
        header.push_str(&self.after_url);
        Challenge { header, body: self.body(url, error) }
    }

    fn body(&self, url: &str, error: &str) -> String {
        match &self.shown {
            Shown::V1(entries) => body_v1(entries, url, error),
            Shown::V2(accepts) => {
                [error, r#","x402Version":2,"resource":{"url":"#, url, r#"},"accepts":"#, accepts, "}"]
                    .concat()
            }
        }
    }
}

fn body_v1(entries: &[String], url: &str, error: &str) -> String {
    const BEFORE: &str = r#","x402Version":1,"accepts":["#;
    let length = |entry: &String| entry.len() + url.len() + "},".len();
    let length = entries.iter().map(length).sum::<usize>() + "]}".len();
    let mut body = String::with_capacity(error.len() + BEFORE.len() + length);
    body.push_str(error);
    body.push_str(BEFORE);
    for (index, entry) in entries.iter().enumerate() {
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

/// What every challenge to a request without a payment has in common.
struct Unpaid {
    before_url: String,
    error_v1: String,
    error_v2: String,
}

static UNPAID: LazyLock<Unpaid> = LazyLock::new(|| {
    let refusal = Refusal::from(Reason::PaymentRequired);
    Unpaid {
        before_url: before_url(refusal.reason),
        error_v1: open_error(&refusal, WireVersion::V1),
        error_v2: open_error(&refusal, WireVersion::V2),
    }
});

impl Unpaid {
    fn error(&self, version: WireVersion) -> &str {
        match version {
            WireVersion::V1 => &self.error_v1,
            WireVersion::V2 => &self.error_v2,
        }
    }
}

/// Base64 of the header's JSON up to the resource's URL.
fn before_url(reason: Reason) -> String {
    let error = reason.code(WireVersion::V2);
    let json = format!(r#"{{"x402Version":2,"error":"{error}","resource":{{"url":"#);
    encoding::encode(&in_whole_groups(json))
}

/// The JSON of a refusal without its last brace: more members follow.
fn open_error(refusal: &Refusal, version: WireVersion) -> String {
    let mut error = ErrorBody::new(refusal, version, Money::default()).to_json();
    error.pop();
    error
}

/// Base64 takes three bytes at a time, so that parts of whole groups can be encoded apart. JSON
/// does not mind spaces between its tokens.
fn in_whole_groups(mut json: String) -> String {
    while !json.len().is_multiple_of(3) {
        json.push(' ');
    }
    json
}

pub(crate) fn requirement_v2(requirement: &Requirement) -> RequirementV2<'_> {
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
