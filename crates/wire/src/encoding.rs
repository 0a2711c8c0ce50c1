//! The envelope of every x402 header: standard padded base64 of UTF-8 JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use obol_core::{Reason, Refusal};
use serde::Deserialize;

/// The longest payment header that is read, in bytes. A payment is about 1,000 bytes; a smart
/// wallet's signature and echoed extensions make it a few thousand.
pub const MAX_HEADER: usize = 16 * 1024;

pub(crate) fn encode(json: &str) -> String {
    STANDARD.encode(json)
}

/// Of a part whose length is a multiple of three: what follows can be encoded apart.
pub(crate) fn append(part: &str, to: &mut String) {
    STANDARD.encode_string(part, to);
}

/// The JSON within a payment header.
pub(crate) fn open(what: &str, header: &[u8]) -> Result<Vec<u8>, Refusal> {
    if header.len() > MAX_HEADER {
        return Err(refuse(format!("{what} is longer than {MAX_HEADER} bytes")));
    }
    STANDARD.decode(header).map_err(|error| refuse(format!("{what} is not standard padded base64: {error}")))
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(what: &str, json: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(json).map_err(|error| refuse(format!("{what} does not hold a payment: {error}")))
}

fn refuse(detail: String) -> Refusal {
    Refusal::new(Reason::InvalidPayload, detail)
}
