//! How chains, accounts, hashes, amounts and times are written in JSON, and what a schema says of
//! each: one way for every command.

use crate::output;
use alloy_primitives::{Address, B256};
use obol_core::{Amount, ChainId, TransferMethod};
use obol_ledger::{Delivery, State};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use std::{borrow::Cow, fmt};

macro_rules! written {
    ($( $(#[doc = $meaning:literal])* $name:ident from $source:ty: $schema:tt, $write:expr; )*) => { $(
        $(#[doc = $meaning])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(transparent)]
        pub(crate) struct $name(String);

        impl From<$source> for $name {
            fn from(source: $source) -> Self {
                let write: fn($source) -> String = $write;
                Self(write(source))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )* };
}

written! {
    /// CAIP-2.
    Chain from ChainId: { "type": "string", "pattern": "^eip155:[1-9][0-9]*$" }, |chain| chain.to_string();
    /// With the checksum of EIP-55.
    Account from Address: { "type": "string", "pattern": "^0x[0-9a-fA-F]{40}$" },
        |address| address.to_checksum(None);
    /// Of a transaction, or a payment's nonce.
    Hash from B256: { "type": "string", "pattern": "^0x[0-9a-f]{64}$" }, |hash| hash.to_string();
    /// Text, as it need not fit into a program's numbers.
    Atomic from Amount: { "type": "string", "pattern": "^(0|[1-9][0-9]*)$" }, |amount| amount.to_string();
    /// In units of the asset.
    Units from (Amount, u8): { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$" },
        |(amount, decimals)| amount.to_decimal(decimals);
    /// From seconds since the Unix epoch.
    Time from i64: {
        "type": "string", "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
    }, output::time;
    /// What is owed.
    StateWord from State: { "type": "string", "enum": words(State::ALL, State::as_str) },
        |state| state.as_str().to_owned();
    /// What reached the client.
    DeliveryWord from Delivery: { "type": "string", "enum": words(Delivery::ALL, Delivery::as_str) },
        |delivery| delivery.as_str().to_owned();
    /// How an asset moves.
    Method from TransferMethod: { "type": "string", "enum": ["eip3009", "permit2"] },
        |method| method.as_str().to_owned();
}

fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().copied().map(word).collect()
}
