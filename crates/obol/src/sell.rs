//! `obol sell http|inference|list|status|pause|resume|delete`

mod args;
mod change;
mod create;
mod offers;
mod show;
mod view;

pub(crate) use args::SellArgs;
pub(crate) use view::{OffersView, StatusView};

use crate::exit::Failure;
use args::SellCommand;

pub(crate) async fn run(args: SellArgs) -> Result<(), Failure> {
    match args.command {
        SellCommand::Http(new) => create::http(*new),
        SellCommand::Inference(new) => create::inference(*new),
        SellCommand::List { folder, output } => show::list(&folder, output),
        SellCommand::Status(status) => show::status(status).await,
        SellCommand::Pause { folder, name } => change::pause(&folder, &name, true),
        SellCommand::Resume { folder, name } => change::pause(&folder, &name, false),
        SellCommand::Delete { folder, name } => change::delete(&folder, &name),
    }
}
