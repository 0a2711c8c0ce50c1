//! Sales that do not deliver, and what their buyers are told.

use super::{Sale, VERIFIED};
use crate::{
    answer,
    body::{Delivery, GateBody},
    drain::drain,
    headers,
    meters::Tally,
    note::Note,
};
use alloy_primitives::Address;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use obol_core::{Reason, Refusal};
use obol_ledger::LedgerError;
use obol_wire::{Money, Receipt};

/// How a sale ends without a delivery to note.
pub(super) enum Ended {
    /// Refused before the upstream was asked.
    Refused(Refusal, Request<Incoming>),
    /// Refused when the payment had been found good.
    Failed(Refusal, Money),
    /// Not on the chain in time; the receipt says which transaction is out.
    Pending(Receipt, Money),
    /// The upstream's own refusal, which is passed on and not charged.
    Upstream(Response<Incoming>, Money),
    /// Let pass for this payer, and never charged.
    Waived(Address),
    /// The client left: nobody reads an answer.
    Left,
}

impl Ended {
    /// The ledger failed, with a payment of which so much was known. The same payment finds out
    /// later what became of it.
    pub(super) fn unrecorded(money: Money) -> impl FnOnce(LedgerError) -> Self {
        move |error| {
            tracing::debug!(%error, "the ledger failed during a sale");
            Self::Failed(Reason::LedgerUnavailable.into(), money)
        }
    }

    pub(super) fn money(&self) -> Money {
        match self {
            Self::Refused(..) => Money::default(),
            Self::Failed(_, money) | Self::Pending(_, money) | Self::Upstream(_, money) => *money,
            Self::Waived(_) | Self::Left => VERIFIED,
        }
    }

    /// Counts what was not sold. What was, the ledger tells.
    pub(super) fn count(&self, tally: Tally<'_>) {
        match self {
            Self::Refused(refusal, _) | Self::Failed(refusal, _) => tally.failed(refusal.reason),
            Self::Pending(..) => tally.failed(Reason::SettlementPending),
            Self::Upstream(..) => tally.upstream_failed(),
            Self::Left => tally.client_left(),
            Self::Waived(_) => {}
        }
    }
}

impl Sale {
    pub(super) async fn answer(&self, ended: Ended) -> Option<Response<GateBody>> {
        match ended {
            Ended::Left => None,
            Ended::Waived(payer) => Some(self.passage(payer)),
            Ended::Refused(refusal, request) => {
                let response = self.refuse(&refusal, Money::default());
                drain(request).await;
                Some(response)
            }
            Ended::Failed(refusal, money) => Some(self.refuse(&refusal, money)),
            Ended::Pending(receipt, money) => {
                Some(self.refuse_with(&Reason::SettlementPending.into(), money, Some(receipt)))
            }
            Ended::Upstream(response, money) => {
                let (mut head, body) = response.into_parts();
                head.headers = headers::from_upstream(head.headers);
                head.headers.insert(
                    "x-payment-settled",
                    HeaderValue::from_static(if money.settled { "true" } else { "false" }),
                );
                Some(Response::from_parts(head, GateBody::Upstream(Delivery::unpaid(body))))
            }
        }
    }

    fn refuse(&self, refusal: &Refusal, money: Money) -> Response<GateBody> {
        self.refuse_with(refusal, money, None)
    }

    fn refuse_with(&self, refusal: &Refusal, money: Money, receipt: Option<Receipt>) -> Response<GateBody> {
        tracing::debug!(offer = %self.listed.offer.id, %refusal, "a payment is refused");
        self.shared.meters.refused(refusal.reason);
        let version = self.version;
        let receipt = receipt.map(|receipt| receipt.encode(version, &self.shared.registry));
        let posted = || self.listed.challenges.refused(&self.url, refusal, version);
        self.door.refuse(
            || Note { receipt: receipt.clone(), ..Note::of(refusal, version, money) },
            || {
                let mut response =
                    answer::refuse_on_offer(refusal, version, money, &self.client_headers, posted);
                if let Some(receipt) = &receipt {
                    answer::give_encoded_receipt(response.headers_mut(), receipt);
                }
                response
            },
        )
    }
}
