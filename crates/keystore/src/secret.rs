//! What nobody else may learn. None of it can be printed.

use alloy_primitives::{Address, B256, hex};
use obol_evm::{Key, KeyError};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// A private key that can be stored, always one of the curve's.
pub struct Secret {
    bytes: Zeroizing<[u8; 32]>,
    key: Key,
}

/// The system has no random numbers to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandomness(#[from] getrandom::Error);

impl Secret {
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(bytes.as_mut_slice())?;
            // One in 2^128 is beyond the curve's order.
            if let Ok(secret) = Self::from_bytes(bytes.clone()) {
                return Ok(secret);
            }
        }
    }

    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Result<Self, KeyError> {
        let key = Key::from_bytes(B256::new(*bytes))?;
        Ok(Self { bytes, key })
    }

    pub const fn key(&self) -> &Key {
        &self.key
    }

    pub const fn address(&self) -> Address {
        self.key.address()
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl FromStr for Secret {
    type Err = KeyError;

    /// 64 hex digits, with or without 0x.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut_slice()).map_err(|_| KeyError::NotHex)?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// What a keystore is encrypted under.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password is empty: whoever has the file would have the key")]
pub struct EmptyPassword;

impl Password {
    pub fn new(text: Zeroizing<String>) -> Result<Self, EmptyPassword> {
        if text.is_empty() { Err(EmptyPassword) } else { Ok(Self(text)) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
