//! Signatures over typed data.

use alloy_primitives::{Address, B256, Bytes, U256, b256, keccak256, uint};
use alloy_sol_types::SolValue;
use obol_core::Deployment;
use secp256k1::{
    Message,
    ecdsa::{RecoverableSignature, RecoveryId},
};

/// Half of the curve's order: the largest s that tokens accept.
const HALF_ORDER: U256 = uint!(0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0_U256);

/// The suffix by which ERC-6492 marks the signature of a wallet that is not deployed yet.
const ERC6492_SUFFIX: B256 = b256!("6492649264926492649264926492649264926492649264926492649264926492");

/// What a payer's signature bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayerSignature {
    /// 65 bytes of ECDSA, s low, v as the chain wants it.
    Ecdsa(Ecdsa),
    /// For the payer's contract to judge (ERC-1271).
    Contract(Bytes),
    /// For a wallet that its factory may have yet to deploy (ERC-6492), with the signature that
    /// is the wallet's to judge.
    Undeployed { deployment: Deployment, inner: Bytes },
}

/// An ECDSA signature in the form that tokens accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecdsa {
    pub r: B256,
    pub s: B256,
    /// 27 or 28.
    pub v: u8,
}

/// Why signature bytes cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("it is empty")]
    Empty,
    #[error("its s is in the upper half of the order, which tokens refuse")]
    HighS,
    #[error("its v is {0}, not 0, 1, 27 or 28")]
    BadV(u8),
    #[error("no public key can be recovered from it")]
    Unrecoverable,
    #[error("it is wrapped as ERC-6492 but cannot be unwrapped")]
    BadWrapper,
}

impl PayerSignature {
    /// Tells by its form what a signature is. 65 bytes are ECDSA unless the payer turns out to
    /// have code; then they are the contract's to judge.
    pub fn parse(bytes: &Bytes) -> Result<Self, SignatureError> {
        if bytes.is_empty() {
            return Err(SignatureError::Empty);
        }
        if let Some(wrapped) = bytes.strip_suffix(ERC6492_SUFFIX.as_slice()) {
            let (factory, data, inner) = <(Address, Bytes, Bytes)>::abi_decode_params(wrapped)
                .map_err(|_| SignatureError::BadWrapper)?;
            if inner.is_empty() || inner.ends_with(ERC6492_SUFFIX.as_slice()) {
                return Err(SignatureError::BadWrapper);
            }
            return Ok(Self::Undeployed { deployment: Deployment { factory, data }, inner });
        }
        match <&[u8; 65]>::try_from(&bytes[..]) {
            Ok(ecdsa) => Ecdsa::parse(ecdsa).map(Self::Ecdsa),
            Err(_) => Ok(Self::Contract(bytes.clone())),
        }
    }
}

impl Ecdsa {
    fn parse(bytes: &[u8; 65]) -> Result<Self, SignatureError> {
        let r = B256::from_slice(&bytes[..32]);
        let s = B256::from_slice(&bytes[32..64]);
        let v = match bytes[64] {
            v @ (0 | 1) => v + 27,
            v @ (27 | 28) => v,
            v => return Err(SignatureError::BadV(v)),
        };
        if U256::from_be_bytes(s.0) > HALF_ORDER {
            return Err(SignatureError::HighS);
        }
        Ok(Self { r, s, v })
    }

    /// The account whose key made this signature over `digest`.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        let id = match self.v {
            27 => RecoveryId::Zero,
            _ => RecoveryId::One,
        };
        let mut compact = [0; 64];
        compact[..32].copy_from_slice(self.r.as_slice());
        compact[32..].copy_from_slice(self.s.as_slice());
        let key = RecoverableSignature::from_compact(&compact, id)
            .and_then(|signature| signature.recover(Message::from_digest(digest.0)))
            .map_err(|_| SignatureError::Unrecoverable)?;
        Ok(address_of(&key))
    }

    /// r, s and v in one: the form in which signatures travel.
    pub fn to_bytes(self) -> Bytes {
        [self.r.as_slice(), self.s.as_slice(), &[self.v]].concat().into()
    }
}

pub(crate) fn address_of(key: &secp256k1::PublicKey) -> Address {
    let hash = keccak256(&key.serialize_uncompressed()[1..]);
    Address::from_slice(&hash[12..])
}
