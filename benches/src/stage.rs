//! What the benches sell and pay with.

use alloy_primitives::{B256, U256, keccak256};
use anyhow::{Context, Result};
use obol_core::{
    Amount, Asset, Authorization, Charge, Disconnect, Offer, OfferId, Pattern, Payment, Registry,
    Requirement, SettlementCall, TransferMethod, Upstream, WireVersion,
};
use obol_devchain::CHAIN;
use obol_evm::{Key, PayerSignature, Rpc, transfer_call, typed};
use obol_facilitator::{ChainSetup, GasCeilings, Verified};
use obol_ledger::{NewPayment, Origin, Proof};
use obol_wire::{ChallengeTemplate, Offered, Sale};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

pub(crate) const OFFER_PATH: &str = "/services/bench";

/// How long an upstream may take, and a payment be held: no bench waits for either.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const HOLD: Duration = Duration::from_secs(600);

/// A key that is nobody else's in this bench.
pub(crate) fn key(name: &str, number: usize) -> Result<Key> {
    Ok(Key::from_bytes(keccak256(format!("obol-benches {name} {number}")))?)
}

/// 0.01 USDC on the chain of the benches.
pub(crate) fn requirement() -> Result<Requirement> {
    Ok(Requirement {
        asset: Arc::clone(Registry::built_in().default_asset(CHAIN)?),
        pay_to: key("payee", 0)?.address(),
        amount: Amount::from(10_000),
        max_timeout_seconds: 3_600,
    })
}

pub(crate) fn offer(name: &str, path: &str, upstream: &str, charge: Charge) -> Result<Offer> {
    Ok(Offer {
        id: OfferId { namespace: "bench".to_owned(), name: name.to_owned() },
        description: "What the benches sell".to_owned(),
        host: None,
        path: Pattern::Below(path.to_owned()),
        upstream: Upstream {
            base: Some(upstream.to_owned()),
            strip: path.to_owned(),
            authorization: None,
            header_timeout: HEADER_TIMEOUT,
        },
        accepts: vec![requirement()?],
        charge,
        on_disconnect: Disconnect::Release,
        paused: false,
        sunset: None,
    })
}

/// A chain whose endpoint is `url`, settled by the key of this number.
pub(crate) fn chain_setup(url: &str, settler: Key) -> Result<ChainSetup> {
    Ok(ChainSetup {
        chain: Arc::clone(Registry::built_in().chain_by_id(CHAIN)?),
        rpc: Rpc::new(url, Duration::from_secs(30))?,
        settler,
        gas: GasCeilings::default(),
        factories: Vec::new(),
    })
}

/// A folder on the disk that this executable is on: `/tmp` is often none, and syncing there
/// costs nothing.
pub(crate) fn folder() -> Result<TempDir> {
    let beside = std::env::current_exe()?;
    let beside = beside.parent().unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix("bench-").tempdir_in(beside).context("no folder for ledgers")
}

/// Signs payments for what the benches sell.
#[derive(Debug)]
pub(crate) struct Payer {
    registry: Registry,
    asset: Arc<Asset>,
    sale: Sale,
    offered: Offered,
}

impl Payer {
    pub(crate) fn new() -> Result<Self> {
        let registry = Registry::built_in();
        let requirement = requirement()?;
        let template = ChallengeTemplate::new(std::slice::from_ref(&requirement), &registry, "");
        let challenge = template.render("http://bench.example/", None, WireVersion::V2);
        let sale = Sale::parse(Some(challenge.header.as_bytes()), b"", &registry)?;
        let offered = sale.offered.first().context("the challenge offers nothing")?.clone();
        Ok(Self { registry, asset: requirement.asset, sale, offered })
    }

    /// A payment that no other call gives with this name and number.
    pub(crate) fn pay(&self, key: &Key, name: &str, number: usize) -> Payment {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let authorization = Authorization {
            from: key.address(),
            to: self.offered.pay_to,
            value: self.offered.amount,
            valid_after: U256::ZERO,
            valid_before: U256::from(now + self.offered.max_timeout_seconds),
            nonce: keccak256(format!("{name} {number}")),
        };
        let signature = key.sign(typed::digest(&self.asset, &authorization)).to_bytes();
        Payment {
            version: WireVersion::V2,
            chain: self.offered.chain,
            asset: self.offered.asset,
            method: TransferMethod::Eip3009,
            authorization,
            signature,
        }
    }

    /// The value of the `PAYMENT-SIGNATURE` header.
    pub(crate) fn header(&self, payment: &Payment) -> String {
        self.sale.pay(&self.offered, payment, &self.registry).value
    }
}

/// A payment as verification gives it to the ledger.
pub(crate) fn verified(payment: &Payment) -> Result<NewPayment> {
    let signature = PayerSignature::parse(&payment.signature)?;
    let authorization = &payment.authorization;
    let verified = Verified {
        call: SettlementCall {
            token: payment.asset,
            data: transfer_call(authorization, &signature),
            deployment: None,
        },
        balance: Amount::from(1_000_000_000),
        block: 1,
        valid_before: authorization.valid_before.saturating_to(),
        proof: Proof::Signature,
        question: None,
    };
    let offer = OfferId { namespace: "bench".to_owned(), name: "bench".to_owned() };
    Ok(verified.new_payment(payment, offer, origin(authorization.nonce)))
}

/// A request that no other payment is for.
pub(crate) fn origin(nonce: B256) -> Origin {
    Origin { fingerprint: keccak256(nonce), client: B256::ZERO }
}
