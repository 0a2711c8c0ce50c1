//! A key under its password.

use crate::{
    Password, Secret,
    cost::{Cost, Salt},
    secret::NoRandomness,
};
use aes::Aes128;
use alloy_primitives::{Address, B256, Keccak256};
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// An encrypted key, as it is on disk.
#[derive(Clone, PartialEq)]
pub struct Sealed {
    pub(crate) cost: Cost,
    pub(crate) salt: Salt,
    pub(crate) iv: [u8; 16],
    pub(crate) ciphertext: [u8; 32],
    pub(crate) mac: B256,
    pub(crate) claimed: Option<Address>,
}

/// Why a keystore does not give its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the password is not the one that it was encrypted under, or the file is damaged")]
    WrongPassword,
    #[error("what it holds is not a private key: zero, or beyond the order of the curve")]
    NotAKey,
    #[error(
        "its key belongs to {found}, and the file says {claimed}: somebody has changed it; do not use it"
    )]
    OtherAddress { claimed: Address, found: Address },
}

impl Sealed {
    /// Encrypts at geth's standard cost. Takes a second or two.
    pub fn seal(secret: &Secret, password: &Password) -> Result<Self, NoRandomness> {
        let (n, r, p) = Cost::STANDARD;
        let cost = Cost::scrypt(n, r, p).expect("the standard is within the limits");
        Self::seal_at(cost, secret, password)
    }

    pub(crate) fn seal_at(cost: Cost, secret: &Secret, password: &Password) -> Result<Self, NoRandomness> {
        let (mut salt, mut iv) = ([0; 32], [0; 16]);
        getrandom::fill(&mut salt)?;
        getrandom::fill(&mut iv)?;
        let salt = Salt::new(salt.to_vec()).expect("32 bytes are a salt");
        let derived = cost.derive(password, salt.as_bytes());
        let mut ciphertext = *secret.bytes();
        apply_cipher(&derived, &iv, &mut ciphertext);
        let mac = mac(&derived, &ciphertext);
        Ok(Self { cost, salt, iv, ciphertext, mac, claimed: Some(secret.address()) })
    }

    /// Takes as long as the file's cost says.
    pub fn open(&self, password: &Password) -> Result<Secret, OpenError> {
        let derived = self.cost.derive(password, self.salt.as_bytes());
        if !bool::from(mac(&derived, &self.ciphertext).ct_eq(self.mac.as_slice())) {
            return Err(OpenError::WrongPassword);
        }
        let mut bytes = Zeroizing::new(self.ciphertext);
        apply_cipher(&derived, &self.iv, &mut bytes);
        let secret = Secret::from_bytes(bytes).map_err(|_| OpenError::NotAKey)?;
        let found = secret.address();
        match self.claimed {
            Some(claimed) if claimed != found => Err(OpenError::OtherAddress { claimed, found }),
            _ => Ok(secret),
        }
    }

    /// Whose key it is, by the file's word alone: the password does not vouch for this field.
    pub const fn claimed_address(&self) -> Option<Address> {
        self.claimed
    }
}

/// AES-128 in counter mode under the first half: encrypts, and decrypts.
fn apply_cipher(derived: &[u8; 32], iv: &[u8; 16], bytes: &mut [u8; 32]) {
    let mut cipher = Ctr128BE::<Aes128>::new_from_slices(&derived[..16], iv).expect("16 bytes each");
    cipher.apply_keystream(bytes);
}

/// Under the second half.
fn mac(derived: &[u8; 32], ciphertext: &[u8; 32]) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(&derived[16..]);
    hasher.update(ciphertext);
    hasher.finalize()
}

/// Whoever has the rest can try passwords on it.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}
