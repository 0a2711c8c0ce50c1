//! `obol buy probe`

use super::{
    args::{ProbeArgs, RequestArgs},
    choice::ways,
    shop::Shop,
    view::{ProbeView, WayView},
};
use crate::{
    exit::Failure,
    output::{self, Output, Table},
};
use obol_core::Registry;
use obol_wire::Sale;

/// What a seller says to a request without a payment.
#[derive(Debug)]
pub(crate) enum Probed {
    Sold(Sale),
    /// With the reason that is given for it.
    Otherwise {
        status: u16,
        reason: String,
    },
}

/// Asks as a client does that pays nothing. `host` is named in the place of the address's own.
pub(crate) async fn probe(url: &str, host: Option<&str>, registry: &Registry) -> Result<Probed, Failure> {
    let header = host.iter().map(|host| format!("host: {host}")).collect();
    let request = RequestArgs { url: url.to_owned(), method: None, data: None, header, timeout: PATIENCE };
    ask(&Shop::new(&request)?, registry).await
}

/// Seconds that a seller may take for a challenge.
const PATIENCE: u64 = 30;

async fn ask(shop: &Shop, registry: &Registry) -> Result<Probed, Failure> {
    let answer =
        shop.ask(None).await.map_err(|error| Failure::unavailable(format!("{}: {error}", shop.url)))?;
    Ok(match answer.status {
        402 => Probed::Sold(answer.sale(registry)?),
        status => Probed::Otherwise { status, reason: answer.reason() },
    })
}

pub(super) async fn run(args: ProbeArgs) -> Result<(), Failure> {
    let registry = args.known.registry()?;
    let shop = Shop::new(&args.request)?;
    let sale = match ask(&shop, &registry).await? {
        Probed::Sold(sale) => sale,
        Probed::Otherwise { status, reason } => {
            match args.output {
                Output::Json => output::print_json(&ProbeView { status, ways: Vec::new(), refused: None }),
                Output::Table if status < 400 => {
                    output::print(&format!("{} answers {status} without a payment.\n", shop.url));
                }
                Output::Table => {}
            }
            let answers = || format!("{} answers {status} ({reason}), and asks no payment", shop.url);
            return match status {
                ..400 => Ok(()),
                400..500 => Err(Failure::failed(answers())),
                500.. => Err(Failure::unavailable(answers())),
            };
        }
    };
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
