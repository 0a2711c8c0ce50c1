//! How payments are shown.

use crate::output;
use obol_core::{Amount, ChainId, Registry};
use obol_ledger::{Earning, Event, Outcome, PaymentRecord};
use serde::Serialize;

macro_rules! columns {
    ($(#[$doc:meta])* $view:ident { $( #[doc = $meaning:literal] $name:ident: $type:ty, )* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize)]
        pub(crate) struct $view { $( #[doc = $meaning] pub(crate) $name: $type, )* }

        /// Of each column its name and meaning.
        pub(crate) const COLUMNS: &[(&str, &str)] = &[ $( (stringify!($name), $meaning.trim_ascii()), )* ];
    };
}

columns! {
    /// A payment, flat, as it is exported. Amounts are atomic units, as text: they need not fit
    /// into a program's numbers.
    PaymentView {
        /// The payment's number in this ledger, from 1, in the order in which payments came.
        id: i64,
        /// Namespace of the offer that was sold.
        offer_namespace: String,
        /// Name of the offer that was sold.
        offer_name: String,
        /// CAIP-2 id of the chain.
        chain: String,
        /// Address of the token.
        asset: String,
        /// The token's symbol; `unknown` when neither the built-in table nor `--chains` has it.
        asset_symbol: String,
        /// Who pays.
        payer: String,
        /// Who is paid.
        pay_to: String,
        /// Atomic units, as text.
        amount: String,
        /// The authorization's nonce: with chain, asset and payer it identifies the payment.
        nonce: String,
        /// What is owed for it.
        state: &'static str,
        /// What reached the client: `none`, `started` or `done`.
        delivery: &'static str,
        /// The transaction that paid it, or that a facilitator says has; empty while none has.
        transaction: Option<String>,
        /// How that is known: `chain`, or `claimed` by a facilitator and not checked; empty while none has.
        evidence: Option<&'static str>,
        /// That transaction's block.
        block: Option<u64>,
        /// That block's time, in seconds since the Unix epoch.
        block_timestamp: Option<i64>,
        /// Place of the token's `Transfer` event in that block.
        log_index: Option<u64>,
        /// When the payment came, UTC.
        created: String,
        /// When its row changed last, UTC.
        changed: String,
        /// Why it was last refused, deferred or failed.
        reason: Option<String>,
    }
}

impl PaymentView {
    pub(crate) fn new(record: &PaymentRecord, registry: &Registry) -> Self {
        let key = &record.key;
        let (transaction, evidence) = match record.outcome() {
            Outcome::Paid(at) => (Some(at.tx), Some("chain")),
            Outcome::Claimed(transaction) => (Some(transaction), Some("claimed")),
            Outcome::Released(_) | Outcome::Failed(_) | Outcome::Open(_) => (None, None),
        };
        Self {
            id: record.id.0,
            offer_namespace: record.offer.namespace.clone(),
            offer_name: record.offer.name.clone(),
            chain: key.chain.to_string(),
            asset: key.asset.to_checksum(None),
            asset_symbol: symbol(registry, key.chain, key.asset),
            payer: key.payer.to_checksum(None),
            pay_to: record.payee.to_checksum(None),
            amount: record.amount.to_string(),
            nonce: key.nonce.to_string(),
            state: record.state().as_str(),
            delivery: record.delivery.as_str(),
            transaction: transaction.map(|transaction| transaction.to_string()),
            evidence,
            block: record.inclusion.map(|at| at.block),
            block_timestamp: record.inclusion.map(|at| at.block_time),
            log_index: record.inclusion.map(|at| at.log_index),
            created: output::time(record.created_at.seconds()),
            changed: output::time(record.changed_at.seconds()),
            reason: record.reason.clone(),
        }
    }
}

/// One step of a payment's story.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventView {
    pub(crate) at: String,
    pub(crate) from: Option<&'static str>,
    pub(crate) to: &'static str,
    pub(crate) delivery: &'static str,
    pub(crate) why: String,
    pub(crate) who: String,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            at: output::time(event.at.seconds()),
            from: event.from.map(|state| state.as_str()),
            to: event.to.as_str(),
            delivery: event.delivery.as_str(),
            why: event.why,
            who: event.who,
        }
    }
}

/// What an offer earned in one asset. `payments` and `amount` count what is on the chain;
/// the `settled` ones are in final blocks. The `claimed` ones come on top: facilitators say that they
/// are settled, and nobody has looked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EarningView {
    pub(crate) offer_namespace: String,
    pub(crate) offer_name: String,
    pub(crate) chain: String,
    pub(crate) asset_symbol: String,
    pub(crate) asset: String,
    pub(crate) payments: u64,
    pub(crate) amount: String,
    pub(crate) settled_payments: u64,
    pub(crate) settled_amount: String,
    pub(crate) claimed_payments: u64,
    pub(crate) claimed_amount: String,
    /// In units of the asset, for people.
    #[serde(skip)]
    pub(crate) human: String,
    #[serde(skip)]
    pub(crate) human_claimed: String,
}

impl EarningView {
    pub(crate) fn new(earning: &Earning, registry: &Registry) -> Self {
        Self {
            offer_namespace: earning.offer.namespace.clone(),
            offer_name: earning.offer.name.clone(),
            chain: earning.chain.to_string(),
            asset_symbol: symbol(registry, earning.chain, earning.asset),
            asset: earning.asset.to_checksum(None),
            payments: earning.payments,
            amount: earning.amount.to_string(),
            settled_payments: earning.final_payments,
            settled_amount: earning.final_amount.to_string(),
            claimed_payments: earning.claimed_payments,
            claimed_amount: earning.claimed_amount.to_string(),
            human_claimed: match earning.claimed_payments {
                0 => "-".to_owned(),
                _ => human(registry, earning.chain, earning.asset, earning.claimed_amount),
            },
            human: human(registry, earning.chain, earning.asset, earning.amount),
        }
    }
}

pub(crate) fn symbol(registry: &Registry, chain: ChainId, asset: alloy_primitives::Address) -> String {
    registry.asset_at(chain, asset).map_or_else(|_| "unknown".to_owned(), |asset| asset.symbol.clone())
}

/// An amount as people write it; atomic units where the asset is not known.
pub(crate) fn human(
    registry: &Registry,
    chain: ChainId,
    asset: alloy_primitives::Address,
    amount: Amount,
) -> String {
    match registry.asset_at(chain, asset) {
        Ok(asset) => format!("{} {}", amount.to_decimal(asset.decimals), asset.symbol),
        Err(_) => format!("{amount} atomic units"),
    }
}
