//! What is sold, and how it goes.

use super::{
    args::{FolderArgs, StatusArgs},
    offers::Offers,
};
use crate::{
    exit::Failure,
    ledger::EarningView,
    output::{self, Output, Table},
};
use obol_api::Found;
use obol_core::{Offer, Pattern, Registry};
use obol_ledger::Ledger;
use serde_json::{Value, json};
use std::{fmt, time::SystemTime};

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
            let listed: Vec<_> = offers.found.iter().map(|found| view(found, &offers.registry)).collect();
            output::print(&format!("{}\n", json!({"offers": listed, "faults": wrong, "notes": notes})));
        }
        Output::Table => {
            let mut table = Table::new(["OFFER", "STATE", "PRICE", "SOLD AT", "UPSTREAM", "FILE"]);
            for found in &offers.found {
                let offer = &found.offer;
                table.row([
                    offer.id.to_string(),
                    Standing::of(offer).to_string(),
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
    Ok(())
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
            let mut document = view(found, &offers.registry);
            document["conflict"] = json!(conflict);
            document["earned"] = json!(earned);
            document["last_settlement"] =
                json!(last.map(|at| json!({"transaction": at.tx, "block_timestamp": at.block_time})));
            output::print(&format!("{document}\n"));
        }
        Output::Table => {
            let offer = &found.offer;
            let mut text = format!(
                "{id}  {}\n  price     {}\n  sold at   {}\n  upstream  {}\n  written   {}:{}\n",
                Standing::of(offer),
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
                    "  earned    {} on {} in {} payments\n",
                    earning.human, earning.chain, earning.payments
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

pub(super) fn view(found: &Found, registry: &Registry) -> Value {
    let offer = &found.offer;
    let accepts: Vec<_> = offer
        .accepts
        .iter()
        .map(|way| {
            json!({
                "chain": way.asset.chain.to_string(), "asset_symbol": way.asset.symbol,
                "asset": way.asset.address.to_checksum(None), "amount": way.amount.to_string(),
                "price": way.amount.to_decimal(way.asset.decimals), "pay_to": way.pay_to.to_checksum(None),
                "network": registry.chain_by_id(way.asset.chain).map(|chain| chain.name.clone()).ok(),
            })
        })
        .collect();
    json!({
        "namespace": offer.id.namespace, "name": offer.id.name, "state": Standing::of(offer).word(),
        "sunset": offer.sunset.map(output::moment), "host": offer.host,
        "path": offer.path.as_str(), "matches": matches(offer), "upstream": offer.upstream.base, "description": offer.description,
        "accepts": accepts, "file": found.file, "line": found.line,
    })
}

/// How an offer is sold now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Selling,
    Paused,
    DrainingUntil(SystemTime),
    Drained,
}

impl Standing {
    fn of(offer: &Offer) -> Self {
        match offer.sunset {
            _ if offer.paused => Self::Paused,
            None => Self::Selling,
            Some(_) if offer.is_drained(SystemTime::now()) => Self::Drained,
            Some(sunset) => Self::DrainingUntil(sunset),
        }
    }

    /// In one word.
    const fn word(self) -> &'static str {
        match self {
            Self::Selling => "selling",
            Self::Paused => "paused",
            Self::DrainingUntil(_) => "draining",
            Self::Drained => "drained",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::DrainingUntil(sunset) => write!(f, " until {}", output::moment(*sunset)),
            Self::Selling | Self::Paused | Self::Drained => Ok(()),
        }
    }
}

/// What of its path an offer is sold at.
const fn matches(offer: &Offer) -> &'static str {
    match offer.path {
        Pattern::Below(_) => "below",
        Pattern::Exact(_) => "exact",
        Pattern::Glob(_) => "pattern",
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
