//! One way to pay, as it is written in challenges and in questions to facilitators.

use serde::Deserialize;

/// An entry of `accepts`, of either version, as text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) scheme: String,
    pub(crate) network: String,
    #[serde(alias = "maxAmountRequired")]
    pub(crate) amount: String,
    pub(crate) asset: String,
    pub(crate) pay_to: String,
    pub(crate) max_timeout_seconds: u64,
    pub(crate) extra: Option<Extra>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Extra {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) asset_transfer_method: Option<String>,
}
