//! `docs/schemas/`, and what holds for all of them.

use super::{command, head, hold, row};
use crate::schema::DOCUMENTS;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas")
}

fn file(command: &str) -> String {
    format!("{}.json", command.replace(' ', "-"))
}

#[test]
fn each_published_schema_is_what_the_code_says() {
    for document in DOCUMENTS {
        let path = folder().join(file(document.command));
        let expected = serde_json::to_string_pretty(&document.schema()).expect("JSON") + "\n";
        let found = fs::read_to_string(&path).unwrap_or_default();
        if found == expected {
            continue;
        }
        let blesses = std::env::var_os("OBOL_BLESS").is_some_and(|bless| bless == "1");
        assert!(blesses, "{} is not what the code says; OBOL_BLESS=1 rewrites it", path.display());
        fs::write(&path, expected).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let known: BTreeSet<_> = DOCUMENTS.iter().map(|document| file(document.command)).collect();
    let files = fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let found: BTreeSet<_> = files.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_eq!(found, known, "a schema without a command");
}

#[test]
fn the_page_of_output_has_each_schema() {
    let mut table = head(&["command", "what it prints", "schema"]);
    for document in DOCUMENTS {
        let schema = document.schema();
        let description = schema.get("description").and_then(Value::as_str);
        let items = schema.get("items").and_then(|items| items["$ref"].as_str());
        let item = items.and_then(|reference| schema.pointer(&reference[1..])?["description"].as_str());
        let what = match (description, item) {
            (Some(what), _) => what.to_owned(),
            (None, Some(item)) => format!("A list. Of each: {item}"),
            (None, None) => panic!("nothing is said of {}", document.command),
        };
        let file = file(document.command);
        let link = format!("[{file}](schemas/{file})");
        table.push_str(&row(&[&format!("`obol {}`", document.command), &what, &link]));
    }
    hold("docs/output.md", 0, &table);
}

/// Whatever has `--output`, and the export, whose lines are JSON.
#[test]
fn each_command_that_prints_json_has_a_schema() {
    fn visit(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        let has_output = command.get_arguments().any(|argument| {
            argument.get_possible_values().iter().any(|value| matches!(value.get_name(), "json" | "jsonl"))
        });
        if has_output {
            found.insert(path.trim_start().to_owned());
        }
        for sub in command.get_subcommands() {
            visit(sub, &format!("{path} {}", sub.get_name()), found);
        }
    }
    let mut found = BTreeSet::new();
    visit(&command(&[]), "", &mut found);
    let known: BTreeSet<_> = DOCUMENTS.iter().map(|document| document.command.to_owned()).collect();
    assert_eq!(found, known);
}

/// Every property of every schema: its name and what it is.
fn properties(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    if let Some(named) = value["properties"].as_object() {
        named.iter().for_each(|(name, form)| visit(name, form));
    }
    match value {
        Value::Object(entries) => entries.values().for_each(|inner| properties(inner, visit)),
        Value::Array(items) => items.iter().for_each(|inner| properties(inner, visit)),
        _ => {}
    }
}

/// States of offers and of payments are both states; an event leads from state to state, a
/// transfer from account to account. The demo lists its payments where earnings count them, and
/// names the folder of its offers.
const TWO_MEANINGS: [&str; 5] = ["state", "from", "to", "payments", "offers"];

#[test]
fn a_name_is_written_the_same_way_in_every_document() {
    let mut forms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for document in DOCUMENTS {
        properties(document.schema().as_value(), &mut |name, form| {
            let kind = match &form["type"] {
                Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").cloned(),
                Value::String(kind) => Some(kind.as_str().into()),
                _ => None,
            };
            let written = format!("{kind:?} {} {}", form["pattern"], form["format"]);
            if kind.is_some() && !TWO_MEANINGS.contains(&name) {
                forms.entry(name.to_owned()).or_default().insert(written);
            }
        });
    }
    assert!(forms.len() > 40, "only {forms:?}");
    let differing: Vec<_> = forms.iter().filter(|(_, forms)| forms.len() > 1).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn every_property_says_what_it_is_and_none_is_closed_to_more() {
    for document in DOCUMENTS {
        let schema = document.schema();
        properties(schema.as_value(), &mut |name, form| {
            let described = |form: &Value| form["description"].is_string() || form["oneOf"].is_array();
            let reference = form["$ref"].as_str().or_else(|| form["items"]["$ref"].as_str());
            let target = reference.and_then(|reference| schema.pointer(&reference[1..]));
            let either = form["anyOf"].as_array().and_then(|forms| forms[0]["$ref"].as_str());
            let either = either.and_then(|reference| schema.pointer(&reference[1..]));
            let says = described(form) || [target, either].into_iter().flatten().any(described);
            assert!(says, "{}: {name}: {form}", document.command);
        });
        let text = serde_json::to_string(&schema).expect("JSON");
        assert!(!text.contains("additionalProperties"), "{} is closed: {text}", document.command);
    }
}

#[test]
fn money_is_text() {
    for document in DOCUMENTS {
        properties(document.schema().as_value(), &mut |name, form| {
            let is_money = ["amount", "price", "balance"].iter().any(|word| name.ends_with(word));
            let is_text = form["type"] == "string" || form["type"] == serde_json::json!(["string", "null"]);
            assert!(!is_money || is_text && form["pattern"].is_string(), "{}: {name}", document.command);
        });
    }
}
