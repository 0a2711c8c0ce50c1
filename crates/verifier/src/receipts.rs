//! `/receipts/<chain>/<asset>/<payer>/<nonce>`: a settled payment's receipt, for clients whose proxy
//! cannot put it on the response. It says nothing that the chain does not say to everybody.

use crate::{answer, body::GateBody};
use http::{Response, header};
use obol_core::{PaymentKey, Reason, Refusal, Registry, RequestPath, TransferMethod, WireVersion};
use obol_ledger::{Ledger, Outcome, PaymentRecord, State};
use obol_wire::{Money, Receipt};
use tokio::sync::Semaphore;

pub(crate) const PREFIX: &str = "/receipts/";

/// Questions to the ledger at once, which anybody may ask: sales have to come first.
const AT_ONCE: usize = 16;

/// Looks payments up.
#[derive(Debug)]
pub(crate) struct Receipts {
    room: Semaphore,
}

impl Default for Receipts {
    fn default() -> Self {
        Self { room: Semaphore::new(AT_ONCE) }
    }
}

impl Receipts {
    /// `path` begins with [`PREFIX`].
    pub(crate) async fn answer(
        &self,
        path: &str,
        registry: &Registry,
        ledger: &Ledger,
    ) -> Result<Response<GateBody>, Refusal> {
        self.find(path, registry, ledger).await.map(|receipt| told(&receipt, registry))
    }

    async fn find(&self, path: &str, registry: &Registry, ledger: &Ledger) -> Result<Receipt, Refusal> {
        let key = key(path, registry)?;
        let _room = self.room.try_acquire().map_err(|_| Reason::Overloaded)?;
        let unreadable = |error| {
            tracing::debug!(%error, "the ledger did not tell a receipt");
            Reason::LedgerUnavailable
        };
        let record = ledger.payment_by_key(key).await.map_err(unreadable)?.ok_or(Reason::NoReceipt)?;
        if let Some(receipt) = settled(&record) {
            return Ok(receipt);
        }
        match record.state() {
            State::Due | State::Submitting | State::Submitted => {
                let transaction = ledger.newest_attempt(record.id).await.map_err(unreadable)?;
                let reason = Reason::SettlementPending.code(WireVersion::V2).to_owned();
                Ok(Receipt::Unsettled { chain: key.chain, transaction, payer: key.payer, reason })
            }
            State::Reserved
            | State::Released
            | State::Included
            | State::Settled
            | State::Claimed
            | State::Failed
            | State::Waived => Err(Reason::NoReceipt.into()),
        }
    }
}

fn settled(record: &PaymentRecord) -> Option<Receipt> {
    let transaction = match record.outcome() {
        Outcome::Paid(inclusion) => inclusion.tx,
        Outcome::Claimed(transaction) => transaction,
        Outcome::Open(_) | Outcome::Released(_) | Outcome::Failed(_) => return None,
    };
    Some(Receipt::Settled {
        chain: record.key.chain,
        transaction,
        payer: record.key.payer,
        amount: Some(record.amount),
    })
}

fn told(receipt: &Receipt, registry: &Registry) -> Response<GateBody> {
    let mut response = match receipt {
        Receipt::Settled { .. } => Response::new(GateBody::own(receipt.to_json(WireVersion::V2, registry))),
        Receipt::Unsettled { .. } => {
            let verified = Money { verified: true, settled: false };
            answer::refuse(&Reason::SettlementPending.into(), WireVersion::V2, verified)
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, answer::JSON);
    headers.insert(header::CACHE_CONTROL, answer::NO_STORE);
    answer::give_receipt(headers, receipt, WireVersion::V2, registry);
    response
}

fn key(path: &str, registry: &Registry) -> Result<PaymentKey, Refusal> {
    let path = RequestPath::parse(path)?;
    let parts: Vec<_> = path.decoded().strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
    let refuse = |what: &str| Refusal::new(Reason::NoReceipt, format!("{what} cannot be read"));
    let [chain, asset, payer, nonce] = parts.as_slice() else {
        return Err(refuse("the path"));
    };
    Ok(PaymentKey {
        chain: registry.chain(chain).map_err(|_| refuse("the chain"))?.id,
        asset: asset.parse().map_err(|_| refuse("the asset"))?,
        method: TransferMethod::Eip3009,
        payer: payer.parse().map_err(|_| refuse("the payer"))?,
        nonce: nonce.parse().map_err(|_| refuse("the nonce"))?,
    })
}
