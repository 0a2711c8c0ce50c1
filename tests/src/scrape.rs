use crate::{fetch, get};
use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use std::{collections::BTreeMap, net::SocketAddr};

/// What `/metrics` said, sample by sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    pub text: String,
    samples: BTreeMap<(String, BTreeMap<String, String>), String>,
}

impl Scrape {
    pub async fn of(admin: SocketAddr) -> Result<Self> {
        let answered = fetch(admin, get("/metrics")).await?;
        ensure!(answered.status == StatusCode::OK, "{answered:?}");
        ensure!(answered.header("content-type") == Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::parse(std::str::from_utf8(&answered.body)?)
    }

    /// Fails on a line that is no sample, and on one that comes twice.
    pub fn parse(text: &str) -> Result<Self> {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let (name, labels) = match series.split_once('{') {
                Some((name, rest)) => (name, labels(rest.strip_suffix('}').context("no end")?)?),
                None => (series, BTreeMap::new()),
            };
            let before = samples.insert((name.to_owned(), labels), value.to_owned());
            ensure!(before.is_none(), "it comes twice: {line}");
        }
        Ok(Self { text: text.to_owned(), samples })
    }

    /// The series of a family of the verifier's that have these labels, and their values.
    pub fn all<'s>(
        &'s self,
        family: &str,
        with: &'s [(&str, &str)],
    ) -> impl Iterator<Item = (&'s BTreeMap<String, String>, &'s str)> {
        let name = format!("obol_x402_verifier_{family}");
        self.samples.iter().filter_map(move |((found, labels), value)| {
            let has = |(name, value): &(&str, &str)| labels.get(*name).is_some_and(|found| found == value);
            (*found == name && with.iter().all(has)).then_some((labels, value.as_str()))
        })
    }

    /// The only one of those.
    pub fn one(&self, family: &str, with: &[(&str, &str)]) -> Result<u64> {
        let found: Vec<_> = self.all(family, with).collect();
        let [(_, value)] = found[..] else { anyhow::bail!("{family} {with:?}: {found:?}") };
        value.parse().with_context(|| format!("{family} {with:?} is {value}"))
    }

    /// The families that have a series with these labels.
    pub fn families_with(&self, with: &[(&str, &str)]) -> Vec<&str> {
        let has = |labels: &BTreeMap<String, String>| {
            with.iter().all(|(name, value)| labels.get(*name).is_some_and(|found| found == value))
        };
        let mut names: Vec<_> = self
            .samples
            .keys()
            .filter(|(_, labels)| has(labels))
            .map(|(name, _)| name.trim_start_matches("obol_x402_verifier_"))
            .collect();
        names.dedup();
        names
    }

    /// Every value of every label.
    pub fn label_values(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().flat_map(|(_, labels)| labels.values().map(String::as_str))
    }
}

fn labels(text: &str) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").with_context(|| text.to_owned())?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().with_context(|| text.to_owned())? {
                (at, '"') => break at,
                (_, '\\') => match characters.next().with_context(|| text.to_owned())?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        rest = after[end + 1..].trim_start_matches(',');
    }
    Ok(labels)
}
