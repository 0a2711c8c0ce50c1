use std::{fmt, str::FromStr};

/// A chain's identity: the reference of a CAIP-2 id in the `eip155` namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(u64);

/// Why a text is not a CAIP-2 id that obol can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a CAIP-2 id of the form eip155:<chain id>")]
pub struct ChainIdError(String);

impl ChainId {
    pub const fn new(reference: u64) -> Self {
        Self(reference)
    }

    pub const fn reference(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eip155:{}", self.0)
    }
}

impl FromStr for ChainId {
    type Err = ChainIdError;

    fn from_str(text: &str) -> Result<Self, ChainIdError> {
        let refused = || ChainIdError(text.to_owned());
        let (namespace, reference) = text.split_once(':').ok_or_else(refused)?;
        let canonical = !reference.is_empty()
            && reference.bytes().all(|b| b.is_ascii_digit())
            && !reference.starts_with('0');
        if !namespace.eq_ignore_ascii_case("eip155") || !canonical {
            return Err(refused());
        }
        reference.parse().map(Self).map_err(|_| refused())
    }
}

/// When a block no longer moves, as far as the ledger is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// The node's `finalized` tag.
    Finalized,
    /// The node's `safe` tag.
    Safe,
    /// This many blocks behind the head.
    Depth(u64),
}

/// A chain that payments can live on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub id: ChainId,
    /// The canonical name, used in tables and logs.
    pub name: String,
    pub aliases: Vec<String>,
    /// The name that x402 v1 clients know, where they know one.
    pub v1_name: Option<String>,
    pub finality: Finality,
    /// How long a block takes, in milliseconds: the pace at which receipts are watched.
    pub block_millis: u64,
    /// Whether the chain charges an L1 data fee through the OP-stack gas oracle.
    pub op_stack: bool,
}

impl Chain {
    /// Whether `text` names this chain: canonical name, alias or CAIP-2 id, in any case.
    pub fn is_called(&self, text: &str) -> bool {
        self.name.eq_ignore_ascii_case(text)
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(text))
            || text.parse() == Ok(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caip2_ids_round_trip_in_canonical_form() {
        assert_eq!("eip155:84532".parse(), Ok(ChainId::new(84532)));
        assert_eq!("EIP155:84532".parse(), Ok(ChainId::new(84532)));
        assert_eq!(ChainId::new(84532).to_string(), "eip155:84532");
    }

    #[test]
    fn other_texts_are_not_chain_ids() {
        for text in [
            "",
            "84532",
            "eip155:",
            "eip155:0",
            "eip155:084532",
            "eip155:-1",
            "solana:1",
            "eip155:1x",
            "eip155:99999999999999999999",
        ] {
            assert!(text.parse::<ChainId>().is_err(), "{text:?}");
        }
    }
}
