use crate::Buyer;
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_sol_types::{SolCall, SolStruct, sol};
use anyhow::{Context, Result, ensure};
use obol_core::{Amount, Asset, Payment, SettlementCall};
use obol_devchain::{Account, Devchain, Execution, USDC};
use obol_evm::{abi::Token, batch_call, typed};
use obol_facilitator::settlement_calls;
use serde_json::{Value, json};

sol! {
    struct CancelAuthorization {
        address authorizer;
        bytes32 nonce;
    }

    function transfer(address to, uint256 value) external returns (bool);
}

/// Somebody else with gas, who sends what they like.
#[derive(Clone, Copy)]
pub struct Stranger<'a> {
    chain: &'a Devchain,
    account: Account,
    /// Wei per gas: how eager the next transaction is to come first in its block.
    tip: u64,
}

const GAS: u64 = 1_000_000;

impl<'a> Stranger<'a> {
    /// The last account of the mnemonic, which no test takes for a buyer.
    pub fn on(chain: &'a Devchain) -> Self {
        let account = *chain.accounts().last().expect("the mnemonic has accounts");
        Self { chain, account, tip: 1_000_000_000 }
    }

    /// As an account of the chain's own choosing, such as the settler's.
    pub fn with(chain: &'a Devchain, account: Account) -> Self {
        Self { account, ..Self::on(chain) }
    }

    /// Comes first in the block, before everybody whose tip is usual.
    #[must_use]
    pub const fn eager(self) -> Self {
        Self { tip: 50_000_000_000, ..self }
    }

    pub async fn send(&self, to: Address, data: &Bytes) -> Result<B256> {
        self.send_with(to, data, json!({})).await
    }

    /// With a nonce of the sender's choosing.
    pub async fn send_at(&self, nonce: u64, to: Address, data: &Bytes) -> Result<B256> {
        self.send_with(to, data, json!({ "nonce": U64::from(nonce) })).await
    }

    async fn send_with(&self, to: Address, data: &Bytes, more: Value) -> Result<B256> {
        let mut transaction = json!({
            "from": self.account.address, "to": to, "data": data, "gas": U64::from(GAS),
            "maxFeePerGas": U256::from(200_000_000_000u64), "maxPriorityFeePerGas": U64::from(self.tip),
        });
        if let (Some(transaction), Value::Object(more)) = (transaction.as_object_mut(), more) {
            transaction.extend(more);
        }
        Ok(self.chain.rpc().call("eth_sendTransaction", json!([transaction])).await?)
    }

    /// Settles somebody's payment. Under manual mining it waits in the pool.
    pub async fn settle(&self, payment: &Payment) -> Result<B256> {
        self.send(payment.asset, &call(payment)?).await
    }

    /// Settles several in one transaction through Multicall3.
    pub async fn settle_together(&self, payments: &[Payment]) -> Result<B256> {
        let calls: Vec<_> = payments
            .iter()
            .map(|payment| {
                Ok(SettlementCall { token: payment.asset, data: call(payment)?, deployment: None })
            })
            .collect::<Result<_>>()?;
        let whole = batch_call(&calls);
        self.send(whole.to, &whole.data).await
    }

    /// Relays the payer's cancellation of an authorization.
    pub async fn cancel(&self, asset: &Asset, payer: &Buyer, nonce: B256) -> Result<B256> {
        let authorizer = payer.key.address();
        let digest = CancelAuthorization { authorizer, nonce }.eip712_signing_hash(&typed::domain(asset));
        let signature = payer.key.sign(digest);
        let (v, r, s) = (signature.v, signature.r, signature.s);
        let data = Token::cancelAuthorizationCall { authorizer, nonce, v, r, s }.abi_encode();
        self.send(asset.address, &data.into()).await
    }

    /// Sends USDC of the account's own.
    pub async fn give(&self, to: Address, amount: Amount) -> Result<B256> {
        self.send(USDC, &transferCall { to, value: amount.atomic() }.abi_encode().into()).await
    }

    /// Waits until a transaction has done what it was sent for.
    pub async fn done(&self, transaction: B256) -> Result<()> {
        let mined = self.chain.mined(transaction).await?;
        ensure!(mined.execution == Execution::Succeeded, "{transaction} reverted");
        Ok(())
    }
}

fn call(payment: &Payment) -> Result<Bytes> {
    settlement_calls(payment).into_iter().next().context("a payment stands for a call")
}
