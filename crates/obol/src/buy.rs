//! `obol buy probe|pay`

mod args;
mod choice;
mod journal;
mod pay;
mod probe;
mod shop;
mod sign;

pub(crate) use args::BuyArgs;
pub(crate) use probe::{Probed, probe};
pub(crate) use sign::sign;

use crate::exit::Failure;
use args::BuyCommand;

pub(crate) async fn run(args: BuyArgs) -> Result<(), Failure> {
    match args.command {
        BuyCommand::Probe(args) => probe::run(args).await,
        BuyCommand::Pay(args) => pay::run(args).await,
    }
}
