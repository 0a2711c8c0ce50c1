//! How a password becomes an encryption key, and what that has to cost at least and may cost at
//! most.

use crate::Password;
use alloy_primitives::hex;
use std::fmt;
use zeroize::Zeroizing;

/// The least n of scrypt: geth's `--lightkdf`, below which no wallet that is in use goes.
pub const MIN_N: u64 = 1 << 12;

/// The least n·r·p of scrypt: what `cast` and ethers' older releases write.
pub const MIN_WORK: u64 = 1 << 16;

/// The most n·r·p of scrypt: sixteen times geth's standard, some twenty seconds.
pub const MAX_WORK: u64 = 1 << 25;

/// The most bytes that scrypt may take: four times geth's standard.
pub const MAX_MEMORY: u64 = 1 << 30;

/// The fewest rounds of PBKDF2: Parity wrote 10,240.
pub const MIN_ROUNDS: u32 = 10_000;

/// The most rounds of PBKDF2: ten times what eth-keyfile writes.
pub const MAX_ROUNDS: u32 = 10_000_000;

/// Why a file's way from password to key is not gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    #[error(
        "its password is guessed too cheaply (scrypt with n {n}, r {r}, p {p}; n has to be at least {MIN_N} and n*r*p \
         at least {MIN_WORK}); have the program that wrote it encrypt the key again at a higher cost"
    )]
    WeakScrypt { n: u64, r: u32, p: u32 },
    #[error(
        "opening it would cost too much (scrypt with n {n}, r {r}, p {p}; n*r*p may be {MAX_WORK}, and {MAX_MEMORY} \
         bytes may be taken); have the program that wrote it encrypt the key again at a lower cost"
    )]
    CostlyScrypt { n: u64, r: u32, p: u32 },
    #[error("scrypt's n is {n}, which is no power of two; the file is damaged, restore it from a backup")]
    NoPowerOfTwo { n: u64 },
    #[error(
        "its password is guessed too cheaply (PBKDF2 with {rounds} rounds; at least {MIN_ROUNDS} have to be made); have \
         the program that wrote it encrypt the key again at a higher cost"
    )]
    WeakPbkdf2 { rounds: u32 },
    #[error(
        "opening it would cost too much (PBKDF2 with {rounds} rounds; at most {MAX_ROUNDS} are made); have the program \
         that wrote it encrypt the key again at a lower cost"
    )]
    CostlyPbkdf2 { rounds: u32 },
}

/// A way from password to key that is within the limits.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cost {
    Scrypt(scrypt::Params),
    /// With HMAC-SHA256.
    Pbkdf2 {
        rounds: u32,
    },
}

impl Cost {
    /// What geth takes if not told otherwise: 256 MiB, and one to two seconds.
    pub(crate) const STANDARD: (u64, u32, u32) = (1 << 18, 8, 1);

    pub(crate) fn scrypt(n: u64, r: u32, p: u32) -> Result<Self, CostError> {
        let costly = CostError::CostlyScrypt { n, r, p };
        let (wide_r, wide_p) = (u64::from(r), u64::from(p));
        let work = n.checked_mul(wide_r).and_then(|nr| nr.checked_mul(wide_p)).ok_or(costly)?;
        let blocks = n.checked_add(wide_p).and_then(|blocks| blocks.checked_mul(wide_r)).ok_or(costly)?;
        if n < MIN_N || work < MIN_WORK {
            return Err(CostError::WeakScrypt { n, r, p });
        }
        if work > MAX_WORK || blocks > MAX_MEMORY / 128 {
            return Err(costly);
        }
        if !n.is_power_of_two() {
            return Err(CostError::NoPowerOfTwo { n });
        }
        let log_n = u8::try_from(n.ilog2()).map_err(|_| costly)?;
        scrypt::Params::new(log_n, r, p).map(Self::Scrypt).map_err(|_| costly)
    }

    pub(crate) const fn pbkdf2(rounds: u32) -> Result<Self, CostError> {
        match rounds {
            0..MIN_ROUNDS => Err(CostError::WeakPbkdf2 { rounds }),
            MIN_ROUNDS..=MAX_ROUNDS => Ok(Self::Pbkdf2 { rounds }),
            _ => Err(CostError::CostlyPbkdf2 { rounds }),
        }
    }

    /// Takes as long as the cost says.
    pub(crate) fn derive(self, password: &Password, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        match self {
            Self::Scrypt(params) => {
                scrypt::scrypt(password.as_bytes(), salt, &params, derived.as_mut_slice())
                    .expect("32 bytes are a length that scrypt can make");
            }
            Self::Pbkdf2 { rounds } => {
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(
                    password.as_bytes(),
                    salt,
                    rounds,
                    derived.as_mut_slice(),
                );
            }
        }
        derived
    }
}

/// What makes the same password another key in another file. Of 8 to 64 bytes: others write 16
/// or 32.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Salt(Vec<u8>);

impl Salt {
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        (8..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}
