//! One function for each parser of data that comes from outside: whatever the bytes, it does not
//! panic and its property holds. The targets of cargo-fuzz call them, and so does a test of the
//! workspace (`tests/tests/parsers.rs`), which includes this file.

pub mod seeds;
pub mod targets;

/// A parser under test.
pub struct Target {
    /// Of the file in `fuzz_targets`.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: &[Target] = &[
    Target { name: "payments", run: targets::wire::payments, seeds: seeds::payments },
    Target { name: "challenges", run: targets::wire::challenges, seeds: seeds::challenges },
    Target { name: "receipts", run: targets::wire::receipts, seeds: seeds::receipts },
    Target { name: "facilitations", run: targets::wire::facilitations, seeds: seeds::facilitations },
    Target { name: "answers", run: targets::wire::answers, seeds: seeds::answers },
    Target { name: "paths", run: targets::routing::paths, seeds: seeds::paths },
    Target { name: "routes", run: targets::routing::routes, seeds: seeds::routes },
    Target { name: "patterns", run: targets::routing::patterns, seeds: seeds::patterns },
    Target { name: "networks", run: targets::routing::networks, seeds: seeds::networks },
    Target { name: "amounts", run: targets::money::amounts, seeds: seeds::amounts },
    Target { name: "chain_ids", run: targets::money::chain_ids, seeds: seeds::chain_ids },
    Target { name: "manifests", run: targets::money::manifests, seeds: seeds::manifests },
    Target { name: "edits", run: targets::money::edits, seeds: seeds::manifests },
    Target { name: "pricing", run: targets::money::pricing, seeds: seeds::pricing },
    Target { name: "signatures", run: targets::chain::signatures, seeds: seeds::signatures },
    Target { name: "events", run: targets::chain::events, seeds: seeds::events },
    Target { name: "keystores", run: targets::keys::keystores, seeds: seeds::keystores },
];
