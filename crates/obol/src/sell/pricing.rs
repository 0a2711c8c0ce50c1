//! `obol sell pricing`

use super::{
    args::PricingArgs,
    offers::{Write, write},
    show,
    view::{OfferView, PricingView},
};
use crate::{
    exit::Failure,
    output::{self, Output, Table},
};
use obol_api::{Limits, Pricing, PricingField, set_pricing};
use obol_core::{Offer, Pattern, Registry, Routes};
use obol_facilitator::Timing;
use std::{fs, io, path::Path, sync::Arc};

const NEW: &str = "\
# Static routes, written by obol sell and yours from now on: docs/pricing.md says what a route holds.
routes: []
";

pub(super) fn run(args: &PricingArgs) -> Result<(), Failure> {
    let registry = args.known.registry()?;
    let timing = Timing::default();
    let limits = Limits { settle_and_skew: timing.settle_budget + timing.clock_skew, payees: None };
    let file = &args.pricing;
    // Written last is first in a new file.
    let values = [(PricingField::Chain, &args.chain), (PricingField::Wallet, &args.wallet)];
    let values: Vec<_> =
        values.into_iter().filter_map(|(field, value)| Some((field, value.as_ref()?))).collect();
    let (mut text, how) = match fs::read_to_string(file) {
        Ok(text) => (text, Write::Over),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !values.is_empty() => {
            (NEW.to_owned(), Write::New)
        }
        Err(error) => {
            return Err(Failure::config(format!(
                "--pricing: {} cannot be read: {error}; with --wallet and --chain it is made",
                file.display()
            )));
        }
    };
    if values.is_empty() {
        let pricing = Pricing::parse(&text, file, &registry, &limits);
        return show::as_written(&show(&pricing, &registry, args.output));
    }
    for (field, value) in values {
        text = set_pricing(&text, file, (field, value), (&registry, &limits))
            .map_err(|error| Failure::config(format!("--{field}: {error}; nothing was written")))?;
    }
    write(file, &text, how)?;
    show(&Pricing::parse(&text, file, &registry, &limits), &registry, args.output);
    told(file, args.output);
    Ok(())
}

/// The pattern as it is written, after its host.
fn at(offer: &Offer) -> String {
    let host = offer.host.as_deref().unwrap_or_default();
    match &offer.path {
        Pattern::Below(path) => format!("{host}{}/*", path.trim_end_matches('/')),
        Pattern::Exact(path) | Pattern::Glob(path) => format!("{host}{path}"),
    }
}

fn told(file: &Path, output: Output) {
    if output == Output::Table {
        output::print(&format!("\n{} is written.\n", file.display()));
    }
}

/// Gives what is wrong.
fn show(pricing: &Pricing, registry: &Registry, output: Output) -> Vec<String> {
    let (_, conflicts) = Routes::compile(pricing.routes.iter().map(|route| Arc::clone(&route.offer)));
    let faults = pricing.faults.iter().map(ToString::to_string);
    let wrong: Vec<_> = faults.chain(conflicts.iter().map(ToString::to_string)).collect();
    let notes: Vec<_> = pricing.notes.iter().map(ToString::to_string).collect();
    match output {
        Output::Json => {
            let routes = pricing.routes.iter().map(|route| OfferView::new(route, registry));
            output::print_json(&PricingView {
                wallet: pricing.wallet.as_deref(),
                chain_name: pricing.chain.as_deref(),
                routes: routes.collect(),
                faults: wrong.clone(),
                notes,
            });
        }
        Output::Table => {
            let usual = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            output::print(&format!(
                "wallet  {}\nchain   {}\n\n",
                usual(&pricing.wallet),
                usual(&pricing.chain)
            ));
            let mut table = Table::new(["PATTERN", "PRICE", "PAID TO", "UPSTREAM", "OFFER"]);
            for route in &pricing.routes {
                let offer = &route.offer;
                let mut payees: Vec<_> =
                    offer.accepts.iter().map(|way| way.pay_to.to_checksum(None)).collect();
                payees.dedup();
                table.row([
                    at(offer),
                    show::prices(offer, registry),
                    payees.join(", "),
                    show::upstream(offer).to_owned(),
                    offer.id.to_string(),
                ]);
            }
            output::print(&table.render());
            show::also("Not sold as written", &wrong);
            show::also("Read and not used", &notes);
        }
    }
    wrong
}
