//! The parts of `docs/` that the code dictates, compared with it. `OBOL_BLESS=1` writes them
//! anew: `OBOL_BLESS=1 cargo test -p obol reference`.

mod schemas;

use crate::{cli::Cli, exit, ledger::COLUMNS, settling::REQUIRED};
use clap::{Arg, Command, CommandFactory};
use obol_core::{Reason, WireVersion};
use obol_ledger::State;
use std::{fmt::Write, fs, path::Path};

const BEGIN: &str = "<!-- generated: OBOL_BLESS=1 cargo test -p obol reference -->\n";
const END: &str = "<!-- end -->\n";

/// Holds the generated part number `place` of a page against what the code says.
fn hold(page: &str, place: usize, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (begin, _) =
        text.match_indices(BEGIN).nth(place).unwrap_or_else(|| panic!("{page} has no part {place}"));
    let begin = begin + BEGIN.len();
    let length = text[begin..].find(END).unwrap_or_else(|| panic!("part {place} of {page} has no end"));
    let expected = format!("\n{expected}\n");
    let found = &text[begin..begin + length];
    if found == expected {
        return;
    }
    if std::env::var_os("OBOL_BLESS").is_some_and(|bless| bless == "1") {
        let blessed = [&text[..begin], &expected, &text[begin + length..]].concat();
        return fs::write(&path, blessed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let differs = expected.lines().zip(found.lines()).find(|(code, page)| code != page);
    panic!("{page} is not what the code says; OBOL_BLESS=1 rewrites it. First difference: {differs:#?}");
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('<', "&lt;")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn head(cells: &[&str]) -> String {
    format!("{}{}", row(cells), row(&vec!["---"; cells.len()]))
}

#[test]
fn the_page_of_reasons_is_what_the_code_says() {
    let mut table = head(&[
        "status",
        "`reason`",
        "`error` for v1 clients",
        "retriable",
        "meaning",
        "what the client should do",
    ]);
    for reason in Reason::ALL {
        let (v2, v1) = (reason.code(WireVersion::V2), reason.code(WireVersion::V1));
        table.push_str(&row(&[
            &reason.status().to_string(),
            &format!("`{v2}`"),
            &if v1 == v2 { "the same".to_owned() } else { format!("`{v1}`") },
            if reason.retriable() { "yes" } else { "no" },
            reason.meaning(),
            reason.hint(),
        ]));
    }
    hold("docs/reasons.md", 0, &table);
}

#[test]
fn the_page_of_exit_codes_is_what_the_code_says() {
    let mut table = head(&["code", "in a word", "meaning"]);
    for (code, word, meaning) in exit::published() {
        table.push_str(&row(&[&code.to_string(), word, meaning]));
    }
    hold("docs/exit-codes.md", 0, &table);
}

/// The flags of a command, without `--help` and `--version`.
fn flags<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut table = head(&["flag", "environment", "default", "meaning"]);
    for argument in arguments.filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version")) {
        let value = argument.get_value_names().map(|names| format!(" <{}>", names[0])).unwrap_or_default();
        let value = if argument.get_action().takes_values() { value } else { String::new() };
        let name = match argument.get_long() {
            Some(long) => format!("`--{long}{value}`"),
            None => format!("`{}`", value.trim()),
        };
        let environment = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let required = argument.is_required_set() || argument.get_help_heading() == Some(REQUIRED);
        let default = match (required, defaults.as_slice()) {
            (true, _) => "required".to_owned(),
            (false, []) => String::new(),
            (false, defaults) => format!("`{}`", defaults.join(" ")),
        };
        let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let words: Vec<_> =
            argument.get_possible_values().iter().map(|word| format!("`{}`", word.get_name())).collect();
        if !words.is_empty() && argument.get_action().takes_values() {
            let sentence = if help.is_empty() { "" } else { ". " };
            write!(help, "{sentence}One of {}", words.join(", ")).expect("a string takes all");
        }
        table
            .push_str(&row(&[&name, &environment.unwrap_or_default(), &default, &help]).replace("&lt;", "<"));
    }
    table
}

fn command(path: &[&str]) -> Command {
    let mut command = Cli::command();
    for name in path {
        command = command.find_subcommand(name).unwrap_or_else(|| panic!("no command {name}")).clone();
    }
    command
}

#[test]
fn the_page_of_the_verifier_has_each_flag_as_the_command_line_does() {
    hold("docs/verifier.md", 0, &flags(command(&["verifier"]).get_arguments()));
    hold("docs/verifier.md", 1, &flags(command(&[]).get_arguments()));
}

/// The commands below one, and what each does.
fn verbs(of: &str) -> String {
    let mut commands = head(&["command", "what it does"]);
    for verb in command(&[of]).get_subcommands() {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        commands.push_str(&row(&[&format!("`obol {of} {}`", verb.get_name()), &about]));
    }
    commands
}

#[test]
fn the_page_of_wallets_has_each_command_as_the_command_line_does() {
    hold("docs/wallet.md", 0, &verbs("wallet"));
}

#[test]
fn the_page_of_the_facilitator_has_each_flag_as_the_command_line_does() {
    hold("docs/facilitator.md", 0, &flags(command(&["facilitator"]).get_arguments()));
}

#[test]
fn the_page_of_buying_has_each_flag_as_the_command_line_does() {
    hold("docs/buying.md", 0, &flags(command(&["buy", "pay"]).get_arguments()));
}

#[test]
fn the_page_of_the_ledger_has_each_command_and_column_as_the_code_does() {
    hold("docs/ledger.md", 0, &verbs("ledger"));
    let mut columns = head(&["column", "meaning"]);
    for (name, meaning) in COLUMNS {
        columns.push_str(&row(&[&format!("`{name}`"), meaning]));
    }
    hold("docs/ledger.md", 1, &columns);
}

#[test]
fn the_page_of_metrics_has_each_family_that_is_told() {
    let mut families = head(&["family", "type", "labels", "meaning"]);
    for family in obol_verifier::FAMILIES {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let name = format!("`{}`", family.name);
        families.push_str(&row(&[&name, family.kind.as_str(), &labels.join(", "), family.help]));
    }
    hold("docs/metrics.md", 0, &families);
}

#[test]
fn the_tables_of_states_have_each_state_and_each_arrow() {
    let documented = documented(include_str!("../../ledger/src/state.rs"));
    let mut states = head(&["state", "meaning"]);
    for state in State::ALL {
        let variant = format!("{state:?} = ");
        let (_, meaning) = documented.iter().find(|(line, _)| line.starts_with(&variant)).expect("its line");
        states.push_str(&row(&[&format!("`{state}`"), meaning]));
    }
    hold("ARCHITECTURE.md", 0, &states);
    let mut arrows = head(&["arrow", "from", "to", "when"]);
    for (line, when) in documented.iter().filter(|(line, _)| line.contains(" => ")) {
        let (name, way) = line.split_once(": ").expect("a name");
        let (from, to) = way.trim_end_matches(';').split_once(" => ").expect("two ends");
        let named =
            |ends: &str| ends.split(" | ").map(|end| format!("`{}`", end.to_lowercase())).collect::<Vec<_>>();
        arrows.push_str(&row(&[&format!("`{name}`"), &named(from).join(", "), &named(to).join(""), when]));
    }
    hold("ARCHITECTURE.md", 1, &arrows);
}

/// The lines of a source file that have a doc comment, and the comment.
fn documented(text: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut comment = Vec::new();
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("/// ") {
            Some(words) => comment.push(words),
            None => found.push((line, std::mem::take(&mut comment).join(" "))),
        }
    }
    found.retain(|(_, comment)| !comment.is_empty());
    found
}
