//! `obol sell http|inference|list|status|pause|drain|resume|delete|pricing|probe`

mod args;
mod change;
mod create;
mod offers;
mod pricing;
mod probe;
mod show;
mod view;

pub(crate) use args::SellArgs;
pub(crate) use view::{OffersView, PricingView, ProbedView, StatusView};

use crate::exit::Failure;
use args::SellCommand;

pub(crate) async fn run(args: SellArgs) -> Result<(), Failure> {
    match args.command {
        SellCommand::Http(new) => create::http(*new),
        SellCommand::Inference(new) => create::inference(*new),
        SellCommand::List { folder, output } => show::list(&folder, output),
        SellCommand::Status(status) => show::status(status).await,
        SellCommand::Pause { folder, name } => change::pause(&folder, &name),
        SellCommand::Drain { folder, name, grace } => change::drain(&folder, &name, &grace),
        SellCommand::Resume { folder, name } => change::resume(&folder, &name),
        SellCommand::Delete { folder, name } => change::delete(&folder, &name),
        SellCommand::Pricing(args) => pricing::run(&args),
        SellCommand::Probe(args) => probe::run(args).await,
    }
}
