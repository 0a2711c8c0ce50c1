//! Whether a payment is good for a requirement. Cheap checks first; the chain last.

use crate::{GasCeilings, Timing};
use alloy_primitives::{Address, Bytes, U256};
use obol_core::{
    Amount, Chain, Deployment, OfferId, Payment, Reason, Refusal, Requirement, SettlementCall, TransferMethod,
};
use obol_evm::{
    Answer, Barrier, NonceState, PayerCode, PayerSignature, Question, Reads, Rpc, Simulated, transfer_call,
    typed,
};
use obol_ledger::{NewPayment, Origin, Proof};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What a payment has to satisfy.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub requirement: &'a Requirement,
    /// How long the upstream may take before its headers: the authorization has to outlive that
    /// and the settlement.
    pub header_timeout: Duration,
}

/// A payment that is good, as of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What settles it.
    pub call: SettlementCall,
    pub balance: Amount,
    pub block: u64,
    /// Seconds since the Unix epoch, at most `i64::MAX`.
    pub valid_before: i64,
    pub proof: Proof,
    /// What a facilitator is to be asked; none where a transaction of ours settles.
    pub question: Option<Bytes>,
}

impl Verified {
    /// What the ledger reserves: `payment`, of which this was found.
    pub fn new_payment(self, payment: &Payment, offer: OfferId, origin: Origin) -> NewPayment {
        NewPayment {
            key: payment.key(),
            payee: payment.authorization.to,
            amount: payment.authorization.value,
            call: self.call,
            valid_before: self.valid_before,
            offer,
            origin,
            balance: self.balance,
            verified_block: self.block,
            proof: self.proof,
            question: self.question,
        }
    }
}

/// How many blocks behind the highest that was seen an answer may be: two nodes behind one
/// address are often this far apart.
const BEHIND: u64 = 8;

pub(crate) struct Verifier<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) rpc: &'a Rpc,
    pub(crate) reads: &'a Reads,
    pub(crate) highest: &'a AtomicU64,
    pub(crate) timing: &'a Timing,
    pub(crate) gas: &'a GasCeilings,
    /// The account that will send the settlement.
    pub(crate) settler: Address,
    /// Contracts that may be called to deploy a payer's wallet.
    pub(crate) factories: &'a [Address],
}

/// What a signature turned out to be without asking the chain.
enum Signer {
    Payer,
    /// Only the payer's code, if it has any, can still call it good.
    NotThePayer(String),
    /// Only the payer's code can, and this brings it into being.
    Undeployed(Deployment),
}

impl Verifier<'_> {
    pub(crate) async fn verify(&self, payment: &Payment, terms: Terms<'_>) -> Result<Verified, Refusal> {
        check_terms(payment, terms.requirement)?;
        let now = unix_now();
        check_validity(payment, terms, self.timing, now)?;
        let signature = PayerSignature::parse(&payment.signature)
            .map_err(|error| Refusal::new(Reason::InvalidSignature, error.to_string()))?;
        let signer = self.signer(payment, terms.requirement, &signature)?;
        let question = Question {
            token: payment.asset,
            payer: payment.authorization.from,
            payee: payment.authorization.to,
            nonce: payment.authorization.nonce,
        };
        let answer = self
            .reads
            .ask(question)
            .await
            .map_err(|error| unavailable(format!("chain read failed: {error}")))?;
        self.check_head(&answer, now)?;
        // The token goes by the chain's clock, which may be ahead of this machine's.
        check_validity(payment, terms, self.timing, now.max(answer.block_time))?;
        self.check_started(payment, &answer, now)?;
        if answer.nonce == NonceState::Gone {
            return Err(Reason::NonceUsed.into());
        }
        check_barrier(answer.barrier)?;
        // A payer without funds may be owed a delivery, and is told only when the signature proves
        // who it is: the token itself says so for a payer with code.
        let call = |deployment| SettlementCall {
            token: payment.asset,
            data: transfer_call(&payment.authorization, &signature),
            deployment,
        };
        let call = match (answer.has_code, signer) {
            (PayerCode::None, Signer::Payer) => call(None),
            (PayerCode::None, Signer::NotThePayer(detail)) => {
                return Err(Refusal::new(Reason::InvalidSignature, detail));
            }
            (PayerCode::None, Signer::Undeployed(deployment)) => {
                self.judged_by_code(call(Some(deployment)), self.gas.per_deployment).await?
            }
            (PayerCode::Some, Signer::Undeployed(_)) => {
                self.judged_by_code(call(None), self.gas.per_contract_payment).await?
            }
            (PayerCode::Some, Signer::Payer | Signer::NotThePayer(_)) => {
                let whole = PayerSignature::Contract(payment.signature.clone());
                let data = transfer_call(&payment.authorization, &whole);
                let call = SettlementCall { data, ..call(None) };
                self.judged_by_code(call, self.gas.per_contract_payment).await?
            }
        };
        if answer.balance < payment.authorization.value {
            return Err(Refusal::new(
                Reason::InsufficientBalance,
                format!("the balance is {} atomic units", answer.balance),
            ));
        }
        Ok(Verified {
            call,
            balance: answer.balance,
            block: answer.block,
            valid_before: end(payment),
            proof: Proof::Signature,
            question: None,
        })
    }

    /// The chain refuses an authorization in blocks up to `validAfter`, so its clock counts.
    fn check_started(&self, payment: &Payment, answer: &Answer, now: u64) -> Result<(), Refusal> {
        let chain_now = answer.block_time.max(now.saturating_sub(self.timing.clock_skew.as_secs()));
        if payment.authorization.valid_after >= U256::from(chain_now) {
            return Err(Refusal::new(
                Reason::NotYetValid,
                format!("validAfter has to be earlier than the chain's time, {chain_now}"),
            ));
        }
        Ok(())
    }

    fn signer(
        &self,
        payment: &Payment,
        requirement: &Requirement,
        signature: &PayerSignature,
    ) -> Result<Signer, Refusal> {
        match signature {
            PayerSignature::Undeployed { deployment, .. } => {
                if !self.factories.contains(&deployment.factory) {
                    let detail =
                        format!("the wallet's factory {} is not in the allow-list", deployment.factory);
                    return Err(Refusal::new(Reason::FactoryNotAllowed, detail));
                }
                Ok(Signer::Undeployed(deployment.clone()))
            }
            PayerSignature::Contract(_) => {
                Ok(Signer::NotThePayer("it is not 65 bytes long, and the payer has no code".to_owned()))
            }
            PayerSignature::Ecdsa(ecdsa) => {
                let digest = typed::digest(&requirement.asset, &payment.authorization);
                Ok(match ecdsa.recover(digest) {
                    Ok(signer) if signer == payment.authorization.from => Signer::Payer,
                    Ok(other) => Signer::NotThePayer(format!(
                        "it is {other}'s, or over other data: check the domain's name and version"
                    )),
                    Err(error) => Signer::NotThePayer(error.to_string()),
                })
            }
        }
    }

    /// An endpoint that is behind, or another chain's, must not vouch for a nonce.
    fn check_head(&self, answer: &Answer, now: u64) -> Result<(), Refusal> {
        if answer.chain_id != self.chain.id.reference() {
            return Err(unavailable(format!("the endpoint serves eip155:{}", answer.chain_id)));
        }
        if answer.block_time.saturating_add(self.timing.stale_head.as_secs()) < now {
            return Err(unavailable(format!("the endpoint's head is {} s old", now - answer.block_time)));
        }
        let highest = self.highest.fetch_max(answer.block, Ordering::Relaxed);
        if answer.block.saturating_add(BEHIND) < highest {
            return Err(unavailable(format!(
                "the endpoint answers at block {}, and {highest} was seen",
                answer.block
            )));
        }
        Ok(())
    }

    /// The payer has code, or will have: the token will ask it, so only a simulation can tell.
    /// It runs alone and under a gas ceiling.
    async fn judged_by_code(&self, call: SettlementCall, gas: u64) -> Result<SettlementCall, Refusal> {
        let simulated = self
            .rpc
            .simulate(self.settler, std::slice::from_ref(&call), gas)
            .await
            .map_err(|error| unavailable(format!("simulation failed: {error}")))?;
        match simulated.as_slice() {
            [Simulated::Succeeds] => Ok(call),
            [Simulated::Fails(why)] if why.contains("signature") => {
                Err(Refusal::new(Reason::InvalidSignature, why.clone()))
            }
            [Simulated::Fails(why)] => Err(Refusal::new(Reason::SimulationFailed, why.clone())),
            _ => Err(unavailable("simulation answered for other calls".to_owned())),
        }
    }
}

/// What can be said of a payment without the chain: whoever settles it says the rest.
pub(crate) fn verify_offline(
    payment: &Payment,
    terms: Terms<'_>,
    timing: &Timing,
) -> Result<Verified, Refusal> {
    check_terms(payment, terms.requirement)?;
    let now = unix_now();
    check_validity(payment, terms, timing, now)?;
    if payment.authorization.valid_after >= U256::from(now) {
        let detail = format!("validAfter has to be earlier than the time, {now}");
        return Err(Refusal::new(Reason::NotYetValid, detail));
    }
    let signature = PayerSignature::parse(&payment.signature)
        .map_err(|error| Refusal::new(Reason::InvalidSignature, error.to_string()))?;
    let proof = match &signature {
        PayerSignature::Ecdsa(ecdsa) => {
            let signer = ecdsa.recover(typed::digest(&terms.requirement.asset, &payment.authorization));
            if signer == Ok(payment.authorization.from) { Proof::Signature } else { Proof::Word }
        }
        // Only the payer's code, which nobody here can ask, may call it good.
        PayerSignature::Contract(_) | PayerSignature::Undeployed { .. } => Proof::Word,
    };
    let data = transfer_call(&payment.authorization, &signature);
    let call = SettlementCall { token: payment.asset, data, deployment: None };
    // The facilitator answers for the funds.
    let balance = Amount::from_atomic(U256::MAX);
    Ok(Verified { call, balance, block: 0, valid_before: end(payment), proof, question: None })
}

fn end(payment: &Payment) -> i64 {
    i64::try_from(payment.authorization.valid_before).unwrap_or(i64::MAX)
}

fn check_validity(payment: &Payment, terms: Terms<'_>, timing: &Timing, now: u64) -> Result<(), Refusal> {
    let needed = terms.header_timeout + timing.settle_budget + timing.clock_skew;
    let until = U256::from(now.saturating_add(needed.as_secs()));
    if payment.authorization.valid_before <= until {
        return Err(Refusal::new(
            Reason::Expired,
            format!("validBefore has to be later than {until}: the service and the settlement take time"),
        ));
    }
    Ok(())
}

/// The token calls that a payment can stand for, without asking the chain which: a payer with
/// code is settled through another overload.
pub fn settlement_calls(payment: &Payment) -> Vec<Bytes> {
    let whole = PayerSignature::Contract(payment.signature.clone());
    [PayerSignature::parse(&payment.signature).ok(), Some(whole)]
        .into_iter()
        .flatten()
        .map(|signature| transfer_call(&payment.authorization, &signature))
        .collect()
}

fn check_terms(payment: &Payment, requirement: &Requirement) -> Result<(), Refusal> {
    let asset = &requirement.asset;
    if payment.method != TransferMethod::Eip3009 || asset.method != TransferMethod::Eip3009 {
        return Err(Refusal::new(Reason::UnsupportedScheme, "only EIP-3009 authorizations are settled"));
    }
    if payment.chain != asset.chain {
        return Err(Refusal::new(Reason::NetworkMismatch, format!("the offer is paid on {}", asset.chain)));
    }
    if payment.asset != asset.address {
        return Err(Refusal::new(
            Reason::NoMatchingRequirement,
            format!("the offer is paid in {}", asset.address),
        ));
    }
    if payment.authorization.to != requirement.pay_to {
        return Err(Refusal::new(Reason::RecipientMismatch, format!("the payee is {}", requirement.pay_to)));
    }
    if payment.authorization.value != requirement.amount {
        return Err(Refusal::new(
            Reason::ValueMismatch,
            format!("the price is {} atomic units", requirement.amount),
        ));
    }
    if requirement.amount.is_zero() {
        return Err(Refusal::new(Reason::ValueMismatch, "nothing is paid by it"));
    }
    if payment.authorization.from == requirement.pay_to || payment.authorization.from.is_zero() {
        return Err(Refusal::new(Reason::InvalidPayload, "the payer cannot be the payee or nobody"));
    }
    Ok(())
}

fn check_barrier(barrier: Barrier) -> Result<(), Refusal> {
    let why = match barrier {
        Barrier::None => return Ok(()),
        Barrier::Paused => "the token is paused",
        Barrier::PayerBlacklisted => "the token has the payer on its blacklist",
        Barrier::PayeeBlacklisted => "the token has the payee on its blacklist",
    };
    Err(Refusal::new(Reason::SimulationFailed, why))
}

fn unavailable(detail: String) -> Refusal {
    Refusal::new(Reason::ChainUnavailable, detail)
}

/// Seconds since the Unix epoch by this machine's clock.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
