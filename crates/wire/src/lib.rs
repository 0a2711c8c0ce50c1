//! x402 headers and bodies, versions 1 and 2, to and from the vocabulary of `obol-core`. Pure.
//!
//! Where the specification and the published clients differ, the clients are followed: both
//! versions are sold at the same URL, a v2 client reads the `PAYMENT-REQUIRED` header, a v1
//! client the body.

mod answer;
mod buyer;
mod challenge;
mod claim;
pub mod discovery;
mod encoding;
mod entry;
mod error_body;
mod facilitation;
mod payload;
mod question;
mod receipt;

pub use answer::{AnswerError, CheckAnswer, SettleAnswer, SupportAnswer, Word};
pub use buyer::{Offered, PaymentHeader, Sale, SaleError};
pub use challenge::{Challenge, ChallengeTemplate};
pub use claim::{Claim, decode};
pub use encoding::MAX_HEADER;
pub use error_body::{ErrorBody, Money};
pub use facilitation::{Facilitation, SettleReply, Supported, Unreadable, VerifyReply};
pub use question::question;
pub use receipt::{Receipt, ReceiptError};

/// Header names, lower case, as HTTP/2 and the `http` crate spell them.
pub mod header {
    /// The challenge of v2.
    pub const PAYMENT_REQUIRED: &str = "payment-required";
    /// The payment of v2.
    pub const PAYMENT_SIGNATURE: &str = "payment-signature";
    /// The receipt of v2.
    pub const PAYMENT_RESPONSE: &str = "payment-response";
    /// The payment of v1.
    pub const X_PAYMENT: &str = "x-payment";
    /// The receipt of v1.
    pub const X_PAYMENT_RESPONSE: &str = "x-payment-response";
    /// What a facilitator says of the extensions that a payment's payload has.
    pub const EXTENSION_RESPONSES: &str = "extension-responses";
}
