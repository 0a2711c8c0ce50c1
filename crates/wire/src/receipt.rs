//! The settlement's result, as the buyer gets it in a response header.

use crate::encoding;
use alloy_primitives::{Address, B256};
use base64::{Engine, engine::general_purpose::STANDARD};
use obol_core::{Amount, ChainId, Registry, WireVersion};
use serde::{Deserialize, Serialize};

/// What became of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    Settled {
        chain: ChainId,
        transaction: B256,
        payer: Address,
        amount: Option<Amount>,
    },
    /// Not on the chain; with the transaction if one is out.
    Unsettled {
        chain: ChainId,
        transaction: Option<B256>,
        payer: Address,
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    success: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_reason: Option<String>,
    transaction: String,
    network: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
}

impl Receipt {
    /// The transaction that it names, if it names one.
    pub const fn transaction(&self) -> Option<B256> {
        match self {
            Self::Settled { transaction, .. } => Some(*transaction),
            Self::Unsettled { transaction, .. } => *transaction,
        }
    }

    /// The header's value.
    pub fn encode(&self, version: WireVersion, registry: &Registry) -> String {
        encoding::encode(&self.to_json(version, registry))
    }

    /// What the header's value encodes.
    pub fn to_json(&self, version: WireVersion, registry: &Registry) -> String {
        let (chain, transaction, payer, amount, error_reason) = match self {
            Self::Settled { chain, transaction, payer, amount } => {
                (*chain, transaction.to_string(), payer, *amount, None)
            }
            Self::Unsettled { chain, transaction, payer, reason } => {
                let transaction = transaction.map(|hash| hash.to_string()).unwrap_or_default();
                (*chain, transaction, payer, None, Some(reason.clone()))
            }
        };
        let v1_name = registry.chain_by_id(chain).ok().and_then(|chain| chain.v1_name.clone());
        let text = Text {
            success: error_reason.is_none(),
            error_reason,
            transaction,
            network: match (version, v1_name) {
                (WireVersion::V1, Some(name)) => name,
                (WireVersion::V1, None) | (WireVersion::V2, _) => chain.to_string(),
            },
            payer: Some(payer.to_checksum(None)),
            // Unknown to v1, whose clients parse strictly.
            amount: amount.filter(|_| version == WireVersion::V2).map(|amount| amount.to_string()),
        };
        serde_json::to_string(&text).unwrap_or_default()
    }

    /// Reads what a seller sent in `PAYMENT-RESPONSE` or `X-PAYMENT-RESPONSE`.
    pub fn decode(header: &[u8], registry: &Registry) -> Result<Self, ReceiptError> {
        let refused = |why: String| ReceiptError(why);
        if header.len() > encoding::MAX_HEADER {
            return Err(refused(format!("it is longer than {} bytes", encoding::MAX_HEADER)));
        }
        let json = STANDARD.decode(header).map_err(|error| refused(error.to_string()))?;
        let text: Text = serde_json::from_slice(&json).map_err(|error| refused(error.to_string()))?;
        let chain = registry.chain(&text.network).map_err(|error| refused(error.to_string()))?.id;
        let payer = match &text.payer {
            Some(payer) => {
                payer.parse().map_err(|_| refused(format!("payer {payer:?} is not an address")))?
            }
            None => Address::ZERO,
        };
        let transaction = match text.transaction.as_str() {
            "" => None,
            hash => Some(hash.parse::<B256>().map_err(|_| refused("transaction is not a hash".to_owned()))?),
        };
        match (text.success, transaction) {
            (true, Some(transaction)) => {
                let amount = text.amount.as_deref().map(Amount::parse_atomic).transpose();
                let amount = amount.map_err(|error| refused(error.to_string()))?;
                Ok(Self::Settled { chain, transaction, payer, amount })
            }
            (true, None) => Err(refused("success without a transaction".to_owned())),
            (false, transaction) => {
                let reason = text.error_reason.unwrap_or_default();
                Ok(Self::Unsettled { chain, transaction, payer, reason })
            }
        }
    }
}

/// Why a header is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a receipt: {0}")]
pub struct ReceiptError(String);
