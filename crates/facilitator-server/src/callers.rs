//! Who may ask, and by which token.

use alloy_primitives::{B256, keccak256};
use http::{HeaderMap, header};
use obol_core::is_label;
use std::{collections::HashMap, fmt, sync::Arc};

/// The name under which what is settled for somebody is in the ledger.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Caller(Arc<str>);

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Caller {
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The callers that may ask, found by their tokens' hashes: a look-up's time tells nothing about a
/// token.
#[derive(Clone, Debug)]
pub enum Callers {
    /// Whoever reaches the address.
    Anybody(Caller),
    Known(HashMap<B256, Caller>),
}

/// Why a list of callers is none. A token is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallersError {
    #[error("line {0} is not a name and a token with a space between them")]
    Form(usize),
    #[error("line {line}: {name:?} is no name (lower-case letters, digits and hyphens, at most 63)")]
    Name { line: usize, name: String },
    #[error(
        "line {line}: the token of {name} is shorter than {SHORTEST} characters; make one with openssl rand -hex 32"
    )]
    Short { line: usize, name: String },
    #[error("line {line}: {name} comes a second time")]
    Twice { line: usize, name: String },
    #[error("line {line}: the token of {name} is another caller's, too")]
    SameToken { line: usize, name: String },
    #[error("it names nobody; write a line <name> <token> for each caller")]
    Nobody,
}

/// Characters of a token that cannot be guessed.
const SHORTEST: usize = 16;

impl Callers {
    /// For an address that only the operator's own programs reach.
    pub fn anybody() -> Self {
        Self::Anybody(Caller("anybody".into()))
    }

    /// Reads a line `<name> <token>` for each caller; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, CallersError> {
        let mut known: HashMap<B256, Caller> = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line_text = line.split_once('#').map_or(line, |(before, _)| before).trim();
            if line_text.is_empty() {
                continue;
            }
            let mut words = line_text.split_whitespace();
            let (Some(name), Some(token), None) = (words.next(), words.next(), words.next()) else {
                return Err(CallersError::Form(number));
            };
            let (line, name) = (number, name.to_owned());
            if !is_label(&name) {
                return Err(CallersError::Name { line, name });
            }
            if token.len() < SHORTEST {
                return Err(CallersError::Short { line, name });
            }
            if known.values().any(|caller| *caller.0 == *name) {
                return Err(CallersError::Twice { line, name });
            }
            let caller = Caller(name.as_str().into());
            if known.insert(keccak256(token), caller).is_some() {
                return Err(CallersError::SameToken { line, name });
            }
        }
        if known.is_empty() { Err(CallersError::Nobody) } else { Ok(Self::Known(known)) }
    }

    /// Who asks, by `Authorization: Bearer <token>`.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<&Caller> {
        match self {
            Self::Anybody(caller) => Some(caller),
            Self::Known(known) => {
                let mut values = headers.get_all(header::AUTHORIZATION).iter();
                let (Some(value), None) = (values.next(), values.next()) else { return None };
                let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| known.get(&keccak256(token.trim())))?
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# of the shop\nshop 0123456789abcdef # theirs\n\n other-shop\tfedcba9876543210\n";

    fn found(callers: &Callers, authorization: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, http::HeaderValue::from_static(value));
        }
        callers.find(&headers).map(|caller| caller.name().to_owned())
    }

    #[test]
    fn a_caller_is_known_by_its_token_and_by_nothing_else() {
        let callers = Callers::parse(LIST).expect("a list");
        assert_eq!(found(&callers, &["Bearer 0123456789abcdef"]).as_deref(), Some("shop"));
        assert_eq!(found(&callers, &["bearer fedcba9876543210"]).as_deref(), Some("other-shop"));
        for wrong in [
            &[][..],
            &["0123456789abcdef"],
            &["Basic 0123456789abcdef"],
            &["Bearer 0123456789abcdeF"],
            &["Bearer "],
            &["Bearer shop"],
            &["Bearer 0123456789abcdef", "Bearer fedcba9876543210"],
        ] {
            assert_eq!(found(&callers, wrong), None, "{wrong:?}");
        }
        assert_eq!(found(&Callers::anybody(), &[]).as_deref(), Some("anybody"));
    }

    #[test]
    fn a_list_with_a_fault_is_none_and_no_token_is_repeated() {
        for (list, said) in [
            ("", "names nobody"),
            ("# nobody\n", "names nobody"),
            ("shop", "line 1 is not a name and a token"),
            ("shop 0123456789abcdef more", "line 1 is not a name and a token"),
            ("\nShop 0123456789abcdef", "line 2: \"Shop\" is no name"),
            ("shop 0123456789abcde", "line 1: the token of shop is shorter than 16"),
            ("a 0123456789abcdef\na fedcba9876543210", "line 2: a comes a second time"),
            ("a 0123456789abcdef\nb 0123456789abcdef", "line 2: the token of b is another"),
        ] {
            let error = Callers::parse(list).expect_err(list).to_string();
            assert!(error.contains(said) && !error.contains("0123456789"), "{error}");
        }
        let shown = format!("{:?}", Callers::parse(LIST).expect("a list"));
        assert!(!shown.contains("0123456789"), "{shown}");
    }
}
