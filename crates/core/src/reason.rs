use crate::WireVersion;
use std::fmt;

macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $name:ident { $status:literal, $retriable:literal, v2: $v2:literal, v1: $v1:literal, $hint:literal } )*) => {
        /// Why a request is not served, or a payment not settled. Closed: the response, the
        /// metric, the log and the ledger all take their word from here, and `docs/reasons.md`
        /// is generated from it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $( $(#[doc = $doc])+ $name, )* }

        impl Reason {
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// Its own name, which no other reason has. Programs of obol tell each other this one.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }

            /// One word that no other reason has, as metrics have it: the code of v2, but for the
            /// reason that shares it with another.
            pub const fn label(self) -> &'static str {
                match self {
                    Self::ConflictingPayments => "conflicting_payments",
                    other => other.code(WireVersion::V2),
                }
            }

            /// The HTTP status with which the gate answers.
            pub const fn status(self) -> u16 {
                match self { $( Self::$name => $status, )* }
            }

            /// Whether the same request, with the same payment, may succeed later.
            pub const fn retriable(self) -> bool {
                match self { $( Self::$name => $retriable, )* }
            }

            /// The reason string as published clients of this version know it; a reason that
            /// they do not know has obol's own.
            pub const fn code(self, version: WireVersion) -> &'static str {
                match version {
                    WireVersion::V2 => match self { $( Self::$name => $v2, )* },
                    WireVersion::V1 => match self { $( Self::$name => $v1, )* },
                }
            }

            /// What is the matter, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$name => concat!($( $doc ),+).trim_ascii(), )* }
            }

            /// What the client can do about it. Nothing about money: whether the payment was verified and
            /// settled stands beside it in the answer.
            pub const fn hint(self) -> &'static str {
                match self { $( Self::$name => $hint, )* }
            }
        }
    };
}

reasons! {
    /// No payment came with the request.
    PaymentRequired { 402, true, v2: "payment_required", v1: "payment_required",
        "Sign one of the accepted payments and send the request again." }
    /// The payment header is not base64 of a payment in JSON, or is too large.
    InvalidPayload { 402, false, v2: "invalid_payload", v1: "invalid_payload",
        "Send standard padded base64 of one JSON payment in PAYMENT-SIGNATURE (v2) or X-PAYMENT (v1)." }
    /// The payment states an x402 version other than 1 and 2, or not its header's.
    InvalidVersion { 402, false, v2: "invalid_x402_version", v1: "invalid_x402_version",
        "Speak x402 version 2 in PAYMENT-SIGNATURE or version 1 in X-PAYMENT." }
    /// Two payment headers came and they differ, or one came twice.
    ConflictingPayments { 402, false, v2: "invalid_payload", v1: "invalid_payload",
        "Send exactly one payment header." }
    /// The scheme is not `exact`.
    UnsupportedScheme { 402, false, v2: "unsupported_scheme", v1: "unsupported_scheme",
        "Use the exact scheme." }
    /// What the payment accepted is not among the requirements.
    NoMatchingRequirement { 402, false, v2: "invalid_payment_requirements", v1: "invalid_payment_requirements",
        "Accept one of the requirements exactly as the challenge states it." }
    /// The chain is not one that the offer accepts.
    NetworkMismatch { 402, false, v2: "invalid_exact_evm_network_mismatch", v1: "invalid_network",
        "Pay on a chain that the challenge lists." }
    /// The authorization is made out to somebody else.
    RecipientMismatch { 402, false, v2: "invalid_exact_evm_recipient_mismatch", v1: "invalid_exact_evm_payload_recipient_mismatch",
        "Make the authorization out to the requirement's payTo." }
    /// The authorized value is not exactly the price.
    ValueMismatch { 402, false, v2: "invalid_exact_evm_payload_authorization_value_mismatch", v1: "invalid_exact_evm_payload_authorization_value",
        "Authorize exactly the required amount, neither less nor more." }
    /// The authorization is not valid yet.
    NotYetValid { 402, true, v2: "invalid_exact_evm_payload_authorization_valid_after", v1: "invalid_exact_evm_payload_authorization_valid_after",
        "Wait for validAfter, or sign one that is valid now; check your clock." }
    /// The authorization has expired, or would before it could be settled.
    Expired { 402, false, v2: "invalid_exact_evm_payload_authorization_valid_before", v1: "invalid_exact_evm_payload_authorization_valid_before",
        "Sign a new authorization that lives for the whole maxTimeoutSeconds; check your clock." }
    /// The signature is malformed, has a high s, or is not the payer's.
    InvalidSignature { 402, false, v2: "invalid_exact_evm_signature", v1: "invalid_exact_evm_payload_signature",
        "Sign the EIP-712 typed data with the domain in the requirement's extra and the payer's key." }
    /// The payer is a wallet that is not deployed and whose factory is not allowed.
    FactoryNotAllowed { 402, false, v2: "eip6492_factory_not_allowed", v1: "invalid_exact_evm_payload_undeployed_smart_wallet",
        "Deploy the wallet first, or pay from another." }
    /// The authorization's nonce was used or cancelled on the chain.
    NonceUsed { 402, false, v2: "invalid_exact_evm_nonce_already_used", v1: "duplicate_settlement",
        "Sign a new authorization with a fresh nonce." }
    /// The payment was served already, or was waived.
    AlreadyServed { 402, false, v2: "duplicate_settlement", v1: "duplicate_settlement",
        "This payment has been served. Sign a new one." }
    /// The payment was released too often to be tried again, or what it paid for was asked for too
    /// often and never taken.
    TooManyAttempts { 402, false, v2: "too_many_attempts", v1: "invalid_payment",
        "It was sent too often. Sign a new one." }
    /// The same nonce came before with other terms.
    TermsChanged { 402, false, v2: "payment_terms_changed", v1: "invalid_payment",
        "A nonce stands for one payment. Sign a new one." }
    /// A settled payment that waits for delivery came with another request.
    FingerprintMismatch { 402, false, v2: "request_changed", v1: "invalid_payment",
        "This payment was settled for another request. Send that request again to be served." }
    /// A payment that waits for delivery came from another client than the one that it was taken
    /// from: its signature is on the chain, where anybody can copy it.
    PayerUnproven { 402, false, v2: "payer_unproven", v1: "invalid_payment",
        "Sign a new payment and send the same request: what was paid is delivered, and the new payment is left unused." }
    /// The payer's balance does not cover the payment and its other open ones.
    InsufficientBalance { 402, true, v2: "invalid_exact_evm_insufficient_balance", v1: "insufficient_funds",
        "Fund the payer with enough of the asset for this and its other open payments." }
    /// The token refuses the transfer although all that obol checks is right.
    SimulationFailed { 402, false, v2: "invalid_exact_evm_transaction_simulation_failed", v1: "invalid_transaction_state",
        "The token would refuse this transfer: the payer may be blocked, or the token paused." }
    /// The settlement failed for good: the authorization was cancelled or expired first.
    SettlementFailed { 402, false, v2: "invalid_exact_evm_transaction_failed", v1: "invalid_transaction_state",
        "It can never be settled now. Sign a new one." }
    /// The same payment is being served at this moment.
    InFlight { 409, true, v2: "payment_in_flight", v1: "duplicate_settlement",
        "Wait for the first request's answer. Do not sign again: you would pay twice." }
    /// The payment was broadcast and its block is not here yet.
    SettlementPending { 503, true, v2: "settlement_pending", v1: "unexpected_settle_error",
        "Send the same request again with the same payment: it will be served without paying twice." }
    /// The chain's endpoint cannot be reached, or what it says is old or wrong.
    ChainUnavailable { 503, true, v2: "chain_unavailable", v1: "unexpected_verify_error",
        "The seller cannot read the chain. Try again later with the same payment." }
    /// The ledger cannot be written.
    LedgerUnavailable { 503, true, v2: "ledger_unavailable", v1: "unexpected_verify_error",
        "The seller cannot record payments. Try again later with the same payment." }
    /// The settler cannot pay for gas within its ceilings.
    SettlerUnavailable { 503, true, v2: "settler_unavailable", v1: "unexpected_settle_error",
        "The seller cannot settle now. Try again later with the same payment." }
    /// The facilitator that settles for the seller refuses the payment.
    FacilitatorRefused { 402, false, v2: "facilitator_refused", v1: "invalid_payment",
        "The seller's facilitator does not take this payment; the detail has its words." }
    /// No facilitator that settles for the seller can be reached, or answers as it should.
    FacilitatorUnavailable { 503, true, v2: "facilitator_unavailable", v1: "unexpected_verify_error",
        "The seller's facilitator does not answer. Try again later with the same payment." }
    /// The offer is paused.
    OfferPaused { 503, true, v2: "offer_paused", v1: "offer_paused",
        "The seller has paused this offer." }
    /// The offer was drained: it is not sold any more.
    OfferDrained { 410, false, v2: "offer_drained", v1: "offer_drained",
        "The seller has ended this offer." }
    /// No routes are loaded yet.
    NotReady { 503, true, v2: "not_ready", v1: "not_ready",
        "The seller is starting. Try again." }
    /// Too many requests are being served.
    Overloaded { 503, true, v2: "overloaded", v1: "overloaded",
        "The seller is at its limit. Try again with the same payment." }
    /// The upstream could not be reached or broke off before its response.
    UpstreamUnavailable { 502, true, v2: "upstream_unavailable", v1: "upstream_unavailable",
        "The service behind the gate failed. Try again with the same payment." }
    /// The upstream did not answer in time.
    UpstreamTimeout { 504, true, v2: "upstream_timeout", v1: "upstream_timeout",
        "The service behind the gate was too slow. Try again with the same payment." }
    /// No offer is sold at this path.
    NoRoute { 404, false, v2: "no_route", v1: "no_route",
        "Nothing is sold at this path." }
    /// No payment with this key was settled here.
    NoReceipt { 404, false, v2: "no_receipt", v1: "no_receipt",
        "Ask at /receipts/<chain>/<asset>/<payer>/<nonce>, of a payment that was taken here." }
    /// The path has a spelling that proxies and upstreams read differently.
    PathRefused { 400, false, v2: "path_refused", v1: "path_refused",
        "Send a plain path: no //, no dot segments, no encoded slashes or backslashes, no ;." }
    /// The request is one that HTTP parsers read differently.
    RequestRefused { 400, false, v2: "request_refused", v1: "request_refused",
        "Send an ordinary HTTP/1.1 request." }
    /// The request describes another one, and does not come from a proxy that may.
    ProxyNotTrusted { 403, false, v2: "proxy_not_trusted", v1: "proxy_not_trusted",
        "Ask for the service itself. If this is your proxy, name its address with --trusted-proxy." }
    /// The method cannot be sold.
    MethodNotAllowed { 405, false, v2: "method_not_allowed", v1: "method_not_allowed",
        "Use an ordinary method; CONNECT and TRACE are not sold." }
    /// An upgrade (WebSocket) was asked for on a paid route.
    UpgradeRefused { 426, false, v2: "upgrade_refused", v1: "upgrade_refused",
        "Paid routes answer one request with one response. Send it without Upgrade." }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code(WireVersion::V2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_but_the_shared_payload_one_has_its_own_code() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code(WireVersion::V2)).collect();
        assert_eq!(codes.len(), Reason::ALL.len() - 1);
    }

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let labels: HashSet<_> = Reason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "counters are found by it");
        }
    }

    #[test]
    fn a_client_is_never_told_to_sign_again_while_its_money_may_move() {
        assert_ne!(Reason::InFlight.status(), 402);
        assert_ne!(Reason::SettlementPending.status(), 402);
    }
}
