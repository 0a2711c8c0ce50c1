//! `obol buy probe`

use super::{
    args::ProbeArgs,
    choice::ways,
    shop::Shop,
    view::{ProbeView, WayView},
};
use crate::{
    exit::Failure,
    output::{self, Output, Table},
};

pub(super) async fn run(args: ProbeArgs) -> Result<(), Failure> {
    let registry = args.known.registry()?;
    let shop = Shop::new(&args.request)?;
    let answer =
        shop.ask(None).await.map_err(|error| Failure::unavailable(format!("{}: {error}", shop.url)))?;
    if answer.status != 402 {
        return match args.output {
            Output::Json => {
                output::print_json(&ProbeView { status: answer.status, ways: Vec::new(), refused: None });
                Ok(())
            }
            Output::Table => {
                output::print(&format!("{} answers {} without a payment.\n", shop.url, answer.status));
                Ok(())
            }
        };
    }
    let sale = answer.sale(&registry)?;
    let (ways, unknown) = ways(&sale, &registry);
    match args.output {
        Output::Json => {
            let ways = ways.iter().map(WayView::from).collect();
            output::print_json(&ProbeView { status: 402, ways, refused: Some(unknown) });
        }
        Output::Table => {
            let mut table = Table::new(["PRICE", "CHAIN", "PAY TO", "ASSET"]);
            for way in &ways {
                table.row([
                    way.price(),
                    way.offered.chain.to_string(),
                    way.offered.pay_to.to_checksum(None),
                    way.offered.asset.to_checksum(None),
                ]);
            }
            output::print(&table.render());
            for why in unknown {
                output::print(&format!("Not payable here: {why}.\n"));
            }
        }
    }
    Ok(())
}
