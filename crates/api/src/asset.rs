use crate::{
    address,
    fault::Faults,
    manifest::{AssetSpec, Entry, Located, Method, PaymentSpec},
    offer::Terms,
};
use obol_core::{Asset, Chain, TransferMethod};
use std::sync::Arc;

/// The asset that a payment names, or its chain's first.
pub(crate) fn resolve<'a>(
    payment: &Located<PaymentSpec>,
    chain: &Chain,
    terms: Terms<'a>,
    faults: &mut Faults<'_>,
) -> Option<&'a Arc<Asset>> {
    let (asset, line, field) = match &payment.value.asset {
        Entry::Refused => return None,
        Entry::Absent => {
            let network = payment.value.network.read()?;
            let Ok(asset) = terms.registry.default_asset(chain.id) else {
                let why = format!("no asset is known on {}; add one with --chains FILE", chain.name);
                network.refuse(faults, why);
                return None;
            };
            (asset, network.line, network.field.as_str())
        }
        Entry::Read(written) => {
            let asset = named(written, chain, terms, faults)?;
            agreed(&written.value, asset, faults)?;
            (asset, written.line, written.field.as_str())
        }
    };
    if asset.method != TransferMethod::Eip3009 {
        let (symbol, method) = (&asset.symbol, asset.method);
        let why = format!(
            "{symbol} on {} moves by {method}, which is known and not settled yet; name an eip3009 asset",
            chain.name
        );
        faults.add(line, field, why);
        return None;
    }
    Some(asset)
}

pub(crate) const ADD_IT: &str = "; another is added with --chains FILE";

fn named<'a>(
    written: &Located<AssetSpec>,
    chain: &Chain,
    terms: Terms<'a>,
    faults: &mut Faults<'_>,
) -> Option<&'a Arc<Asset>> {
    let (found, source) = match (&written.value.address, &written.value.symbol) {
        (Entry::Refused, _) => return None,
        (Entry::Read(address), _) => match address::parse(&address.value) {
            Ok(parsed) => (terms.registry.asset_at(chain.id, parsed), address),
            Err(error) => {
                address.refuse(faults, error.to_string());
                return None;
            }
        },
        (Entry::Absent, Entry::Refused) => return None,
        (Entry::Absent, Entry::Read(symbol)) => {
            (terms.registry.asset_by_symbol(chain.id, &symbol.value), symbol)
        }
        (Entry::Absent, Entry::Absent) => {
            written.refuse(faults, "name the asset by its symbol or its address");
            return None;
        }
    };
    match found {
        Ok(asset) => Some(asset),
        Err(unknown) => {
            source.refuse(faults, format!("{unknown}{ADD_IT}"));
            None
        }
    }
}

type Said<'a> = (u32, &'a str, String);

fn said(entry: &Entry<String>) -> Option<Said<'_>> {
    entry.read().map(|text| (text.line, text.field.as_str(), text.value.clone()))
}

/// Money is counted by what the registry knows of the asset; a manifest that says otherwise is
/// wrong about one of the two.
fn agreed(written: &AssetSpec, asset: &Asset, faults: &mut Faults<'_>) -> Option<()> {
    let method = written.transfer_method.read().map(|method| {
        let name = match method.value {
            Method::Eip3009 => TransferMethod::Eip3009,
            Method::Permit2 => TransferMethod::Permit2,
        };
        (method.line, method.field.as_str(), name.to_string())
    });
    let decimals =
        written.decimals.read().map(|number| (number.line, number.field.as_str(), number.value.to_string()));
    // Only the symbol is read in any case: the others are signed or counted with as they are.
    let symbol = said(&written.symbol).filter(|(_, _, said)| !said.eq_ignore_ascii_case(&asset.symbol));
    let said_and_known = [
        (symbol, asset.symbol.clone()),
        (decimals, asset.decimals.to_string()),
        (method, asset.method.to_string()),
        (said(&written.eip712_name), asset.domain.name.clone()),
        (said(&written.eip712_version), asset.domain.version.clone()),
    ];
    let mut agreed = Some(());
    for (said, known) in said_and_known {
        if let Some((line, field, said)) = said
            && said != known
        {
            let address = asset.address.to_checksum(None);
            let why = format!(
                "{said:?} is not what is known of {address}: {known:?}; leave it out, or say otherwise \
                 with --chains FILE"
            );
            faults.add(line, field, why);
            agreed = None;
        }
    }
    agreed
}
