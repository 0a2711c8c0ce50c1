//! New offers.

use super::{
    args::{HttpArgs, InferenceArgs, NewArgs, Runtime},
    offers::{Offers, Write, write},
};
use crate::{exit::Failure, output};
use obol_api::{Found, parse};
use std::{fmt::Write as _, sync::Arc};

pub(super) fn http(args: HttpArgs) -> Result<(), Failure> {
    create(&args.new, "http", None)
}

pub(super) fn inference(args: InferenceArgs) -> Result<(), Failure> {
    let mut model = format!("  model:\n    name: {}\n", quoted(&args.model));
    if let Some(runtime) = args.runtime {
        let runtime = match runtime {
            Runtime::Ollama => "ollama",
            Runtime::Vllm => "vllm",
            Runtime::Tgi => "tgi",
        };
        let _ = writeln!(model, "    runtime: {runtime}");
    }
    create(&args.new, "inference", Some(&model))
}

fn create(new: &NewArgs, kind: &str, model: Option<&str>) -> Result<(), Failure> {
    if new.per_mtok.is_some() {
        return Err(Failure::config(
            "--per-mtok: nothing is metered yet, so a price for tokens cannot be kept; give --per-request",
        ));
    }
    let text = manifest(new, kind, model)?;
    let mut offers = Offers::read_strictly(&new.folder)?;
    let file = offers.folder.join(format!("{}.yaml", new.name));
    let read = parse(&text, &file, &offers.registry, &offers.limits);
    if let Some(fault) = read.faults.first() {
        // Its line is of a file that is not there.
        let field = if fault.field.is_empty() { "the offer" } else { &fault.field };
        return Err(Failure::config(format!("{field}: {}; nothing was written", fault.message)));
    }
    let [offer] = read.offers.as_slice() else {
        return Err(Failure::failed("the offer cannot be written"));
    };
    if let Some(taken) = offers.found.iter().find(|found| found.offer.id == offer.id) {
        return Err(Failure::config(format!(
            "{} is there already, in {}:{}; change it there, or give another name",
            offer.id,
            taken.file.display(),
            taken.line
        )));
    }
    let before = offers.conflicts();
    offers.found.push(Found { file: file.clone(), line: 1, offer: Arc::clone(offer) });
    if let Some(conflict) = offers.conflicts().into_iter().find(|conflict| !before.contains(conflict)) {
        return Err(Failure::config(format!("{conflict}; nothing was written")));
    }
    if new.dry_run {
        output::print(&text);
        return Ok(());
    }
    write(&file, &text, Write::New)?;
    output::print(&format!(
        "{} is written, and sold at {} once a verifier watches the folder.\n",
        file.display(),
        offer.path
    ));
    Ok(())
}

fn manifest(new: &NewArgs, kind: &str, model: Option<&str>) -> Result<String, Failure> {
    let mut text = format!(
        "# Written by obol sell, and yours from now on: docs/manifests.md says what else it can hold.\n\
         apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata:\n  name: {}\n",
        quoted(&new.name)
    );
    field(&mut text, "  namespace", new.namespace.as_deref());
    let _ = writeln!(text, "spec:\n  type: {kind}");
    field(&mut text, "  description", new.description.as_deref());
    field(&mut text, "  path", new.path.as_deref());
    field(&mut text, "  hostname", new.hostname.as_deref());
    text.push_str(model.unwrap_or_default());
    let _ = writeln!(text, "  upstream:\n    url: {}", quoted(&new.upstream));
    if let Some(timeout) = new.timeout {
        let _ = writeln!(text, "    timeoutSeconds: {timeout}");
    }
    field(&mut text, "    authorizationEnv", new.auth_env.as_deref());
    field(&mut text, "    authorizationFile", new.auth_file.as_deref());
    text.push_str("  payments:\n");
    let usual = new.per_request.as_deref().unwrap_or_default();
    for chain in &new.chain {
        let way = Way::parse(chain, usual)?;
        let _ = writeln!(text, "    - network: {}\n      payTo: {}", quoted(way.chain), quoted(&new.pay_to));
        let _ = writeln!(text, "      price:\n        perRequest: {}", quoted(way.price));
        if let Some(symbol) = way.symbol {
            let _ = writeln!(text, "      asset:\n        symbol: {}", quoted(symbol));
        }
    }
    Ok(text)
}

/// A field that is there when something is said about it. `name` is indented.
fn field(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _ = writeln!(text, "{name}: {}", quoted(value));
    }
}

/// One way to pay, as it is typed: `base`, `base/USDC`, `base=0.01`.
#[derive(Debug, PartialEq, Eq)]
struct Way<'a> {
    chain: &'a str,
    symbol: Option<&'a str>,
    price: &'a str,
}

impl<'a> Way<'a> {
    fn parse(text: &'a str, usual: &'a str) -> Result<Self, Failure> {
        let (chain, price) = text.split_once('=').unwrap_or((text, usual));
        let (chain, named) = match chain.split_once('/') {
            Some((chain, symbol)) => (chain, Some(symbol)),
            None => (chain, None),
        };
        let (price, currency) = currency(price.trim());
        let symbol = match (named, currency) {
            (Some(named), Some(currency)) if !named.eq_ignore_ascii_case(currency) => {
                return Err(Failure::config(format!(
                    "--chain: {text:?} is paid in {named}, and its price is in {currency}"
                )));
            }
            (named, currency) => named.or(currency),
        };
        Ok(Self { chain, symbol, price })
    }
}

/// The number of a price, and the asset that it is in when it says so.
fn currency(price: &str) -> (&str, Option<&str>) {
    if let Some(dollars) = price.strip_prefix('$') {
        return (dollars.trim(), Some("USDC"));
    }
    match price.split_once(' ') {
        Some((number, symbol)) => (number, Some(symbol.trim())),
        None => (price, None),
    }
}

/// A JSON string is a YAML string, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_to_pay_names_its_chain_and_perhaps_an_asset_and_a_price() {
        let way = |chain, symbol, price| Some(Way { chain, symbol, price });
        for (text, expected) in [
            ("base", way("base", None, "0.01")),
            ("base=0.02", way("base", None, "0.02")),
            ("base/USDC", way("base", Some("USDC"), "0.01")),
            ("eip155:8453/USDC=0.5", way("eip155:8453", Some("USDC"), "0.5")),
            ("base=$0.5", way("base", Some("USDC"), "0.5")),
            ("base=0.5 EURC", way("base", Some("EURC"), "0.5")),
            ("base/EURC=0.5 USDC", None),
        ] {
            assert_eq!(Way::parse(text, "0.01").ok(), expected, "{text}");
        }
    }
}
