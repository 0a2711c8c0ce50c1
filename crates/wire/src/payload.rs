//! The `exact` scheme's payload for EIP-3009 as JSON, the same in both versions and in every place where
//! one is read or written.

use obol_core::Payment;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) signature: String,
    pub(crate) authorization: AuthorizationText,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthorizationText {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) value: String,
    pub(crate) valid_after: String,
    pub(crate) valid_before: String,
    pub(crate) nonce: String,
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
