//! Reading a payment from a request, and finding out which requirement it means.

use crate::{encoding, payload::Payload};
use alloy_primitives::{Address, B256, Bytes, U256};
use obol_core::{
    Amount, Authorization, ChainId, Payment, Reason, Refusal, Registry, Requirement, TransferMethod,
    WireVersion,
};
use serde::Deserialize;
use serde_json::value::RawValue;

const EXACT: &str = "exact";
const X_PAYMENT: &str = "X-PAYMENT";
const PAYMENT_SIGNATURE: &str = "PAYMENT-SIGNATURE";

/// A payment as it came: well-formed, not yet matched with what the offer asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    terms: ClaimedTerms,
    authorization: Authorization,
    signature: Bytes,
}

/// What the payer says it accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ClaimedTerms {
    /// v1 names a network only.
    V1 {
        network: String,
    },
    V2 {
        chain: ChainId,
        asset: Address,
        pay_to: Address,
        amount: Amount,
    },
}

/// Reads the payment of a request from its `X-PAYMENT` (v1) and `PAYMENT-SIGNATURE` (v2)
/// headers; `None` when neither is there.
pub fn decode(v1: Option<&[u8]>, v2: Option<&[u8]>) -> Result<Option<Claim>, Refusal> {
    match (v1, v2) {
        (None, None) => Ok(None),
        (Some(v1), None) => decode_v1(v1).map(Some),
        (None, Some(v2)) => decode_v2(v2).map(Some),
        (Some(v1), Some(v2)) => {
            let (old, new) = (decode_v1(v1)?, decode_v2(v2)?);
            if (&old.authorization, &old.signature) != (&new.authorization, &new.signature) {
                return Err(Refusal::new(
                    Reason::ConflictingPayments,
                    "X-PAYMENT and PAYMENT-SIGNATURE hold different payments",
                ));
            }
            Ok(Some(new))
        }
    }
}

#[derive(Deserialize)]
struct PayloadV1 {
    scheme: String,
    network: String,
    payload: Box<RawValue>,
}

#[derive(Deserialize)]
struct PayloadV2 {
    accepted: AcceptedV2,
    payload: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AcceptedV2 {
    scheme: String,
    network: String,
    amount: String,
    asset: String,
    pay_to: String,
}

/// The version alone, so that a payment of another version is told so, and not that it lacks
/// the fields of this one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    x402_version: u64,
}

fn decode_v1(header: &[u8]) -> Result<Claim, Refusal> {
    read_v1(X_PAYMENT, &encoding::open(X_PAYMENT, header)?)
}

/// `json` is a payment of version 1; `what` names it in refusals.
pub(crate) fn read_v1(what: &str, json: &[u8]) -> Result<Claim, Refusal> {
    version(json, what, WireVersion::V1)?;
    let payload: PayloadV1 = encoding::parse(what, json)?;
    scheme(&payload.scheme)?;
    let (authorization, signature) = exact(&payload.payload)?;
    Ok(Claim { terms: ClaimedTerms::V1 { network: payload.network }, authorization, signature })
}

fn decode_v2(header: &[u8]) -> Result<Claim, Refusal> {
    read_v2(PAYMENT_SIGNATURE, &encoding::open(PAYMENT_SIGNATURE, header)?)
}

/// As [`read_v1`], of version 2.
pub(crate) fn read_v2(what: &str, json: &[u8]) -> Result<Claim, Refusal> {
    version(json, what, WireVersion::V2)?;
    let payload: PayloadV2 = encoding::parse(what, json)?;
    let accepted = payload.accepted;
    scheme(&accepted.scheme)?;
    let chain = accepted
        .network
        .parse::<ChainId>()
        .map_err(|error| Refusal::new(Reason::NetworkMismatch, format!("accepted.network: {error}")))?;
    let terms = ClaimedTerms::V2 {
        chain,
        asset: address("accepted.asset", &accepted.asset)?,
        pay_to: address("accepted.payTo", &accepted.pay_to)?,
        amount: atomic("accepted.amount", &accepted.amount)?,
    };
    let (authorization, signature) = exact(&payload.payload)?;
    Ok(Claim { terms, authorization, signature })
}

fn version(json: &[u8], what: &str, wanted: WireVersion) -> Result<(), Refusal> {
    let Version { x402_version } = encoding::parse(what, json)?;
    if x402_version == u64::from(wanted.number()) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::InvalidVersion,
        format!("{what} carries version {}, this payment says {x402_version}", wanted.number()),
    ))
}

pub(crate) fn scheme(scheme: &str) -> Result<(), Refusal> {
    if scheme == EXACT {
        return Ok(());
    }
    Err(Refusal::new(Reason::UnsupportedScheme, format!("the scheme is {:?}, not \"exact\"", shown(scheme))))
}

fn exact(payload: &RawValue) -> Result<(Authorization, Bytes), Refusal> {
    let exact: Payload = serde_json::from_str(payload.get()).map_err(|error| {
        if payload.get().contains("\"permit2Authorization\"") {
            return Refusal::new(Reason::UnsupportedScheme, "permit2 payments are not taken; use EIP-3009");
        }
        invalid(format!("payload is not an EIP-3009 authorization: {error}"))
    })?;
    let text = exact.authorization;
    let authorization = Authorization {
        from: address("payload.authorization.from", &text.from)?,
        to: address("payload.authorization.to", &text.to)?,
        value: atomic("payload.authorization.value", &text.value)?,
        valid_after: seconds("payload.authorization.validAfter", &text.valid_after)?,
        valid_before: seconds("payload.authorization.validBefore", &text.valid_before)?,
        nonce: nonce(&text.nonce)?,
    };
    Ok((authorization, signature(&exact.signature)?))
}

pub(crate) fn invalid(detail: String) -> Refusal {
    Refusal::new(Reason::InvalidPayload, detail)
}

/// What a client sent, short enough for an error.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Addresses are compared as bytes; their case carries nothing here, since the signature
/// covers them.
pub(crate) fn address(field: &str, text: &str) -> Result<Address, Refusal> {
    let hex = text.strip_prefix("0x").filter(|hex| hex.len() == 40);
    hex.and_then(|hex| hex.parse().ok()).ok_or_else(|| {
        invalid(format!("{field}: {:?} is not an address (0x and 40 hex digits)", shown(text)))
    })
}

pub(crate) fn atomic(field: &str, text: &str) -> Result<Amount, Refusal> {
    Amount::parse_atomic(text).map_err(|_| {
        invalid(format!("{field}: {:?} is not an amount in atomic units (decimal digits)", shown(text)))
    })
}

fn seconds(field: &str, text: &str) -> Result<U256, Refusal> {
    atomic(field, text).map(Amount::atomic)
}

fn nonce(text: &str) -> Result<B256, Refusal> {
    let hex = text.strip_prefix("0x").filter(|hex| hex.len() == 64);
    hex.and_then(|hex| hex.parse().ok()).ok_or_else(|| {
        invalid("payload.authorization.nonce is not 32 bytes (0x and 64 hex digits)".to_owned())
    })
}

fn signature(text: &str) -> Result<Bytes, Refusal> {
    let refused = || invalid("payload.signature is not hex with a 0x prefix".to_owned());
    let hex = text.strip_prefix("0x").ok_or_else(refused)?;
    alloy_primitives::hex::decode(hex).map(Bytes::from).map_err(|_| refused())
}

impl Claim {
    pub const fn version(&self) -> WireVersion {
        match self.terms {
            ClaimedTerms::V1 { .. } => WireVersion::V1,
            ClaimedTerms::V2 { .. } => WireVersion::V2,
        }
    }

    pub const fn payer(&self) -> Address {
        self.authorization.from
    }

    /// The payment as its payer states it, whatever the offer asks; v1 does not state the asset.
    pub fn stated(&self) -> Option<Payment> {
        match self.terms {
            ClaimedTerms::V1 { .. } => None,
            ClaimedTerms::V2 { chain, asset, .. } => Some(Payment {
                version: WireVersion::V2,
                chain,
                asset,
                method: TransferMethod::Eip3009,
                authorization: self.authorization.clone(),
                signature: self.signature.clone(),
            }),
        }
    }

    /// Finds the requirement that the payer means, and the payment for it. Whether the signed
    /// authorization keeps to it is for verification to say.
    pub fn select<'a>(
        self,
        accepts: &'a [Requirement],
        registry: &Registry,
    ) -> Result<(&'a Requirement, Payment), Refusal> {
        let requirement = match &self.terms {
            ClaimedTerms::V1 { network } => select_v1(network, &self.authorization, accepts, registry)?,
            ClaimedTerms::V2 { chain, asset, pay_to, amount } => {
                select_v2(accepts, (*chain, *asset, *pay_to, *amount))?
            }
        };
        let payment = Payment {
            version: self.version(),
            chain: requirement.asset.chain,
            asset: requirement.asset.address,
            method: TransferMethod::Eip3009,
            authorization: self.authorization,
            signature: self.signature,
        };
        Ok((requirement, payment))
    }
}

/// v1 does not name the asset; [`crate::ChallengeTemplate`] offers v1 clients no two
/// requirements that payee and amount cannot tell apart.
fn select_v1<'a>(
    network: &str,
    authorization: &Authorization,
    accepts: &'a [Requirement],
    registry: &Registry,
) -> Result<&'a Requirement, Refusal> {
    let chain = registry.chain(network).map(|chain| chain.id).ok();
    let mut on_chain = accepts.iter().filter(|requirement| Some(requirement.asset.chain) == chain).peekable();
    let Some(&first) = on_chain.peek() else {
        return Err(Refusal::new(
            Reason::NetworkMismatch,
            format!("the offer is not paid on {:?}", shown(network)),
        ));
    };
    let meant = on_chain.find(|requirement| {
        (requirement.pay_to, requirement.amount) == (authorization.to, authorization.value)
    });
    // Verification then says what is wrong with the payment for the first.
    Ok(meant.unwrap_or(first))
}

type TermsV2 = (ChainId, Address, Address, Amount);

fn select_v2(
    accepts: &[Requirement],
    (chain, asset, pay_to, amount): TermsV2,
) -> Result<&Requirement, Refusal> {
    let narrowed = |reason: Reason, detail: String| Refusal::new(reason, detail);
    let on_chain: Vec<_> = accepts.iter().filter(|requirement| requirement.asset.chain == chain).collect();
    if on_chain.is_empty() {
        return Err(narrowed(Reason::NetworkMismatch, format!("the offer is not paid on {chain}")));
    }
    let in_asset: Vec<_> = on_chain.iter().filter(|r| r.asset.address == asset).collect();
    if in_asset.is_empty() {
        return Err(narrowed(
            Reason::NoMatchingRequirement,
            format!("the offer is not paid in {asset} on {chain}"),
        ));
    }
    let to_payee: Vec<_> = in_asset.iter().filter(|r| r.pay_to == pay_to).collect();
    let Some(any) = to_payee.first() else {
        return Err(narrowed(Reason::RecipientMismatch, format!("{pay_to} is not the payee")));
    };
    match to_payee.iter().find(|r| r.amount == amount) {
        Some(requirement) => Ok(requirement),
        None => Err(narrowed(
            Reason::ValueMismatch,
            format!("the price is {} atomic units, not {amount}", any.amount),
        )),
    }
}
