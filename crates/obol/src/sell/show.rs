//! What is sold, and how it goes.

use super::{
    args::{FolderArgs, StatusArgs},
    offers::Offers,
    view::{OfferView, OffersView, Sale, SettlementView, StatusView},
};
use crate::{
    exit::Failure,
    ledger::EarningView,
    output::{self, Output, Table},
};
use obol_core::{Offer, Registry};
use obol_ledger::Ledger;

pub(super) fn list(folder: &FolderArgs, output: Output) -> Result<(), Failure> {
    let offers = Offers::read(folder)?;
    let wrong: Vec<_> = offers
        .faults
        .iter()
        .map(ToString::to_string)
        .chain(offers.conflicts().iter().map(ToString::to_string))
        .collect();
    let notes: Vec<_> = offers.notes.iter().map(ToString::to_string).collect();
    match output {
        Output::Json => {
            let listed = offers.found.iter().map(|found| OfferView::new(found, &offers.registry));
            output::print_json(&OffersView { offers: listed.collect(), faults: wrong.clone(), notes });
        }
        Output::Table => {
            let mut table = Table::new(["OFFER", "STATE", "PRICE", "SOLD AT", "UPSTREAM", "FILE"]);
            for found in &offers.found {
                let offer = &found.offer;
                table.row([
                    offer.id.to_string(),
                    standing(offer),
                    prices(offer, &offers.registry),
                    at(offer),
                    upstream(offer).to_owned(),
                    found.file.display().to_string(),
                ]);
            }
            output::print(&table.render());
            also("Not sold as written", &wrong);
            also("Read and not used", &notes);
        }
    }
    as_written(&wrong)
}

/// What is wrong has been shown; a program reads the exit code.
pub(super) fn as_written(wrong: &[String]) -> Result<(), Failure> {
    match wrong.len() {
        0 => Ok(()),
        1 => Err(Failure::differs("1 thing is not sold as it is written")),
        many => Err(Failure::differs(format!("{many} things are not sold as they are written"))),
    }
}

/// Sentences below a table.
pub(super) fn also(title: &str, sentences: &[String]) {
    if !sentences.is_empty() {
        output::print(&format!("\n{title}:\n"));
        sentences.iter().for_each(|sentence| output::print(&format!("  {sentence}\n")));
    }
}

pub(super) async fn status(args: StatusArgs) -> Result<(), Failure> {
    let offers = Offers::read(&args.folder)?;
    let found = offers.named(&args.name)?;
    let id = &found.offer.id;
    let conflict = offers.conflicts().into_iter().find(|conflict| conflict.refused == *id);
    let conflict = conflict.map(|conflict| conflict.to_string());
    let ledger = args.ledger.as_deref().map(|file| {
        Ledger::open_read_only(file).map_err(|error| Failure::config(format!("--ledger: {error}")))
    });
    let (mut earned, mut last) = (Vec::new(), None);
    if let Some(ledger) = ledger.transpose()? {
        let earnings = ledger.earnings().await?;
        earned.extend(
            earnings
                .iter()
                .filter(|earning| earning.offer == *id)
                .map(|earning| EarningView::new(earning, &offers.registry)),
        );
        last = ledger.last_inclusion(id.clone()).await?;
    }
    match args.output {
        Output::Json => {
            let last_settlement =
                last.map(|at| SettlementView { transaction: at.tx.into(), block_timestamp: at.block_time });
            let offer = OfferView::new(found, &offers.registry);
            output::print_json(&StatusView { offer, conflict, earned, last_settlement });
        }
        Output::Table => {
            let offer = &found.offer;
            let mut text = format!(
                "{id}  {}\n  price     {}\n  sold at   {}\n  upstream  {}\n  written   {}:{}\n",
                standing(offer),
                prices(offer, &offers.registry),
                at(offer),
                upstream(offer),
                found.file.display(),
                found.line
            );
            if let Some(conflict) = conflict {
                text.push_str(&format!("  {conflict}\n"));
            }
            for earning in &earned {
                text.push_str(&format!(
                    "  earned    {} on {} in {}\n",
                    earning.human,
                    earning.chain,
                    output::payments(earning.payments)
                ));
            }
            match last {
                Some(at) => {
                    text.push_str(&format!("  last      {} in {}\n", output::time(at.block_time), at.tx))
                }
                None if args.ledger.is_some() => text.push_str("  earned    nothing yet\n"),
                None => {}
            }
            output::print(&text);
        }
    }
    Ok(())
}

/// How an offer is sold now, for people.
fn standing(offer: &Offer) -> String {
    let sale = Sale::of(offer);
    match (&sale, offer.sunset) {
        (Sale::Draining, Some(sunset)) => format!("{} until {}", sale.in_a_word(), output::moment(sunset)),
        _ => sale.in_a_word().to_owned(),
    }
}

pub(super) fn upstream(offer: &Offer) -> &str {
    offer.upstream.base.as_deref().unwrap_or("none: for proxies that ask at /verify")
}

fn at(offer: &Offer) -> String {
    format!("{}{}", offer.host.as_deref().unwrap_or_default(), offer.path)
}

pub(super) fn prices(offer: &Offer, registry: &Registry) -> String {
    let price = |way: &obol_core::Requirement| {
        let chain = registry
            .chain_by_id(way.asset.chain)
            .map_or_else(|_| way.asset.chain.to_string(), |chain| chain.name.clone());
        format!("{} {} on {chain}", way.amount.to_decimal(way.asset.decimals), way.asset.symbol)
    };
    offer.accepts.iter().map(price).collect::<Vec<_>>().join(", ")
}
