//! The JSON of a keystore, read strictly and written the way that geth does.

use crate::{
    Sealed,
    cost::{Cost, CostError, Salt},
};
use alloy_primitives::{Address, B256, hex};
use serde::{Deserialize, Serialize};

/// Keystores have some five hundred bytes, with what some wallets add three thousand.
pub const MAX_FILE: usize = 1 << 16;

/// Why a text is not a keystore. Of the text it repeats the names of algorithms only, and
/// numbers: it may be somebody's bare key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("it has more than {MAX_FILE} bytes, which no keystore has; name a keystore file")]
    TooLarge,
    #[error("it is not JSON (line {line}, column {column}); name a keystore file")]
    NotJson { line: usize, column: usize },
    #[error(
        "it is not of a keystore's form up to line {line}, column {column}: a field is of another kind, unknown, or \
         there twice; name a keystore file (Web3 Secret Storage, version 3)"
    )]
    Form { line: usize, column: usize },
    #[error("{0} is missing; name a keystore file (Web3 Secret Storage, version 3)")]
    Missing(&'static str),
    #[error("its version is not 3; have the program that wrote it write a file of version 3")]
    Version,
    #[error("its cipher is {0:?}; have the program that wrote it encrypt the key with aes-128-ctr")]
    Cipher(String),
    #[error("its key derivation is {0:?}; have the program that wrote it use scrypt or pbkdf2")]
    Derivation(String),
    #[error("its PBKDF2 is made with {0:?}; have the program that wrote it use hmac-sha256")]
    Hash(String),
    #[error("{field} is not {wanted} in hex; the file is damaged, restore it from a backup")]
    Hex { field: &'static str, wanted: &'static str },
    #[error("crypto.kdfparams.dklen is {0}; have the program that wrote it derive 32 bytes")]
    DerivedLength(u64),
    #[error(transparent)]
    Cost(#[from] CostError),
}

/// Unknown fields pass here, and here alone: wallets add their own (a name, a mnemonic), which say
/// nothing about the key.
#[derive(Deserialize)]
struct File {
    version: Option<serde_json::Value>,
    #[serde(alias = "Crypto")]
    crypto: Option<Crypto>,
    address: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Crypto {
    cipher: Option<String>,
    cipherparams: Option<CipherParams>,
    ciphertext: Option<String>,
    kdf: Option<String>,
    kdfparams: Option<KdfParams>,
    mac: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CipherParams {
    iv: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KdfParams {
    dklen: Option<u64>,
    salt: Option<String>,
    n: Option<u64>,
    r: Option<u32>,
    p: Option<u32>,
    c: Option<u32>,
    prf: Option<String>,
}

impl Sealed {
    /// Reads without deriving anything: a stranger's file costs nothing yet.
    pub fn parse(text: &[u8]) -> Result<Self, FormatError> {
        if text.len() > MAX_FILE {
            return Err(FormatError::TooLarge);
        }
        let file: File = serde_json::from_slice(text).map_err(|error| form(&error))?;
        match file.version {
            None => return Err(FormatError::Missing("version")),
            Some(version) if version != 3 => return Err(FormatError::Version),
            Some(_) => {}
        }
        let crypto = there("crypto", file.crypto)?;
        let cipher = there("crypto.cipher", crypto.cipher)?;
        if cipher != "aes-128-ctr" {
            return Err(FormatError::Cipher(word(&cipher)));
        }
        let params = there("crypto.kdfparams", crypto.kdfparams)?;
        let iv = there("crypto.cipherparams", crypto.cipherparams)?.iv;
        let salt = bytes("crypto.kdfparams.salt", params.salt.as_deref(), SALT)?;
        Ok(Self {
            cost: cost(&there("crypto.kdf", crypto.kdf)?, &params)?,
            salt: Salt::new(salt).ok_or(FormatError::Hex { field: "crypto.kdfparams.salt", wanted: SALT })?,
            iv: array("crypto.cipherparams.iv", iv.as_deref(), "16 bytes")?,
            ciphertext: array("crypto.ciphertext", crypto.ciphertext.as_deref(), "32 bytes")?,
            mac: B256::new(array("crypto.mac", crypto.mac.as_deref(), "32 bytes")?),
            claimed: match file.address {
                Some(address) => Some(Address::new(array("address", Some(&address), "20 bytes")?)),
                None => None,
            },
        })
    }

    /// On one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Written::new(self)).expect("text and numbers are JSON") + "\n"
    }
}

const SALT: &str = "8 to 64 bytes";

fn form(error: &serde_json::Error) -> FormatError {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => FormatError::Form { line, column },
        _ => FormatError::NotJson { line, column },
    }
}

/// As much of a name as can be one.
fn word(text: &str) -> String {
    text.chars().take(24).collect()
}

fn there<T>(field: &'static str, value: Option<T>) -> Result<T, FormatError> {
    value.ok_or(FormatError::Missing(field))
}

fn bytes(field: &'static str, text: Option<&str>, wanted: &'static str) -> Result<Vec<u8>, FormatError> {
    hex::decode(there(field, text)?).map_err(|_| FormatError::Hex { field, wanted })
}

fn array<const N: usize>(
    field: &'static str,
    text: Option<&str>,
    wanted: &'static str,
) -> Result<[u8; N], FormatError> {
    bytes(field, text, wanted)?.try_into().map_err(|_| FormatError::Hex { field, wanted })
}

fn cost(derivation: &str, params: &KdfParams) -> Result<Cost, FormatError> {
    let cost = match derivation {
        "scrypt" => Cost::scrypt(
            there("crypto.kdfparams.n", params.n)?,
            there("crypto.kdfparams.r", params.r)?,
            there("crypto.kdfparams.p", params.p)?,
        )?,
        "pbkdf2" => match there("crypto.kdfparams.prf", params.prf.as_deref())? {
            "hmac-sha256" => Cost::pbkdf2(there("crypto.kdfparams.c", params.c)?)?,
            other => return Err(FormatError::Hash(word(other))),
        },
        other => return Err(FormatError::Derivation(word(other))),
    };
    match there("crypto.kdfparams.dklen", params.dklen)? {
        32 => Ok(cost),
        other => Err(FormatError::DerivedLength(other)),
    }
}

#[derive(Serialize)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    crypto: WrittenCrypto,
    id: String,
    version: u8,
}

#[derive(Serialize)]
struct WrittenCrypto {
    cipher: &'static str,
    cipherparams: WrittenCipherParams,
    ciphertext: String,
    kdf: &'static str,
    kdfparams: WrittenKdfParams,
    mac: String,
}

#[derive(Serialize)]
struct WrittenCipherParams {
    iv: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenKdfParams {
    Scrypt { dklen: u8, n: u64, p: u32, r: u32, salt: String },
    Pbkdf2 { c: u32, dklen: u8, prf: &'static str, salt: String },
}

impl Written {
    fn new(sealed: &Sealed) -> Self {
        let salt = sealed.salt.to_string();
        let (kdf, kdfparams) = match sealed.cost {
            Cost::Scrypt(params) => {
                let (n, p, r) = (params.n(), params.p(), params.r());
                ("scrypt", WrittenKdfParams::Scrypt { dklen: 32, n, p, r, salt })
            }
            Cost::Pbkdf2 { rounds } => {
                ("pbkdf2", WrittenKdfParams::Pbkdf2 { c: rounds, dklen: 32, prf: "hmac-sha256", salt })
            }
        };
        Self {
            address: sealed.claimed.map(hex::encode),
            crypto: WrittenCrypto {
                cipher: "aes-128-ctr",
                cipherparams: WrittenCipherParams { iv: hex::encode(sealed.iv) },
                ciphertext: hex::encode(sealed.ciphertext),
                kdf,
                kdfparams,
                mac: hex::encode(sealed.mac),
            },
            id: id(&sealed.mac),
            version: 3,
        }
    }
}

/// geth and cast insist on a UUID. This one is of version 8 (RFC 9562): the file's own, and it
/// says nothing that the file does not.
fn id(mac: &B256) -> String {
    let mut id: [u8; 16] = std::array::from_fn(|index| mac[index]);
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    let digits = hex::encode(id);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
