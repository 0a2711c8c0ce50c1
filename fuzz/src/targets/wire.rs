//! Headers and bodies of x402. Each input is tried as it is, and as the JSON within the base64.

use super::{accepts, registry};
use alloy_primitives::{Address, B256, Bytes, U256};
use obol_core::{Authorization, ChainId, Payment, TransferMethod, WireVersion};
use obol_wire::{
    ChallengeTemplate, CheckAnswer, Claim, Facilitation, MAX_HEADER, Offered, Receipt, Sale, SettleAnswer,
    SettleReply, SupportAnswer, VerifyReply, Word, decode,
    discovery::{Listing, ResourceUrl},
};

/// A payment that is taken is for one of the requirements, carries what was signed, and is read
/// the same again when it is written anew.
pub fn payments(data: &[u8]) {
    let encoded = base64(data);
    for header in [data, encoded.as_bytes()] {
        for (v1, v2) in [(Some(header), None), (None, Some(header)), (Some(header), Some(header))] {
            if let Ok(Some(claim)) = decode(v1, v2) {
                check_claim(claim);
            }
        }
    }
}

fn check_claim(claim: Claim) {
    let (version, payer) = (claim.version(), claim.payer());
    let Ok((requirement, payment)) = claim.select(accepts(), registry()) else { return };
    assert!(accepts().contains(requirement));
    assert_eq!((payment.version, payment.authorization.from), (version, payer));
    assert_eq!((payment.chain, payment.asset), (requirement.asset.chain, requirement.asset.address));
    let challenge = ChallengeTemplate::new(accepts(), registry(), "").render("http://x/", None, version);
    let header = Some(challenge.header.as_bytes()).filter(|_| version == WireVersion::V2);
    let sale = Sale::parse(header, challenge.body.as_bytes(), registry()).expect("our own challenge");
    let offered = sale.offered.iter().find(|offered| offered.chain == payment.chain).expect("offered");
    let written = sale.pay(offered, &payment, registry());
    if written.value.len() > MAX_HEADER {
        return;
    }
    let value = Some(written.value.as_bytes());
    let again = match version {
        WireVersion::V1 => decode(value, None),
        WireVersion::V2 => decode(None, value),
    };
    let again = again.expect("our own payment").expect("it is there");
    assert_eq!(again.select(accepts(), registry()), Ok((requirement, payment)));
}

/// A challenge that is understood can be answered, and the answer carries what was signed.
pub fn challenges(data: &[u8]) {
    let encoded = base64(data);
    for (header, body) in [(None, data), (Some(data), &b""[..]), (Some(encoded.as_bytes()), b"")] {
        let Ok(sale) = Sale::parse(header, body, registry()) else { continue };
        for offered in &sale.offered {
            let payment = payment_for(offered, sale.version);
            let written = sale.pay(offered, &payment, registry());
            let value = Some(written.value.as_bytes());
            let read = match sale.version {
                WireVersion::V1 => decode(value, None),
                WireVersion::V2 => decode(None, value),
            };
            // A seller may have written what this project's own seller would not take.
            if let Ok(Some(claim)) = read {
                assert_eq!((claim.version(), claim.payer()), (sale.version, payment.authorization.from));
            }
        }
    }
}

fn payment_for(offered: &Offered, version: WireVersion) -> Payment {
    Payment {
        version,
        chain: offered.chain,
        asset: offered.asset,
        method: TransferMethod::Eip3009,
        authorization: Authorization {
            from: Address::repeat_byte(0x22),
            to: offered.pay_to,
            value: offered.amount,
            valid_after: U256::ZERO,
            valid_before: U256::from(offered.max_timeout_seconds),
            nonce: B256::repeat_byte(0x33),
        },
        signature: Bytes::from_static(&[0x44; 65]),
    }
}

/// A receipt that is read is read the same again when it is written anew.
pub fn receipts(data: &[u8]) {
    let encoded = base64(data);
    for header in [data, encoded.as_bytes()] {
        let Ok(receipt) = Receipt::decode(header, registry()) else { continue };
        let written = receipt.encode(WireVersion::V2, registry());
        // The payer is always written, so that a receipt at the limit may grow beyond it.
        if written.len() <= MAX_HEADER {
            assert_eq!(Receipt::decode(written.as_bytes(), registry()), Ok(receipt));
        }
    }
}

/// What a facilitator understands is about a known asset and the payment of it; about whatever it
/// does not, there is an answer. What it lists has an address that stays the same when it is kept.
pub fn facilitations(data: &[u8]) {
    if let Some(Ok(Listing { resource, .. })) = Listing::read(data) {
        let kept = resource.to_string();
        assert!(kept.starts_with("http://") || kept.starts_with("https://"), "{kept}");
        assert_eq!(ResourceUrl::try_from(kept), Ok(resource));
    }
    match Facilitation::read(data, registry()) {
        Ok(Facilitation { requirement, payment }) => {
            let asset = registry().asset_at(payment.chain, payment.asset);
            assert_eq!(asset.ok(), Some(&requirement.asset));
        }
        Err(unreadable) => {
            let settled = serde_json::to_value(SettleReply::from(&*unreadable)).expect("JSON");
            let verified = serde_json::to_value(VerifyReply::from(&*unreadable)).expect("JSON");
            assert_eq!((&settled["success"], &verified["isValid"]), (&false.into(), &false.into()));
            assert_eq!(settled["errorReason"], verified["invalidReason"]);
            assert!(settled["transaction"].is_string() && settled["network"].is_string(), "{settled}");
        }
    }
}

/// Only what is plainly about this chain and payer says that something was settled, and no words of a
/// facilitator are long or hold control characters.
pub fn answers(data: &[u8]) {
    let (chain, payer) = (ChainId::new(84532), Address::repeat_byte(0x22));
    let shown = |word: Word| {
        let (code, message) = (word.to_string(), word.message());
        assert!(code.len() <= 80 && code.is_ascii() && !code.contains('/'), "{code:?}");
        assert!(message.chars().count() <= 200 && !message.chars().any(char::is_control), "{message:?}");
    };
    let (checked, settled) =
        (CheckAnswer::read(data, payer), SettleAnswer::read(data, chain, payer, registry()));
    // What nobody reads may be what no value can hold.
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    let stated = |field: &str| json[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match checked {
        Ok(CheckAnswer::Good) => {
            assert!(stated("payer").is_none_or(|stated| stated.parse() == Ok(payer)));
        }
        Ok(CheckAnswer::Refused(word)) => shown(word),
        Err(_) => {}
    }
    match settled {
        Ok(SettleAnswer::Settled(transaction)) => {
            assert!(stated("payer").is_none_or(|stated| stated.parse() == Ok(payer)));
            let network = stated("network").map(|network| registry().chain(&network).map(|known| known.id));
            assert!(network.is_none_or(|network| network == Ok(chain)));
            assert_eq!(stated("transaction").and_then(|hash| hash.parse().ok()), Some(transaction));
        }
        Ok(SettleAnswer::Refused(word) | SettleAnswer::Doubtful(word)) => {
            assert!(stated("transaction").is_none());
            shown(word);
        }
        Ok(SettleAnswer::Pending(_)) | Err(_) => {}
    }
    // The chains are those of the registry, or it is no answer.
    if let Ok(SupportAnswer { chains }) = SupportAnswer::read(data, registry()) {
        assert!(chains.iter().all(|chain| registry().chain_by_id(*chain).is_ok()));
    }
}

/// Standard, padded. Of this file, so that a change of the parser's dependency is a change that
/// shows.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let six = usize::try_from(word >> (18 - 6 * place) & 63).expect("six bits");
            text.push(if place > chunk.len() { '=' } else { char::from(ALPHABET[six]) });
        }
    }
    text
}
