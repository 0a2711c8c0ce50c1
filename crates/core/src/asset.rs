use crate::ChainId;
use alloy_primitives::Address;
use std::{fmt, str::FromStr};

/// How an asset moves from payer to payee on a signed authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferMethod {
    /// EIP-3009 `transferWithAuthorization`.
    Eip3009,
    /// Uniswap's Permit2 through x402's exact proxy. Known to the registry, not yet settled.
    Permit2,
}

impl TransferMethod {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eip3009 => "eip3009",
            Self::Permit2 => "permit2",
        }
    }
}

impl fmt::Display for TransferMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TransferMethod {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "eip3009" => Ok(Self::Eip3009),
            "permit2" => Ok(Self::Permit2),
            _ => Err(()),
        }
    }
}

/// The name and version of a token's EIP-712 domain; chain and contract complete it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    pub name: String,
    pub version: String,
}

/// A token that offers may accept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asset {
    pub chain: ChainId,
    pub address: Address,
    pub symbol: String,
    pub decimals: u8,
    pub domain: Domain,
    pub method: TransferMethod,
}
