//! What payers sign and what nodes answer.

use alloy_primitives::{Address, B256, Bytes, U64, U256, b256};
use alloy_sol_types::{SolEvent, SolValue};
use obol_core::{Amount, Authorization};
use obol_evm::{Log, PayerSignature, abi::Token, authorized_transfers, transfer_call};
use std::collections::HashSet;

const ERC6492: B256 = b256!("6492649264926492649264926492649264926492649264926492649264926492");

/// n/2 of secp256k1.
const HALF_ORDER: B256 = b256!("7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0");

/// A signature is read as what the token will take it for.
pub fn signatures(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(signature) = PayerSignature::parse(&bytes) else { return };
    match &signature {
        PayerSignature::Ecdsa(ecdsa) => {
            assert!(matches!(ecdsa.v, 27 | 28) && ecdsa.s <= HALF_ORDER, "{ecdsa:?}");
            assert_eq!(PayerSignature::parse(&ecdsa.to_bytes()), Ok(signature.clone()));
            // Whoever it is, it is the same one again.
            assert_eq!(ecdsa.recover(HALF_ORDER), ecdsa.recover(HALF_ORDER));
        }
        PayerSignature::Contract(whole) => assert!(*whole == bytes && bytes.len() != 65),
        PayerSignature::Undeployed { deployment, inner } => {
            assert!(!inner.is_empty() && bytes.ends_with(ERC6492.as_slice()));
            let parts = (deployment.factory, deployment.data.clone(), inner.clone());
            let wrapped = [parts.abi_encode_params().as_slice(), ERC6492.as_slice()].concat();
            assert_eq!(PayerSignature::parse(&wrapped.into()), Ok(signature.clone()));
        }
    }
    let authorization = Authorization {
        from: Address::repeat_byte(1),
        to: Address::repeat_byte(2),
        value: Amount::from(3),
        valid_after: U256::ZERO,
        valid_before: U256::MAX,
        nonce: B256::ZERO,
    };
    assert_eq!(transfer_call(&authorization, &signature).len() % 32, 4, "a selector and words");
}

/// Four bytes a log: what it is, who, to whom, how much.
///
/// Each authorization is explained by one transfer of its payer and token that comes after it,
/// and no transfer explains two.
pub fn events(data: &[u8]) {
    let logs: Vec<_> = data.chunks_exact(4).take(256).enumerate().map(log).collect();
    let paired = authorized_transfers(&logs);
    let mut transfers = HashSet::new();
    for pair in &paired {
        assert!(transfers.insert(pair.log_index), "a transfer explains two authorizations: {pair:?}");
        let place = usize::try_from(pair.log_index).expect("few logs");
        let transfer = &logs[place];
        assert_eq!(transfer.address, pair.token);
        let topics = [Token::Transfer::SIGNATURE_HASH, pair.payer.into_word(), pair.to.into_word()];
        assert_eq!(transfer.topics, topics, "{pair:?}");
        assert_eq!(transfer.data, Bytes::from(pair.amount.atomic().to_be_bytes_vec()));
        let topics = [Token::AuthorizationUsed::SIGNATURE_HASH, pair.payer.into_word(), pair.nonce];
        let used = logs[..place].iter().any(|log| log.address == pair.token && log.topics == topics);
        assert!(used, "no authorization before the transfer: {pair:?}");
    }
    let authorized =
        logs.iter().filter(|log| log.topics.first() == Some(&Token::AuthorizationUsed::SIGNATURE_HASH));
    assert!(paired.len() <= authorized.count());
}

fn log((index, bytes): (usize, &[u8])) -> Log {
    let who = |byte: u8| Address::repeat_byte(byte % 4).into_word();
    let (kind, from, to, amount) = (bytes[0], who(bytes[1]), who(bytes[2]), bytes[3]);
    let data = Bytes::from(U256::from(amount).to_be_bytes_vec());
    let (topics, data) = match kind % 6 {
        0 | 1 => (vec![Token::Transfer::SIGNATURE_HASH, from, to], data),
        2 | 3 => {
            (vec![Token::AuthorizationUsed::SIGNATURE_HASH, from, B256::repeat_byte(amount)], Bytes::new())
        }
        4 => (
            vec![Token::AuthorizationCanceled::SIGNATURE_HASH, from, B256::repeat_byte(amount)],
            Bytes::new(),
        ),
        // What no token emits.
        _ => {
            (vec![Token::Transfer::SIGNATURE_HASH; usize::from(amount % 4)], data.slice(..usize::from(to[0])))
        }
    };
    Log {
        address: Address::repeat_byte(kind / 128),
        topics,
        data,
        block_number: U64::from(1),
        block_hash: B256::ZERO,
        transaction_hash: B256::ZERO,
        log_index: U64::from(index),
    }
}
