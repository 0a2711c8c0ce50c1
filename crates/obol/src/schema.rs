//! `obol schema`: what each command prints with `--output json`, as JSON Schema.

use crate::{buy, chains, demo, exit::Failure, ledger, output, sell, wallet};
use clap::Args;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};

const EXAMPLE: &str = "\
Examples:
  obol schema                  the commands that have one
  obol schema ledger list      what `obol ledger list --output json` prints";

/// Prints the JSON Schema of what a command prints with --output json.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct SchemaArgs {
    /// The command, such as `ledger list`; without one, the commands that have a schema are listed.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// What one command prints.
pub(crate) struct Document {
    /// Its words, after `obol`.
    pub(crate) command: &'static str,
    /// Which flag asks for JSON.
    flag: &'static str,
    form: fn() -> Schema,
}

impl Document {
    const fn of<T: JsonSchema>(command: &'static str) -> Self {
        Self { command, flag: "--output json", form: form::<T> }
    }

    /// As it is printed and published.
    pub(crate) fn schema(&self) -> Schema {
        let mut schema = (self.form)();
        schema.insert("title".to_owned(), format!("obol {} {}", self.command, self.flag).into());
        schema
    }
}

/// `docs/schemas/` has a file for each.
pub(crate) const DOCUMENTS: &[Document] = &[
    Document::of::<buy::PurchaseView<'_>>("buy pay"),
    Document::of::<buy::ProbeView<'_>>("buy probe"),
    Document::of::<Vec<chains::CheckView>>("chains check"),
    Document::of::<Vec<chains::AssetView<'_>>>("chains list"),
    Document::of::<demo::DemoView>("demo"),
    Document::of::<Vec<ledger::EarningView>>("ledger earnings"),
    Document { flag: "--format jsonl, each line", ..Document::of::<ledger::PaymentView>("ledger export") },
    Document::of::<Vec<ledger::PaymentView>>("ledger list"),
    Document::of::<ledger::Comparison>("ledger reconcile"),
    Document::of::<ledger::Stories>("ledger show"),
    Document::of::<ledger::Comparison>("ledger verify"),
    Document::of::<sell::OffersView<'_>>("sell list"),
    Document::of::<sell::PricingView<'_>>("sell pricing"),
    Document::of::<sell::ProbedView<'_>>("sell probe"),
    Document::of::<sell::StatusView<'_>>("sell status"),
    Document::of::<wallet::AddressView>("wallet address"),
    Document::of::<wallet::BalancesView>("wallet balance"),
    Document::of::<wallet::WalletView<'_>>("wallet import"),
    Document::of::<Vec<wallet::WalletView<'_>>>("wallet list"),
    Document::of::<wallet::WalletView<'_>>("wallet new"),
];

/// What is printed, not what could be read.
fn form<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

pub(crate) fn run(args: &SchemaArgs) -> Result<(), Failure> {
    let asked = args.command.join(" ");
    if asked.is_empty() {
        DOCUMENTS.iter().for_each(|document| output::print(&format!("{}\n", document.command)));
        return Ok(());
    }
    let document = DOCUMENTS.iter().find(|document| document.command == asked).ok_or_else(|| {
        Failure::failed(format!("{asked:?} has no schema; `obol schema` lists the commands that have one"))
    })?;
    output::pretty(document.schema().as_value())
}
