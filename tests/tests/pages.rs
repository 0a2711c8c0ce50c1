//! What the pages for people point at is there: links, files, functions, tests.

use anyhow::{Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What builds and tools leave in the tree.
const LEFT_BEHIND: [&str; 5] = ["target", "node_modules", ".git", "corpus", "artifacts"];

/// Files with this ending, relative to the root.
fn files(ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && !LEFT_BEHIND.iter().any(|left| name == *left) {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path.strip_prefix(root())?.to_owned());
            }
        }
    }
    Ok(found)
}

struct Page {
    path: PathBuf,
    /// Without what stands in blocks of code.
    text: String,
}

fn pages() -> Result<Vec<Page>> {
    let pages = files("md")?.into_iter().map(|path| {
        let mut in_block = false;
        let text = fs::read_to_string(root().join(&path))?;
        let prose = text.lines().filter(|line| {
            let fence = line.trim_start().starts_with("```");
            in_block ^= fence;
            !in_block && !fence
        });
        Ok(Page { path, text: prose.collect::<Vec<_>>().join("\n") })
    });
    pages.collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn sources() -> Result<String> {
    let mut all = String::new();
    for path in files("rs")? {
        all.push_str(&fs::read_to_string(root().join(path))?);
    }
    Ok(all)
}

#[test]
fn every_link_between_pages_leads_somewhere() -> Result<()> {
    let mut broken = Vec::new();
    let mut links = 0;
    for page in pages()? {
        let targets = page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = root().join(page.path.parent().context("a file has a folder")?);
            let path = if file.is_empty() { root().join(&page.path) } else { folder.join(file) };
            let there = heading.is_empty()
                || fs::read_to_string(&path).is_ok_and(|text| headings(&text).contains(heading));
            if !path.exists() || !there {
                broken.push(format!("{}: {target}", page.path.display()));
            }
        }
    }
    assert!(links > 10, "only {links} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

/// As web pages name them.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    titles
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || "- _".contains(*c))
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn every_file_that_a_page_names_is_there() -> Result<()> {
    let mut missing = Vec::new();
    let mut named = 0;
    for page in pages()? {
        let roots = ["crates/", "deploy/", "tests/", "fuzz/", "docs/"];
        let paths = quoted(&page.text).filter(|text| roots.iter().any(|root| text.starts_with(root)));
        for path in paths.filter(|path| !path.contains(['<', '*', ' '])) {
            named += 1;
            if !root().join(path).exists() {
                missing.push(format!("{}: {path}", page.path.display()));
            }
        }
    }
    assert!(named > 30, "only {named} files were found");
    assert!(missing.is_empty(), "{missing:#?}");
    Ok(())
}

#[test]
fn every_function_that_a_page_walks_through_is_there() -> Result<()> {
    let sources = sources()?;
    let page = fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let names: BTreeSet<_> = quoted(&page).filter_map(|text| text.strip_suffix("()")).collect();
    assert!(names.len() > 20, "only {names:?} were found");
    let is_there = |name: &str| ["(", "<"].iter().any(|next| sources.contains(&format!("fn {name}{next}")));
    let missing: Vec<_> = names.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let types: BTreeSet<_> = quoted(&page).filter_map(|text| text.split_once("::")).collect();
    let missing: Vec<_> =
        types.iter().filter(|(owner, name)| !is_there(name) || !sources.contains(owner)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

/// A test that is named as proof has to exist: its name is a sentence, so it has many words.
#[test]
fn every_test_that_a_page_calls_a_proof_is_there() -> Result<()> {
    let sources = sources()?;
    let mut missing = Vec::new();
    let mut named = 0;
    for page in pages()? {
        let is_name = |text: &&str| {
            text.matches('_').count() >= 4
                && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
        };
        for name in quoted(&page.text).filter(is_name).filter(|name| !is_a_word_of_the_wire(name)) {
            named += 1;
            let test = [format!("fn {name}("), format!("    {name}: \"")];
            if !test.iter().any(|test| sources.contains(test)) {
                missing.push(format!("{}: {name}", page.path.display()));
            }
        }
    }
    assert!(named > 20, "only {named} names were found");
    assert!(missing.is_empty(), "{missing:#?}");
    Ok(())
}

/// Published reasons and metrics have many words, too.
fn is_a_word_of_the_wire(name: &str) -> bool {
    if obol_verifier::FAMILIES
        .iter()
        .any(|family| family.name.trim_start_matches("obol_x402_verifier_") == name || family.name == name)
    {
        return true;
    }
    obol_core::Reason::ALL.iter().any(|reason| {
        [obol_core::WireVersion::V1, obol_core::WireVersion::V2]
            .into_iter()
            .any(|version| reason.code(version) == name)
    })
}
