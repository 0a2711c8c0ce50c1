//! A private key in memory.

use crate::signature::{Ecdsa, address_of};
use alloy_primitives::{Address, B256, U256};
use secp256k1::{Message, SecretKey};
use std::{fmt, str::FromStr};

/// A secp256k1 key and its account. Never shown, never serialized.
#[derive(Clone)]
pub struct Key {
    secret: SecretKey,
    address: Address,
}

/// Why a text is not a key. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("not 32 bytes in hex")]
    NotHex,
    #[error("zero, or beyond the order of the curve")]
    OutOfRange,
}

impl Key {
    pub fn from_bytes(bytes: B256) -> Result<Self, KeyError> {
        let secret = SecretKey::from_secret_bytes(bytes.0).map_err(|_| KeyError::OutOfRange)?;
        let address = address_of(&secp256k1::PublicKey::from_secret_key(&secret));
        Ok(Self { secret, address })
    }

    pub const fn address(&self) -> Address {
        self.address
    }

    /// Deterministic (RFC 6979), low s.
    pub fn sign(&self, digest: B256) -> Ecdsa {
        let signature = secp256k1::ecdsa::RecoverableSignature::sign_ecdsa_recoverable(
            Message::from_digest(digest.0),
            &self.secret,
        );
        let (id, compact) = signature.serialize_compact();
        Ecdsa {
            r: B256::from_slice(&compact[..32]),
            s: B256::from_slice(&compact[32..]),
            v: 27 + (id.to_u8() & 1),
        }
    }
}

/// What copies the compiler has left elsewhere is beyond reach.
impl Drop for Key {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.trim().parse::<B256>().map_err(|_| KeyError::NotHex).and_then(Self::from_bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("address", &self.address).finish_non_exhaustive()
    }
}

/// y parity as transactions carry it.
pub(crate) const fn y_parity(signature: &Ecdsa) -> bool {
    signature.v == 28
}

pub(crate) const fn scalar(word: B256) -> U256 {
    U256::from_be_bytes(word.0)
}
