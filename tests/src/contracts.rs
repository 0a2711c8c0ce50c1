//! Code for contracts that payments meet: the smallest that answers, or does not.

use alloy_primitives::{Address, Bytes, U256};

/// Calls every signature good: returns ERC-1271's magic value to whatever it is asked.
pub fn agreeing() -> Bytes {
    // PUSH4 1626ba7e, PUSH1 e0, SHL, PUSH0, MSTORE, PUSH1 20, PUSH0, RETURN
    Bytes::from_static(&[0x63, 0x16, 0x26, 0xba, 0x7e, 0x60, 0xe0, 0x1b, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3])
}

/// Calls no signature good: returns a word of zeros.
pub fn refusing() -> Bytes {
    // PUSH1 20, PUSH0, RETURN
    Bytes::from_static(&[0x60, 0x20, 0x5f, 0xf3])
}

/// Answers `word` to whatever it is asked.
pub fn answering(word: U256) -> Bytes {
    // PUSH32 word, PUSH0, MSTORE, PUSH1 20, PUSH0, RETURN
    [&[0x7f][..], &word.to_be_bytes::<32>(), &[0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]].concat().into()
}

/// Burns all the gas that it is given.
pub fn burning() -> Bytes {
    // JUMPDEST, PUSH1 00, JUMP
    Bytes::from_static(&[0x5b, 0x60, 0x00, 0x56])
}

/// The code of an account that EIP-7702 delegates to `to`.
pub fn delegated(to: Address) -> Bytes {
    [&[0xef, 0x01, 0x00], to.as_slice()].concat().into()
}
