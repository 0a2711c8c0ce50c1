//! Which refused payments may be ones that were paid before.

use obol_core::Reason;

/// Whom the ledger is asked about when verification refuses a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recall {
    /// The payment itself: it may have been spent, or have gone out of date, here.
    Payment,
    /// Its payer, whose signature is good: the funds may have gone into what is owed.
    Payer,
    /// Nobody: the payment was never good.
    Nothing,
}

impl Recall {
    pub(super) const fn after(reason: Reason) -> Self {
        match reason {
            Reason::NonceUsed
            | Reason::Expired
            | Reason::ChainUnavailable
            | Reason::SettlerUnavailable
            // A facilitator has its own words for a payment that it has settled.
            | Reason::FacilitatorRefused
            | Reason::FacilitatorUnavailable
            // Good at the terms that the offer had then.
            | Reason::ValueMismatch
            | Reason::RecipientMismatch
            | Reason::NoMatchingRequirement
            | Reason::NetworkMismatch => Self::Payment,
            Reason::InsufficientBalance => Self::Payer,
            Reason::PaymentRequired
            | Reason::InvalidPayload
            | Reason::InvalidVersion
            | Reason::ConflictingPayments
            | Reason::UnsupportedScheme
            | Reason::NotYetValid
            | Reason::InvalidSignature
            | Reason::FactoryNotAllowed
            | Reason::SimulationFailed => Self::Nothing,
            // What the ledger itself says, or what has nothing to do with the payment.
            Reason::AlreadyServed
            | Reason::TooManyAttempts
            | Reason::TermsChanged
            | Reason::FingerprintMismatch
            | Reason::PayerUnproven
            | Reason::SettlementFailed
            | Reason::InFlight
            | Reason::SettlementPending
            | Reason::LedgerUnavailable
            | Reason::OfferPaused
            | Reason::OfferDrained
            | Reason::NotReady
            | Reason::Overloaded
            | Reason::UpstreamUnavailable
            | Reason::UpstreamTimeout
            | Reason::NoRoute
            | Reason::NoReceipt
            | Reason::PathRefused
            | Reason::RequestRefused
            | Reason::MethodNotAllowed
            | Reason::ProxyNotTrusted
            | Reason::UpgradeRefused => Self::Nothing,
        }
    }
}
