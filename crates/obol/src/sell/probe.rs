//! `obol sell probe`

use super::{args::ProbeArgs, offers::Offers, view::ProbedView};
use crate::{
    buy::{Probed, probe},
    exit::Failure,
    output::{self, Output},
};
use obol_core::{Offer, Pattern, Registry, Requirement};
use obol_wire::{Offered, Sale};

pub(super) async fn run(args: ProbeArgs) -> Result<(), Failure> {
    let offers = Offers::read(&args.folder)?;
    let offer = &offers.named(&args.name)?.offer;
    let url = format!("{}{}", args.url.trim_end_matches('/'), one_path(offer));
    let (status, differences) = match probe(&url, offer.host.as_deref(), &offers.registry).await? {
        Probed::Sold(sale) => (402, differences(offer, &sale, &offers.registry)),
        Probed::Otherwise { status, reason } => {
            (status, vec![format!("it is not sold: the answer is {status} ({reason})")])
        }
    };
    let id = &offer.id;
    match args.output {
        Output::Json => output::print_json(&ProbedView {
            namespace: &id.namespace,
            name: &id.name,
            url: &url,
            status,
            agrees: differences.is_empty(),
            differences: &differences,
        }),
        Output::Table if differences.is_empty() => {
            output::print(&format!("{id} is sold at {url} as it is written.\n"));
        }
        Output::Table => differences.iter().for_each(|differs| output::print(&format!("{differs}\n"))),
    }
    match differences.len() {
        0 => Ok(()),
        n => Err(Failure::differs(format!("{id} is not sold at {url} as it is written ({n} differences)"))),
    }
}

/// A path at which the offer is sold.
fn one_path(offer: &Offer) -> String {
    match &offer.path {
        Pattern::Below(path) | Pattern::Exact(path) => path.clone(),
        Pattern::Glob(pattern) => pattern.replace('*', "probe"),
    }
}

/// What the challenge says otherwise than the manifest, a sentence each.
fn differences(offer: &Offer, sale: &Sale, registry: &Registry) -> Vec<String> {
    let mut asked: Vec<&Offered> = sale.offered.iter().collect();
    let mut written: Vec<&Requirement> = offer.accepts.iter().collect();
    written.retain(|way| match asked.iter().position(|other| is_same(way, other)) {
        Some(at) => {
            asked.remove(at);
            false
        }
        None => true,
    });
    let mut told = Vec::new();
    for way in written {
        let of_chain = |other: &&Offered| other.chain == way.asset.chain;
        let alike = asked.iter().position(|other| of_chain(other) && other.asset == way.asset.address);
        let Some(at) = alike.or_else(|| asked.iter().position(of_chain)) else {
            told.push(format!("{} is written, and not asked for", way_text(way)));
            continue;
        };
        let other = asked.remove(at);
        let chain = way.asset.chain;
        if other.asset != way.asset.address {
            let (ours, theirs) = (way.asset.address.to_checksum(None), other.asset.to_checksum(None));
            told.push(format!("asset on {chain}: {ours} is written, {theirs} is asked for"));
        }
        if other.amount != way.amount {
            let theirs = match registry.asset_at(other.chain, other.asset) {
                Ok(asset) => format!("{} {}", other.amount.to_decimal(asset.decimals), asset.symbol),
                Err(_) => format!("{} atomic units", other.amount),
            };
            told.push(format!("amount on {chain}: {} is written, {theirs} is asked for", price(way)));
        }
        if other.pay_to != way.pay_to {
            let (ours, theirs) = (way.pay_to.to_checksum(None), other.pay_to.to_checksum(None));
            told.push(format!("payee on {chain}: {ours} is written, {theirs} is asked for"));
        }
    }
    let more = asked.iter().map(|other| {
        let (amount, asset) = (other.amount, other.asset.to_checksum(None));
        format!("{amount} atomic units of {asset} on {} are asked for, and not written", other.chain)
    });
    told.extend(more);
    told
}

fn is_same(way: &Requirement, other: &Offered) -> bool {
    (way.asset.chain, way.asset.address, way.pay_to, way.amount)
        == (other.chain, other.asset, other.pay_to, other.amount)
}

fn price(way: &Requirement) -> String {
    format!("{} {}", way.amount.to_decimal(way.asset.decimals), way.asset.symbol)
}

fn way_text(way: &Requirement) -> String {
    format!("{} on {}", price(way), way.asset.chain)
}
