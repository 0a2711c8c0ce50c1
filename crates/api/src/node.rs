use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Budget, Options, Spanned, options::NonFiniteFloatPolicy};
use std::fmt;

/// A document as it was written, before any field is known. Every node knows its line, and a
/// number is kept as its digits: money never passes through a float.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    /// A number or a boolean, as written.
    Plain(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) line: u32,
}

/// Why a text is not YAML (or JSON), and where.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) line: u32,
    pub(crate) message: String,
}

/// Deeper documents are no manifests; the bound protects the stack.
const MAX_DEPTH: usize = 32;
/// A manifest has some dozens of nodes; the bound is on what aliases can unfold to.
const MAX_NODES: usize = 20_000;

impl Node {
    /// Reads one document that begins at line `first_line` (counted from one) of its file.
    pub(crate) fn parse(text: &str, first_line: u32) -> Result<Self, SyntaxError> {
        Self::parse_within(text, first_line, MAX_NODES)
    }

    /// As [`Self::parse`], of a document with at most so many values.
    pub(crate) fn parse_within(text: &str, first_line: u32, nodes: usize) -> Result<Self, SyntaxError> {
        let before = first_line.saturating_sub(1);
        let raw: Spanned<Raw> =
            serde_saphyr::from_str_with_options(text, options(nodes)).map_err(|error| {
                let line = error.location().map_or(1, |location| location.line());
                SyntaxError { line: before.saturating_add(narrow(line)), message: sentence(&error, nodes) }
            })?;
        Ok(Self::locate(raw, text, before))
    }

    fn locate(raw: Spanned<Raw>, text: &str, before: u32) -> Self {
        let line = before.saturating_add(narrow(raw.referenced.line()));
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Plain(seen) => Value::Plain(written(&raw.defined, text).unwrap_or(seen)),
            Raw::Text(text) => Value::Text(text),
            Raw::List(items) => {
                Value::List(items.into_iter().map(|item| Self::locate(item, text, before)).collect())
            }
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let line = before.saturating_add(narrow(key.referenced.line()));
                        (Key { name: key.value, line }, Self::locate(value, text, before))
                    })
                    .collect(),
            ),
        };
        Self { line, value }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The entry of a map and the line of its key.
    pub(crate) fn get(&self, name: &str) -> Option<(u32, &Self)> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|(key, _)| key.name == name).map(|(key, node)| (key.line, node))
            }
            _ => None,
        }
    }

    /// The line at which a map that is not empty begins.
    pub(crate) fn first_key(&self) -> Option<u32> {
        match &self.value {
            Value::Map(entries) => entries.first().map(|(key, _)| key.line),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// For a sentence that says what was found.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Plain(text) if text.starts_with(|first: char| first.is_ascii_alphabetic()) => "a boolean",
            Value::Plain(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

fn options(nodes: usize) -> Options {
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.max_nodes = nodes;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = nodes;
    // A number too large for a float is a number all the same, and refused by its field's name.
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.with_snippet = false;
    options
}

fn narrow(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

fn sentence(error: &serde_saphyr::Error, nodes: usize) -> String {
    use serde_saphyr::Error::{Budget, DuplicateMappingKey};
    match error.without_snippet() {
        DuplicateMappingKey { key: Some(key), .. } => format!("the key {key} is written twice; keep one"),
        DuplicateMappingKey { key: None, .. } => "a key is written twice; keep one".to_owned(),
        Budget { .. } => {
            format!(
                "is nested deeper than {MAX_DEPTH} or holds more than {nodes} values, as no such file does"
            )
        }
        other => {
            // The parser's own position is the document's, not the file's.
            let text = other.to_string();
            let text = text.lines().next().unwrap_or_default();
            let end = text.find(" at line ").unwrap_or(text.len());
            let said = text[..end].trim_end_matches([':', ',', ' ']);
            format!("this is not valid YAML or JSON ({said})")
        }
    }
}

/// The characters of the source that a plain scalar was read from.
fn written(location: &serde_saphyr::Location, text: &str) -> Option<String> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    text.get(start..end).map(|text| text.trim().to_owned())
}

enum Raw {
    Null,
    /// As far as the parser's types carry it.
    Plain(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a boolean, a list or a map")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
        // Only its source text is used. In exponent form no digit could be taken for exact.
        Ok(Raw::Plain(format!("{value:e}")))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
