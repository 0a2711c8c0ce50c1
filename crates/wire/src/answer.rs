//! What a facilitator answers. It is somebody else's program: nothing that it says is passed on
//! unbounded, and what is not plainly an answer to what was asked is none.

use alloy_primitives::{Address, B256};
use obol_core::{ChainId, Registry};
use serde::Deserialize;
use std::fmt;

/// A facilitator's own words for a refusal. Buyers are shown its code alone: its sentence may hold
/// addresses that are none of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its code, such as `insufficient_funds`.
    reason: String,
    message: String,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Characters of a facilitator's code, and of its sentence, that are kept.
const CODE: usize = 80;
const SHOWN: usize = 200;

impl Word {
    fn new(reason: Option<String>, message: Option<String>) -> Self {
        let is_code = |text: &String| {
            let letter = |letter: char| letter.is_ascii_alphanumeric() || "_-.:".contains(letter);
            (1..=CODE).contains(&text.len()) && text.chars().all(letter)
        };
        let reason = reason.filter(is_code).unwrap_or_else(|| "no_reason_given".to_owned());
        let message = message.unwrap_or_default();
        let words = message.split_whitespace().map(|word| match word {
            word if word.contains("://") => "[address]",
            word if has_secret(word) => "[hex]",
            word => word,
        });
        let message = words.collect::<Vec<_>>().join(" ");
        Self { reason, message: message.chars().filter(|letter| !letter.is_control()).take(SHOWN).collect() }
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Its sentence, for the seller's own log; without URLs, signatures and hashes.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Whether a word may hold half a signature, or more.
fn has_secret(word: &str) -> bool {
    word.split(|letter: char| !letter.is_ascii_hexdigit()).any(|digits| digits.len() >= 64)
}

/// Refusals that are given before anything is sent. Published facilitators have other words for what
/// went wrong while they sent, and those may be about a transaction that is out.
const BEFORE_SENDING: [&str; 32] = [
    "eip6492_factory_not_allowed",
    "insufficient_funds",
    "invalid_exact_evm_authorization_value",
    "invalid_exact_evm_eip3009_not_supported",
    "invalid_exact_evm_failed_to_parse_signature",
    "invalid_exact_evm_insufficient_balance",
    "invalid_exact_evm_missing_eip712_domain",
    "invalid_exact_evm_network_mismatch",
    "invalid_exact_evm_payload_authorization_valid_after",
    "invalid_exact_evm_payload_authorization_valid_before",
    "invalid_exact_evm_payload_authorization_value",
    "invalid_exact_evm_payload_authorization_value_mismatch",
    "invalid_exact_evm_payload_recipient_mismatch",
    "invalid_exact_evm_payload_signature",
    "invalid_exact_evm_payload_undeployed_smart_wallet",
    "invalid_exact_evm_recipient_mismatch",
    "invalid_exact_evm_scheme",
    "invalid_exact_evm_signature",
    "invalid_exact_evm_token_name_mismatch",
    "invalid_exact_evm_token_version_mismatch",
    "invalid_exact_evm_transaction_simulation_failed",
    "invalid_network",
    "invalid_payload",
    "invalid_payment",
    "invalid_payment_requirements",
    "invalid_scheme",
    "invalid_x402_version",
    "missing_eip712_domain",
    "payment_terms_changed",
    "too_many_attempts",
    "unsupported_network",
    "unsupported_scheme",
];

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AnswerError(String);

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, AnswerError> {
    serde_json::from_slice(body).map_err(|error| AnswerError(error.to_string().chars().take(SHOWN).collect()))
}

/// The answer to `/verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckAnswer {
    Good,
    Refused(Word),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    is_valid: bool,
    invalid_reason: Option<String>,
    invalid_message: Option<String>,
    payer: Option<String>,
}

impl CheckAnswer {
    /// `payer` is whose payment was asked about.
    pub fn read(body: &[u8], payer: Address) -> Result<Self, AnswerError> {
        let Checked { is_valid, invalid_reason, invalid_message, payer: stated } = parse(body)?;
        if !is_valid {
            return Ok(Self::Refused(Word::new(invalid_reason, invalid_message)));
        }
        is_payers(stated.as_deref(), payer)?;
        Ok(Self::Good)
    }
}

/// The answer to `/settle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleAnswer {
    /// The transfer is in this transaction, it says.
    Settled(B256),
    /// It is not known yet; this transaction is out for it, if one is named.
    Pending(Option<B256>),
    /// It did not try to send anything, it says.
    Refused(Word),
    /// Something went wrong, it says, after which a transaction may be out all the same.
    Doubtful(Word),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settled {
    success: bool,
    error_reason: Option<String>,
    error_message: Option<String>,
    transaction: Option<String>,
    network: Option<String>,
    payer: Option<String>,
}

impl SettleAnswer {
    /// `chain` and `payer` are those of the payment that was asked about.
    pub fn read(
        body: &[u8],
        chain: ChainId,
        payer: Address,
        registry: &Registry,
    ) -> Result<Self, AnswerError> {
        let Settled { success, error_reason, error_message, transaction, network, payer: stated } =
            parse(body)?;
        let named = transaction.filter(|hash| !hash.is_empty());
        let transaction = named
            .as_deref()
            .map(|hash| hash.parse::<B256>().map_err(|_| AnswerError("transaction is no hash".to_owned())))
            .transpose()?;
        if success {
            let network = network.filter(|network| !network.is_empty());
            if let Some(network) = network
                && registry.chain(&network).ok().map(|known| known.id) != Some(chain)
            {
                return Err(AnswerError("it is about another chain".to_owned()));
            }
            is_payers(stated.as_deref(), payer)?;
            let transaction =
                transaction.ok_or_else(|| AnswerError("success without a transaction".to_owned()))?;
            return Ok(Self::Settled(transaction));
        }
        let word = Word::new(error_reason, error_message);
        // Whoever names a transaction has sent one.
        if transaction.is_some() || word.reason == "settlement_pending" {
            return Ok(Self::Pending(transaction));
        }
        let plain = BEFORE_SENDING.contains(&word.reason.as_str());
        Ok(if plain { Self::Refused(word) } else { Self::Doubtful(word) })
    }
}

/// An answer about somebody else is no answer to this question.
fn is_payers(stated: Option<&str>, payer: Address) -> Result<(), AnswerError> {
    match stated.filter(|stated| !stated.is_empty()) {
        Some(stated) if stated.parse() != Ok(payer) => {
            Err(AnswerError("it is about another payer".to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

/// The answer to `/supported`: the chains of the registry on which it settles payments of scheme
/// `exact`, in version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportAnswer {
    pub chains: Vec<ChainId>,
}

#[derive(Deserialize)]
struct Supported {
    kinds: Vec<Kind>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    x402_version: Option<u64>,
    scheme: String,
    network: String,
}

impl SupportAnswer {
    pub fn read(body: &[u8], registry: &Registry) -> Result<Self, AnswerError> {
        let supported: Supported = parse(body)?;
        let kinds = supported.kinds.into_iter();
        let exact = kinds.filter(|kind| kind.scheme == "exact" && kind.x402_version == Some(2));
        let known = exact.filter_map(|kind| registry.chain(&kind.network).ok().map(|chain| chain.id));
        Ok(Self { chains: known.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYER: Address = Address::repeat_byte(0x11);
    const BASE: ChainId = ChainId::new(8453);
    const HASH: &str = "0x2222222222222222222222222222222222222222222222222222222222222222";

    fn settled(json: &str) -> Result<SettleAnswer, AnswerError> {
        SettleAnswer::read(json.as_bytes(), BASE, PAYER, &Registry::built_in())
    }

    #[test]
    fn success_is_about_this_payment_and_names_its_transaction() {
        let hash = HASH.parse().expect("a hash");
        for network in ["", "base", "eip155:8453"] {
            let json = format!(
                r#"{{"success":true,"transaction":"{HASH}","network":"{network}","payer":"{PAYER}"}}"#
            );
            assert_eq!(settled(&json), Ok(SettleAnswer::Settled(hash)));
        }
        for (json, why) in [
            (r#"{"success":true}"#.to_owned(), "without a transaction"),
            (r#"{"success":true,"transaction":""}"#.to_owned(), "without a transaction"),
            (r#"{"success":true,"transaction":"0x12"}"#.to_owned(), "no hash"),
            (format!(r#"{{"success":true,"transaction":"{HASH}","network":"polygon"}}"#), "another chain"),
            (
                format!(r#"{{"success":true,"transaction":"{HASH}","payer":"{}"}}"#, Address::ZERO),
                "another payer",
            ),
            ("<html></html>".to_owned(), "expected value"),
            (r#"{"success":"true"}"#.to_owned(), "invalid type"),
            (String::new(), "EOF"),
        ] {
            let refused = settled(&json).expect_err(&json).to_string();
            assert!(refused.contains(why), "{json}: {refused}");
        }
    }

    #[test]
    fn only_what_is_said_before_anything_is_sent_is_a_refusal() {
        let refused = settled(r#"{"success":false,"errorReason":"insufficient_funds","transaction":""}"#);
        assert!(
            matches!(refused, Ok(SettleAnswer::Refused(word)) if word.to_string() == "insufficient_funds")
        );
        let pending = settled(r#"{"success":false,"errorReason":"settlement_pending"}"#);
        assert_eq!(pending, Ok(SettleAnswer::Pending(None)));
        let sent =
            format!(r#"{{"success":false,"errorReason":"insufficient_funds","transaction":"{HASH}"}}"#);
        assert_eq!(settled(&sent), Ok(SettleAnswer::Pending(HASH.parse().ok())));
        for reason in [
            "invalid_exact_evm_transaction_failed",
            "invalid_exact_evm_nonce_already_used",
            "invalid_transaction_state",
            "duplicate_settlement",
            "unexpected_settle_error",
            "insufficient_funds of ours",
            "",
        ] {
            let json = serde_json::json!({"success": false, "errorReason": reason, "transaction": ""});
            let told = settled(&json.to_string());
            assert!(matches!(told, Ok(SettleAnswer::Doubtful(_))), "{reason}: {told:?}");
        }
        assert!(BEFORE_SENDING.is_sorted());
    }

    #[test]
    fn a_facilitators_words_are_shortened_and_tell_no_addresses() {
        let message = format!("\u{1b}[31mfailed. URL: https://node.example/v2/sesame {}", "x".repeat(5_000));
        let refused = |reason: &str| {
            let json =
                serde_json::json!({"isValid": false, "invalidReason": reason, "invalidMessage": message});
            match CheckAnswer::read(json.to_string().as_bytes(), PAYER) {
                Ok(CheckAnswer::Refused(word)) => word,
                other => panic!("{other:?}"),
            }
        };
        let word = refused("insufficient_funds");
        assert_eq!(word.to_string(), "insufficient_funds");
        assert!(word.message().starts_with("[31mfailed. URL: [address] xx"), "{}", word.message());
        assert_eq!(word.message().chars().count(), SHOWN);
        for odd in [&*"x".repeat(5_000), "https://node.example/sesame", "a b", ""] {
            assert_eq!(refused(odd).reason(), "no_reason_given");
        }
        let long = format!(r#"{{"isValid":"{}"}}"#, "x".repeat(60_000));
        let error = CheckAnswer::read(long.as_bytes(), PAYER).expect_err("no boolean").to_string();
        assert!(error.len() <= SHOWN, "{}", error.len());
    }

    #[test]
    fn a_payment_is_good_for_its_payer_only() {
        let good = |json: &str| CheckAnswer::read(json.as_bytes(), PAYER);
        assert_eq!(good(r#"{"isValid":true}"#), Ok(CheckAnswer::Good));
        assert_eq!(good(&format!(r#"{{"isValid":true,"payer":"{PAYER}"}}"#)), Ok(CheckAnswer::Good));
        assert!(good(&format!(r#"{{"isValid":true,"payer":"{}"}}"#, Address::ZERO)).is_err());
        assert!(good(r#"{"success":true}"#).is_err());
    }

    #[test]
    fn what_is_supported_is_told_by_chain() {
        let json = r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:8453"},
            {"x402Version":1,"scheme":"exact","network":"polygon"},
            {"x402Version":2,"scheme":"upto","network":"eip155:137"},
            {"x402Version":2,"scheme":"exact","network":"solana:x"}],"extensions":[]}"#;
        let answer = SupportAnswer::read(json.as_bytes(), &Registry::built_in());
        assert_eq!(answer, Ok(SupportAnswer { chains: vec![BASE] }));
    }

    #[test]
    fn a_facilitators_sentence_holds_no_voucher_and_no_url() {
        let half = "ab".repeat(32);
        for secret in [format!("0x{half}{half}1b"), format!("r:0x{half},s:0x{half}"), format!("\"{half}\"")] {
            let json = serde_json::json!({
                "isValid": false, "invalidReason": "invalid_signature",
                "invalidMessage": format!("bad {secret} at https://rpc.example/key of 0x1111"),
            });
            let Ok(CheckAnswer::Refused(word)) =
                CheckAnswer::read(json.to_string().as_bytes(), Address::ZERO)
            else {
                panic!("a refusal")
            };
            assert_eq!(word.message(), "bad [hex] at [address] of 0x1111");
        }
    }
}
