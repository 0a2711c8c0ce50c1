//! The files of `deploy/prometheus`: what promtool says of them, and that they name nothing that is
//! not told.

use anyhow::{Context, Result, ensure};
use obol_core::Reason;
use obol_facilitator::SettlerState;
use obol_tests::promtool;
use obol_verifier::FAMILIES;
use serde::Deserialize;
use std::{collections::BTreeSet, fs, path::Path};

const FILES: [&str; 4] = ["obol.rules.yml", "obol.rules.test.yml", "grafana.json", "README.md"];

fn read(file: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus").join(file);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Every word of a text that begins so.
fn words<'t>(text: &'t str, prefix: &'t str) -> BTreeSet<&'t str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    text.match_indices(prefix)
        .map(|(at, _)| {
            let rest = &text[at..];
            &rest[..rest.find(|character| !is_part(character)).unwrap_or(rest.len())]
        })
        .collect()
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_rules_and_configuration() -> Result<()> {
    for arguments in [["check", "rules", "obol.rules.yml"], ["check", "config", "prometheus.yml"]] {
        if let Some(said) = promtool(&arguments).await? {
            ensure!(said.contains("SUCCESS"), "{said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_rule_and_alert_fires_and_is_quiet_as_its_cases_say() -> Result<()> {
    if let Some(said) = promtool(&["test", "rules", "obol.rules.test.yml"]).await? {
        ensure!(said.contains("SUCCESS"), "{said}");
    }
    Ok(())
}

#[test]
fn rules_and_dashboard_name_only_families_that_are_told() -> Result<()> {
    for file in FILES {
        let text = read(file)?;
        for word in words(&text, "obol_x402_verifier_") {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let known = |name: &str| FAMILIES.iter().any(|family| family.name == name);
            let told = known(word) || family.is_some_and(known);
            ensure!(told, "{file} names {word}, which is not told");
        }
    }
    Ok(())
}

#[test]
fn the_page_that_alerts_point_to_says_what_to_do_in_each_state() -> Result<()> {
    let page = read("../../docs/verifier.md")?;
    for state in SettlerState::ALL {
        ensure!(page.contains(&format!("\n| `{}` | ", state.as_str())), "{}", state.as_str());
    }
    Ok(())
}

/// The values that a text compares a label with, each alternative by itself.
fn compared<'t>(text: &'t str, label: &str) -> BTreeSet<&'t str> {
    let mut values = BTreeSet::new();
    for operator in ["=\"", "=~\"", "!=\"", "!~\"", "=\\\"", "=~\\\"", "!=\\\"", "!~\\\""] {
        for (_, rest) in text
            .match_indices(&format!("{label}{operator}"))
            .map(|(at, found)| text.split_at(at + found.len()))
        {
            let value = &rest[..rest.find(['"', '\\']).unwrap_or(0)];
            values.extend(value.split('|').filter(|word| !word.is_empty() && !word.starts_with(['$', '.'])));
        }
    }
    values
}

#[test]
fn states_reasons_and_windows_are_words_that_are_told() -> Result<()> {
    let states: Vec<_> = SettlerState::ALL.iter().map(|state| state.as_str()).collect();
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
    let windows = vec!["24h", "7d", "lifetime"];
    for file in FILES {
        let text = read(file)?;
        for (label, words) in [("state", &states), ("reason", &reasons), ("window", &windows)] {
            for value in compared(&text, label) {
                // The cases have a state that is not known yet.
                let invented = file.ends_with("test.yml") && label == "state";
                ensure!(invented || words.contains(&value), "{file}: {label} is never {value}");
            }
        }
    }
    let rules = read("obol.rules.yml")?;
    ensure!(compared(&rules, "state").len() >= 4 && compared(&rules, "window").len() == 3, "not found");
    let _: serde_json::Value = serde_json::from_str(&read("grafana.json")?)?;
    Ok(())
}

/// What promtool is to evaluate, as far as it is looked at here.
#[derive(Deserialize)]
struct Cases {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    alert_rule_test: Vec<AlertCase>,
    #[serde(default)]
    promql_expr_test: Vec<ExpressionCase>,
}

#[derive(Deserialize)]
struct AlertCase {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ExpressionCase {
    expr: String,
    #[serde(default)]
    exp_samples: Vec<ExpectedSample>,
}

#[derive(Deserialize)]
struct ExpectedSample {
    labels: String,
    value: f64,
}

impl Cases {
    /// How often it is expected that a rule or alert says nothing, or 0, and something.
    fn of(&self, name: &str) -> [usize; 2] {
        let alerts = self.tests.iter().flat_map(|case| &case.alert_rule_test);
        let alerts = alerts.filter(|case| case.alertname == name).map(|case| !case.exp_alerts.is_empty());
        let expressions = self.tests.iter().flat_map(|case| &case.promql_expr_test);
        // One pattern asks for all that is recorded.
        let asks =
            |case: &&ExpressionCase| words(&case.expr, name).contains(name) || case.expr.contains("x402:.+");
        let says = |case: &ExpressionCase| {
            let mut samples = case.exp_samples.iter();
            samples.any(|sample| words(&sample.labels, name).contains(name) && sample.value != 0.0)
        };
        let (firing, quiet): (Vec<_>, Vec<_>) =
            alerts.chain(expressions.filter(asks).map(says)).partition(|says| *says);
        [quiet.len(), firing.len()]
    }
}

#[test]
fn only_what_is_recorded_is_used_and_each_rule_has_a_case() -> Result<()> {
    let rules = read("obol.rules.yml")?;
    let recorded: BTreeSet<_> = rules
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("record: "))
        .collect();
    let alerts: BTreeSet<_> = rules
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("alert: "))
        .collect();
    ensure!(recorded.len() >= 8 && alerts.len() >= 10, "{recorded:?} {alerts:?}");
    for file in FILES {
        let text = read(file)?;
        // A pattern for all of them names none.
        for word in words(&text, "x402:").into_iter().filter(|word| *word != "x402:") {
            ensure!(recorded.contains(word), "{file} uses {word}, which is not recorded");
        }
    }
    let cases: Cases = serde_saphyr::from_str(&read("obol.rules.test.yml")?)?;
    for name in recorded.iter().chain(&alerts) {
        let [quiet, firing] = cases.of(name);
        ensure!(quiet > 0 && firing > 0, "{name}: {quiet} quiet cases, {firing} in which it speaks");
    }
    let page = read("README.md")?;
    for alert in &alerts {
        ensure!(page.contains(alert), "the README does not say what to do at {alert}");
    }
    Ok(())
}
