//! `obol buy probe|pay`

mod args;
mod choice;
mod journal;
mod pay;
mod probe;
mod shop;
mod sign;
mod view;

pub(crate) use args::BuyArgs;
pub(crate) use probe::{Probed, probe};
pub(crate) use sign::sign;
pub(crate) use view::{ProbeView, PurchaseView};

use crate::exit::Failure;
use args::BuyCommand;

pub(crate) async fn run(args: BuyArgs) -> Result<(), Failure> {
    match args.command {
        BuyCommand::Probe(args) => probe::run(args).await,
        BuyCommand::Pay(args) => pay::run(args).await,
    }
}
