//! How payments are shown.

use crate::written::{Account, Atomic, Chain, DeliveryWord, Hash, StateWord, Time};
use obol_core::{Amount, ChainId, Registry};
use obol_ledger::{Earning, Event, Outcome, PaymentRecord};
use schemars::JsonSchema;
use serde::Serialize;

macro_rules! columns {
    ($(#[$doc:meta])* $view:ident { $( #[doc = $meaning:literal] $name:ident: $type:ty, )* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, JsonSchema)]
        pub(crate) struct $view { $( #[doc = $meaning] pub(crate) $name: $type, )* }

        /// Of each column its name and meaning.
        pub(crate) const COLUMNS: &[(&str, &str)] = &[ $( (stringify!($name), $meaning.trim_ascii()), )* ];
    };
}

columns! {
    /// A payment, as it is exported too.
    PaymentView {
        /// The payment's number in this ledger, from 1, in the order in which payments came.
        id: i64,
        /// Namespace of the offer that was sold.
        offer_namespace: String,
        /// Name of the offer that was sold.
        offer_name: String,
        /// CAIP-2 id of the chain.
        chain: Chain,
        /// Address of the token.
        asset: Account,
        /// The token's symbol; `unknown` when neither the built-in table nor `--chains` has it.
        asset_symbol: String,
        /// Who pays.
        payer: Account,
        /// Who is paid.
        pay_to: Account,
        /// Atomic units, as text.
        amount: Atomic,
        /// The authorization's nonce: with chain, asset and payer it identifies the payment.
        nonce: Hash,
        /// What is owed for it.
        state: StateWord,
        /// What reached the client: `none`, `started` or `done`.
        delivery: DeliveryWord,
        /// The transaction that paid it, or that a facilitator says has; empty while none has.
        transaction: Option<Hash>,
        /// How that is known: `chain`, or `claimed` by a facilitator and not checked; empty while none has.
        evidence: Option<&'static str>,
        /// That transaction's block.
        block: Option<u64>,
        /// That block's time, in seconds since the Unix epoch.
        block_timestamp: Option<i64>,
        /// Place of the token's `Transfer` event in that block.
        log_index: Option<u64>,
        /// When the payment came, UTC.
        created: Time,
        /// When its row changed last, UTC.
        changed: Time,
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
            chain: key.chain.into(),
            asset: key.asset.into(),
            asset_symbol: symbol(registry, key.chain, key.asset),
            payer: key.payer.into(),
            pay_to: record.payee.into(),
            amount: record.amount.into(),
            nonce: key.nonce.into(),
            state: record.state().into(),
            delivery: record.delivery.into(),
            transaction: transaction.map(Into::into),
            evidence,
            block: record.inclusion.map(|at| at.block),
            block_timestamp: record.inclusion.map(|at| at.block_time),
            log_index: record.inclusion.map(|at| at.log_index),
            created: record.created_at.seconds().into(),
            changed: record.changed_at.seconds().into(),
            reason: record.reason.clone(),
        }
    }
}

/// One step of a payment's story.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct EventView {
    /// When, UTC.
    pub(crate) at: Time,
    /// The state before; null when the payment was new.
    pub(crate) from: Option<StateWord>,
    /// The state after.
    pub(crate) to: StateWord,
    /// What had reached the client then: `none`, `started` or `done`.
    pub(crate) delivery: DeliveryWord,
    /// The reason, in words for people.
    pub(crate) why: String,
    /// The process that did it.
    pub(crate) who: String,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            at: event.at.seconds().into(),
            from: event.from.map(StateWord::from),
            to: event.to.into(),
            delivery: event.delivery.into(),
            why: event.why,
            who: event.who,
        }
    }
}

/// What an offer earned in one asset.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct EarningView {
    /// Namespace of the offer that was sold.
    pub(crate) offer_namespace: String,
    /// Name of the offer that was sold.
    pub(crate) offer_name: String,
    /// CAIP-2 id of the chain.
    pub(crate) chain: Chain,
    /// The token's symbol; `unknown` when neither the built-in table nor `--chains` has it.
    pub(crate) asset_symbol: String,
    /// Address of the token.
    pub(crate) asset: Account,
    /// How many payments are on the chain.
    pub(crate) payments: u64,
    /// What they come to: atomic units, as text.
    pub(crate) amount: Atomic,
    /// How many of them are in final blocks.
    pub(crate) settled_payments: u64,
    /// What these come to: atomic units, as text.
    pub(crate) settled_amount: Atomic,
    /// How many more a facilitator says that it has settled, and nobody has looked.
    pub(crate) claimed_payments: u64,
    /// What these come to: atomic units, as text.
    pub(crate) claimed_amount: Atomic,
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
            chain: earning.chain.into(),
            asset_symbol: symbol(registry, earning.chain, earning.asset),
            asset: earning.asset.into(),
            payments: earning.payments,
            amount: earning.amount.into(),
            settled_payments: earning.final_payments,
            settled_amount: earning.final_amount.into(),
            claimed_payments: earning.claimed_payments,
            claimed_amount: earning.claimed_amount.into(),
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
