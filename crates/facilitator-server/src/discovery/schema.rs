//! Whether a declaration's `info` is as its own `schema` has it. Both come from strangers: nothing is
//! fetched for a schema, and none makes the check long.

use jsonschema::{Draft, PatternOptions};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Subschemas and values that a schema may come to when each reference is replaced by what it means.
/// With [`obol_wire::discovery::MAX_DECLARATION`] for what is checked, a check takes milliseconds.
const LARGEST: usize = 2_000;

/// How far references may lead, each of which goes down in what it means.
const DEEPEST: usize = 64;

/// Bytes of a compiled pattern. The engine takes time in proportion to pattern and text.
const PATTERN: usize = 128 * 1024;

/// A pattern counts as so many parts of a schema: it takes a few milliseconds to compile.
const PATTERN_WEIGHT: usize = 100;

/// Why `info` is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("schema refers to something outside itself; only $ref to #/... is followed")]
    Outside,
    #[error("schema refers to itself in a circle")]
    Circle,
    #[error("schema is too large once its references are followed")]
    Large,
    #[error("schema has a keyword that is not checked here: $dynamicRef, $recursiveRef or unevaluated...")]
    Keyword,
    #[error("schema is no JSON Schema of draft 2020-12 or 7")]
    NoSchema,
    #[error("info is not as schema has it")]
    Differs,
}

pub(crate) fn check(info: &Value, schema: &Value) -> Result<(), Unfit> {
    Bounds { root: schema, known: HashMap::new() }.size(schema, DEEPEST)?;
    let validator = jsonschema::options()
        .with_draft(draft(schema)?)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN).dfa_size_limit(PATTERN))
        .build(schema)
        .map_err(|_| Unfit::NoSchema)?;
    if validator.is_valid(info) { Ok(()) } else { Err(Unfit::Differs) }
}

/// Another one could have keywords that mean something else.
fn draft(schema: &Value) -> Result<Draft, Unfit> {
    match schema.get("$schema").map(|named| named.as_str().unwrap_or_default().trim_end_matches('#')) {
        None | Some("https://json-schema.org/draft/2020-12/schema") => Ok(Draft::Draft202012),
        Some("http://json-schema.org/draft-07/schema") => Ok(Draft::Draft7),
        Some(_) => Err(Unfit::NoSchema),
    }
}

/// Walks a schema before anything evaluates it.
struct Bounds<'a> {
    root: &'a Value,
    /// What each reference comes to; none while it is being followed.
    known: HashMap<&'a str, Option<usize>>,
}

impl<'a> Bounds<'a> {
    fn size(&mut self, value: &'a Value, levels: usize) -> Result<usize, Unfit> {
        let below = levels.checked_sub(1).ok_or(Unfit::Large)?;
        let mut size = 1_usize;
        match value {
            Value::Array(items) => {
                for item in items {
                    size += self.size(item, below)?;
                }
            }
            Value::Object(entries) => {
                self.keywords(entries, value)?;
                for (name, entry) in entries {
                    size += match (name.as_str(), entry) {
                        ("$ref", Value::String(reference)) => self.referred(reference, below)?,
                        ("pattern", Value::String(_)) => PATTERN_WEIGHT,
                        ("patternProperties", Value::Object(patterns)) => {
                            PATTERN_WEIGHT * patterns.len() + self.size(entry, below)?
                        }
                        _ => self.size(entry, below)?,
                    };
                }
            }
            _ => {}
        }
        if size > LARGEST { Err(Unfit::Large) } else { Ok(size) }
    }

    fn keywords(&self, entries: &Map<String, Value>, value: &Value) -> Result<(), Unfit> {
        let has = |name: &str| entries.contains_key(name);
        // An annotation within an annotation is looked for twice at each level.
        let costly = ["$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems"];
        if costly.into_iter().any(has) {
            return Err(Unfit::Keyword);
        }
        // They change what a reference within means.
        let elsewhere = ["$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary"];
        let names_itself = elsewhere.into_iter().any(has);
        let other_draft = has("$schema") && !std::ptr::eq(value, self.root);
        if names_itself || other_draft { Err(Unfit::Outside) } else { Ok(()) }
    }

    fn referred(&mut self, reference: &'a str, levels: usize) -> Result<usize, Unfit> {
        match self.known.get(reference) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(Unfit::Circle),
            None => {}
        }
        let pointer = reference.strip_prefix('#').filter(|pointer| !pointer.contains('%'));
        let target = pointer.and_then(|pointer| self.root.pointer(pointer)).ok_or(Unfit::Outside)?;
        self.known.insert(reference, None);
        let size = self.size(target, levels)?;
        self.known.insert(reference, Some(size));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::{Duration, Instant};

    #[test]
    fn info_is_held_against_its_schema() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["input"],
            "properties": {"input": {"$ref": "#/$defs/input"}},
            "$defs": {"input": {"type": "object", "properties": {"method": {"enum": ["GET"]}}}},
        });
        assert_eq!(check(&json!({"input": {"method": "GET"}}), &schema), Ok(()));
        assert_eq!(check(&json!({"input": {"method": "PUT"}}), &schema), Err(Unfit::Differs));
        assert_eq!(check(&json!({}), &schema), Err(Unfit::Differs));
        let old = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"});
        assert_eq!(check(&json!({}), &old), Ok(()));
    }

    #[test]
    fn nothing_outside_is_looked_at() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.set_nonblocking(true).expect("it can");
        let url = format!("http://{}/schema.json", listener.local_addr().expect("an address"));
        for schema in [
            json!({"$ref": url}),
            json!({"properties": {"a": {"items": {"$ref": url}}}}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$ref": "other.json"}),
            json!({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}),
            json!({"$ref": "#/$defs/%61", "$defs": {"a": {}}}),
            json!({"$ref": "#/nowhere"}),
            json!({"$id": url, "$ref": "#/$defs/a", "$defs": {"a": {}}}),
            json!({"properties": {"a": {"$schema": url}}}),
        ] {
            assert_eq!(check(&json!({}), &schema), Err(Unfit::Outside), "{schema}");
        }
        assert_eq!(check(&json!({}), &json!({"$schema": url})), Err(Unfit::NoSchema));
        assert!(listener.accept().is_err(), "somebody was asked");
    }

    /// A map of `levels` schemas, each of which means the next twice.
    fn doubling(levels: usize) -> Value {
        let defs: Map<_, _> = (0..levels)
            .map(|level| {
                let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
                (level.to_string(), json!({"allOf": [next, next]}))
            })
            .chain([(levels.to_string(), json!({"type": "object"}))])
            .collect();
        json!({"$defs": defs, "$ref": "#/$defs/0"})
    }

    #[test]
    fn a_schema_that_never_ends_or_grows_without_bounds_is_refused_at_once() {
        let began = Instant::now();
        let patterns: Map<_, _> = (0..20).map(|number| (format!("a{number}"), json!({}))).collect();
        let nested = (0..2_000).fold(json!({}), |inner, _| json!({"not": inner}));
        for (schema, expected) in [
            (json!({"$ref": "#"}), Unfit::Circle),
            (
                json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
                Unfit::Circle,
            ),
            (json!({"properties": {"next": {"$ref": "#"}}}), Unfit::Circle),
            (doubling(15), Unfit::Large),
            (doubling(200), Unfit::Large),
            (nested, Unfit::Large),
            (json!({"enum": vec![0; LARGEST]}), Unfit::Large),
            (json!({"allOf": vec![json!({"pattern": "a"}); 20]}), Unfit::Large),
            (json!({"patternProperties": patterns}), Unfit::Large),
            (json!({"$dynamicRef": "#a"}), Unfit::Keyword),
            (json!({"properties": {"a": {"unevaluatedProperties": false}}}), Unfit::Keyword),
            (json!({"type": 7}), Unfit::NoSchema),
            (json!({"properties": {"a": {"pattern": "("}}}), Unfit::NoSchema),
            (json!({"properties": {"a": {"pattern": "((a{1000}){1000}){1000}"}}}), Unfit::NoSchema),
        ] {
            assert_eq!(check(&json!({"a": "x"}), &schema), Err(expected), "{schema}");
        }
        assert_eq!(check(&json!({}), &doubling(3)), Ok(()));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn a_pattern_takes_no_longer_for_a_text_that_is_made_for_it() {
        let began = Instant::now();
        let schema = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
        let info = json!({"a": format!("{}!", "a".repeat(10_000))});
        assert_eq!(check(&info, &schema), Err(Unfit::Differs));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
