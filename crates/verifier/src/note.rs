//! A refusal on its way through nginx. Its `auth_request` cannot pass a refusal on, so it gets a
//! note of it, and comes back with the note for the refusal itself. Whoever renders a note touches
//! no payment: asking twice must not sell what the first answer refused.

use crate::{answer, asked, body::GateBody, catalog::Listed, trust::Outside};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, Request, Response};
use hyper::body::Incoming;
use obol_core::{Reason, Refusal, WireVersion};
use obol_wire::Money;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) const REFUSAL: HeaderName = HeaderName::from_static("x-obol-refusal");

/// Bytes of a note: proxies keep a response's head in 4 KiB, and other headers need room, too.
const LIMIT: usize = 2 * 1024;

/// Bytes of a refusal's detail that a note has room for.
const DETAIL: usize = 512;

/// What a client is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) refusal: Refusal,
    pub(crate) version: WireVersion,
    pub(crate) money: Money,
    /// As it goes into the header.
    pub(crate) receipt: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    reason: String,
    detail: String,
    version: u8,
    verified: bool,
    settled: bool,
    receipt: Option<String>,
}

impl Note {
    pub(crate) fn of(refusal: &Refusal, version: WireVersion, money: Money) -> Self {
        Self { refusal: refusal.clone(), version, money, receipt: None }
    }

    pub(crate) fn encode(&self) -> String {
        let detail = &self.refusal.detail;
        let text = Text {
            reason: self.refusal.reason.name().to_owned(),
            detail: detail[..detail.floor_char_boundary(DETAIL)].to_owned(),
            version: self.version.number(),
            verified: self.money.verified,
            settled: self.money.settled,
            receipt: self.receipt.clone(),
        };
        STANDARD.encode(serde_json::to_vec(&text).unwrap_or_default())
    }

    /// None when it is not one of ours.
    pub(crate) fn decode(header: &[u8]) -> Option<Self> {
        if header.len() > LIMIT {
            return None;
        }
        let text: Text = serde_json::from_slice(&STANDARD.decode(header).ok()?).ok()?;
        let reason = Reason::ALL.iter().find(|reason| reason.name() == text.reason)?;
        let version = [WireVersion::V1, WireVersion::V2].into_iter().find(|v| v.number() == text.version)?;
        Some(Self {
            refusal: Refusal::new(*reason, text.detail),
            version,
            money: Money { verified: text.verified, settled: text.settled },
            receipt: text.receipt,
        })
    }

    /// The refusal itself, to the request that was refused.
    pub(crate) fn render(
        &self,
        request: &Request<Incoming>,
        outside: &Outside,
        listed: Result<Arc<Listed>, Refusal>,
    ) -> Response<GateBody> {
        let Self { refusal, version, money, receipt } = self;
        let mut response = match (refusal.reason.status(), listed) {
            (402, Ok(listed)) => {
                let posted = || match refusal.reason {
                    Reason::PaymentRequired => listed.challenges.unpaid(outside, request),
                    _ => listed.challenges.refused(&asked::url(outside, request), refusal, *version),
                };
                answer::refuse_on_offer(refusal, *version, *money, request.headers(), posted)
            }
            // What was refused a moment ago is not sold any more.
            (402, Err(gone)) => answer::refuse(&gone, *version, *money),
            _ => answer::refuse(refusal, *version, *money),
        };
        if let Some(receipt) = receipt {
            answer::give_encoded_receipt(response.headers_mut(), receipt);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_all_that_the_refusal_says() {
        for &reason in Reason::ALL {
            for (version, verified, receipt) in
                [(WireVersion::V1, false, None), (WireVersion::V2, true, Some("eyJ9".to_owned()))]
            {
                let note = Note {
                    refusal: Refusal::new(reason, "needs 3 \u{20ac}\r\nand more"),
                    version,
                    money: Money { verified, settled: !verified },
                    receipt,
                };
                assert_eq!(Note::decode(note.encode().as_bytes()), Some(note));
            }
        }
    }

    #[test]
    fn a_long_detail_is_cut_rather_than_the_note_lost() {
        let note = Note::of(
            &Refusal::new(Reason::InvalidPayload, "\u{20ac}".repeat(10_000)),
            WireVersion::V2,
            Money::default(),
        );
        let read = Note::decode(note.encode().as_bytes()).expect("a note");
        assert!(
            read.refusal.detail.len() > DETAIL - 3 && note.refusal.detail.starts_with(&*read.refusal.detail)
        );
    }

    #[test]
    fn what_is_no_note_is_none() {
        let json = |text: &str| STANDARD.encode(text);
        let good =
            r#"{"reason":"NoRoute","detail":"","version":2,"verified":false,"settled":false,"receipt":null}"#;
        assert!(Note::decode(json(good).as_bytes()).is_some());
        for text in [
            "".to_owned(),
            good.to_owned(),
            json("{}"),
            json(&good.replace("NoRoute", "no_route")),
            json(&good.replace("2", "3")),
            json(&good.replace("{", r#"{"more":1,"#)),
            json(&format!("{good}{}", " ".repeat(LIMIT))),
        ] {
            assert_eq!(Note::decode(text.as_bytes()), None, "{text}");
        }
    }
}
