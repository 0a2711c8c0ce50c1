//! A buyer: asks, reads the challenge, signs, asks again.

use crate::{buy::sign, exit::Failure};
use alloy_primitives::{Address, B256};
use obol_core::{Amount, Registry};
use obol_devchain::Account;
use obol_evm::Key;
use obol_wire::{Receipt, Sale, header};

/// A request that was paid for.
pub(super) struct Bought {
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) amount: Amount,
    pub(super) payer: Address,
    pub(super) pay_to: Address,
    pub(super) asset: Address,
    pub(super) nonce: B256,
    pub(super) transaction: B256,
}

pub(super) struct Buyer<'a> {
    pub(super) account: Account,
    pub(super) registry: &'a Registry,
    pub(super) http: reqwest::Client,
}

impl Buyer<'_> {
    pub(super) async fn buy(&self, base: &str, path: &str) -> Result<Bought, Failure> {
        let url = format!("{base}{path}");
        let failed = |why: String| Failure::failed(format!("GET {url}: {why}"));
        let asked = self.http.get(&url).send().await.map_err(|error| failed(error.to_string()))?;
        if asked.status() != 402 {
            return Err(failed(format!("answered {} to an unpaid request, not 402", asked.status())));
        }
        let challenge = asked.headers().get(header::PAYMENT_REQUIRED).cloned();
        let body = asked.bytes().await.map_err(|error| failed(error.to_string()))?;
        let challenge = challenge.as_ref().map(|value| value.as_bytes());
        let sale = Sale::parse(challenge, &body, self.registry).map_err(|error| failed(error.to_string()))?;
        let offered =
            sale.offered.first().ok_or_else(|| failed("no way to pay that obol knows".to_owned()))?;
        let key = Key::from_bytes(self.account.key).map_err(Failure::failed)?;
        let payment = sign(&key, offered);
        let paid = sale.pay(offered, &payment, self.registry);
        let answer = self
            .http
            .get(&url)
            .header(paid.name, paid.value)
            .send()
            .await
            .map_err(|error| failed(error.to_string()))?;
        let status = answer.status().as_u16();
        let receipt = answer.headers().get(header::PAYMENT_RESPONSE).cloned();
        let body = answer.text().await.map_err(|error| failed(error.to_string()))?;
        let receipt = receipt.ok_or_else(|| failed(format!("{status} without a receipt: {body}")))?;
        match Receipt::decode(receipt.as_bytes(), self.registry) {
            Ok(Receipt::Settled { transaction, .. }) => Ok(Bought {
                path: path.to_owned(),
                status,
                body,
                amount: offered.amount,
                payer: payment.authorization.from,
                pay_to: offered.pay_to,
                asset: offered.asset,
                nonce: payment.authorization.nonce,
                transaction,
            }),
            Ok(Receipt::Unsettled { reason, .. }) => Err(failed(format!("not settled: {reason}"))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
