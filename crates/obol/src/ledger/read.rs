//! The commands that only read.

use super::{
    Format, PAGE, Source,
    view::{COLUMNS, EarningView, EventView, PaymentView, human},
};
use crate::{
    exit::Failure,
    output::{self, Output, Table},
};
use obol_core::Registry;
use obol_ledger::{Ledger, LedgerError, Outcome, PaymentId, PaymentRecord};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{self, Write};

pub(super) fn open(source: &Source) -> Result<(Ledger, Registry), Failure> {
    let registry = source.known.registry()?;
    let file = &source.ledger;
    if !file.is_file() {
        return Err(Failure::config(format!(
            "--ledger: there is no file {}; name the ledger that the verifier was started with, which makes it",
            file.display()
        )));
    }
    let ledger =
        Ledger::open_read_only(file).map_err(|error| Failure::config(format!("--ledger: {error}")))?;
    Ok((ledger, registry))
}

/// A payment, and how it came to be what it is.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Story {
    payment: PaymentView,
    /// Each change of its state, from the first.
    events: Vec<EventView>,
}

/// One payment, or a list where the hash is of a transaction that settled several.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Stories {
    One(Box<Story>),
    Several(Vec<Story>),
}

pub(super) async fn show(source: &Source, payment: &str, output: Output) -> Result<(), Failure> {
    let (ledger, registry) = open(source)?;
    let found = match (payment.parse::<i64>(), payment.parse()) {
        (Ok(id), _) => ledger.payment(PaymentId(id)).await?.into_iter().collect(),
        (Err(_), Ok(hash)) => ledger.find(hash).await?,
        (Err(_), Err(_)) => {
            return Err(Failure::failed(format!(
                "{payment:?} is neither a payment's id nor a hash (0x and 64 hex digits); see `obol ledger list`"
            )));
        }
    };
    if found.is_empty() {
        return Err(Failure::failed(format!("the ledger has no payment {payment}; see `obol ledger list`")));
    }
    let mut stories = Vec::new();
    for record in found {
        let events: Vec<_> = ledger.events(record.id).await?.into_iter().map(EventView::from).collect();
        let payment = PaymentView::new(&record, &registry);
        match output {
            Output::Json => stories.push(Story { payment, events }),
            Output::Table => output::print(&in_words(&record, &payment, &events, &registry)),
        }
    }
    if let Output::Json = output {
        output::print_json(&match <[Story; 1]>::try_from(stories) {
            Ok([only]) => Stories::One(Box::new(only)),
            Err(several) => Stories::Several(several),
        });
    }
    Ok(())
}

fn in_words(record: &PaymentRecord, view: &PaymentView, events: &[EventView], registry: &Registry) -> String {
    let key = &record.key;
    let mut text = format!(
        "payment {}  {} for {}\n  from      {}\n  to        {}\n  chain     {}  asset {}\n  nonce     {}\n  \
         state     {}  delivery {}\n",
        view.id,
        human(registry, key.chain, key.asset, record.amount),
        record.offer,
        view.payer,
        view.pay_to,
        view.chain,
        view.asset,
        view.nonce,
        view.state,
        view.delivery,
    );
    if let Some(at) = record.inclusion {
        text.push_str(&format!(
            "  paid in   {}\n  block     {}  {}\n",
            at.tx,
            at.block,
            output::time(at.block_time)
        ));
    } else if let Outcome::Claimed(transaction) = record.outcome() {
        text.push_str(&format!("  claimed   {transaction}: a facilitator says so, nobody has looked\n"));
    }
    text.push('\n');
    let mut table = Table::new(["AT", "FROM", "TO", "DELIVERY", "WHY", "WHO"]);
    for event in events {
        table.row([
            event.at.to_string(),
            event.from.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            event.to.to_string(),
            event.delivery.to_string(),
            event.why.clone(),
            event.who.clone(),
        ]);
    }
    text.push_str(&table.render());
    text
}

pub(super) async fn earnings(source: &Source, output: Output) -> Result<(), Failure> {
    let (ledger, registry) = open(source)?;
    let views: Vec<_> =
        ledger.earnings().await?.iter().map(|earning| EarningView::new(earning, &registry)).collect();
    match output {
        Output::Json => output::print_json(&views),
        Output::Table => output::print(&earnings_table(&views).render()),
    }
    Ok(())
}

fn earnings_table(views: &[EarningView]) -> Table {
    let mut table = Table::new(["OFFER", "CHAIN", "EARNED", "PAYMENTS", "OF THEM FINAL", "CLAIMED"]);
    for view in views {
        table.row([
            format!("{}/{}", view.offer_namespace, view.offer_name),
            view.chain.to_string(),
            view.human.clone(),
            view.payments.to_string(),
            view.settled_payments.to_string(),
            view.human_claimed.clone(),
        ]);
    }
    table
}

pub(super) async fn export(source: &Source, format: Format) -> Result<(), Failure> {
    let (ledger, registry) = open(source)?;
    match write_export(&ledger, &registry, format).await {
        // Its reader has what it wanted.
        Err(Unwritten::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Unwritten::Output(error)) => {
            Err(Failure::failed(format!("cannot write the export: {error}; what is there is not all")))
        }
        Err(Unwritten::Ledger(error)) => Err(error.into()),
        Ok(()) => Ok(()),
    }
}

/// Why an export is not whole.
enum Unwritten {
    Ledger(LedgerError),
    Output(io::Error),
}

impl From<LedgerError> for Unwritten {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<csv::Error> for Unwritten {
    fn from(error: csv::Error) -> Self {
        Self::Output(match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            other => io::Error::other(format!("{other:?}")),
        })
    }
}

async fn write_export(ledger: &Ledger, registry: &Registry, format: Format) -> Result<(), Unwritten> {
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(io::stdout());
    if let Format::Csv = format {
        // Also when there is no payment.
        csv.write_record(COLUMNS.iter().map(|(name, _)| name))?;
    }
    let mut after = PaymentId(0);
    loop {
        let page = ledger.list(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for record in &page {
            let view = PaymentView::new(record, registry);
            match format {
                Format::Csv => csv.serialize(&view)?,
                Format::Jsonl => {
                    let json = serde_json::to_string(&view).map_err(io::Error::from)?;
                    writeln!(io::stdout(), "{json}")?;
                }
            }
        }
    }
    Ok(csv.flush()?)
}
