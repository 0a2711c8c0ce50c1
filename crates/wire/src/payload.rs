//! A payment as JSON, the same in both versions and in every place where one is written.

use obol_core::Payment;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Payload {
    signature: String,
    authorization: AuthorizationText,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationText {
    from: String,
    to: String,
    value: String,
    valid_after: String,
    valid_before: String,
    nonce: String,
}

impl From<&Payment> for Payload {
    fn from(payment: &Payment) -> Self {
        let authorization = &payment.authorization;
        Self {
            signature: payment.signature.to_string(),
            authorization: AuthorizationText {
                from: authorization.from.to_checksum(None),
                to: authorization.to.to_checksum(None),
                value: authorization.value.to_string(),
                valid_after: authorization.valid_after.to_string(),
                valid_before: authorization.valid_before.to_string(),
                nonce: authorization.nonce.to_string(),
            },
        }
    }
}
