use crate::{
    address,
    fault::Faults,
    manifest::{AssetSpec, Decimal, Entry, Located, Method, PaymentSpec, Price, Spec},
    offer::Terms,
};
use alloy_primitives::Address;
use obol_core::{Amount, Asset, Chain, Requirement, TransferMethod, Upstream};
use std::{sync::Arc, time::Duration};

const DEFAULT_TIMEOUT_SECONDS: u64 = 300;
const MAX_TIMEOUT_SECONDS: u64 = 86_400;

/// The ways to pay, at least one.
pub(crate) fn make_all(
    spec: &Located<Spec>,
    upstream: Option<&Upstream>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Vec<Requirement>> {
    let written: Vec<&Located<PaymentSpec>> = match (&spec.value.payment, &spec.value.payments) {
        (Entry::Refused, _) | (_, Entry::Refused) => return None,
        (Entry::Read(_), Entry::Read(payments)) => {
            payments.refuse(faults, "does not go with payment; move that one into this list");
            return None;
        }
        (Entry::Absent, Entry::Absent) => {
            spec.lacks(faults, "payment", "say how it is paid: network, payTo and price");
            return None;
        }
        (Entry::Read(payment), Entry::Absent) => vec![payment],
        (Entry::Absent, Entry::Read(payments)) if payments.value.is_empty() => {
            payments.refuse(faults, "is empty; list at least one way to pay");
            return None;
        }
        (Entry::Absent, Entry::Read(payments)) => payments.value.iter().collect(),
    };
    let made: Vec<_> = written.iter().map(|payment| make(payment, upstream, terms, faults)).collect();
    refuse_twins(&written, &made, faults);
    made.into_iter().collect()
}

fn refuse_twins(written: &[&Located<PaymentSpec>], made: &[Option<Requirement>], faults: &mut Faults<'_>) {
    for (index, (payment, requirement)) in written.iter().zip(made).enumerate() {
        let Some(requirement) = requirement else { continue };
        let twin = made[..index].iter().flatten().any(|earlier| {
            (&earlier.asset, earlier.pay_to, earlier.amount)
                == (&requirement.asset, requirement.pay_to, requirement.amount)
        });
        if twin {
            payment
                .refuse(faults, "is the same as an earlier one (chain, asset, payTo and price); remove one");
        }
    }
}

fn make(
    payment: &Located<PaymentSpec>,
    upstream: Option<&Upstream>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Requirement> {
    let asset = chain(payment, terms, faults).and_then(|chain| asset(payment, chain, terms, faults));
    let pay_to = payee(payment, asset, terms, faults);
    let what = "give price.perRequest, such as \"0.01\"";
    let price = payment.value.price.required(payment, "price", what, faults);
    let amount = price.and_then(|price| amount(price, asset, faults));
    let max_timeout_seconds = max_timeout(payment, upstream, terms.limits.settle_and_skew, faults);
    Some(Requirement {
        asset: Arc::clone(asset?),
        pay_to: pay_to?,
        amount: amount?,
        max_timeout_seconds: max_timeout_seconds?,
    })
}

fn chain<'a>(
    payment: &Located<PaymentSpec>,
    terms: Terms<'a>,
    faults: &mut Faults<'_>,
) -> Option<&'a Arc<Chain>> {
    let what = "name the chain, such as base or eip155:8453";
    let network = payment.value.network.required(payment, "network", what, faults)?;
    match terms.registry.chain(&network.value) {
        Ok(chain) => Some(chain),
        Err(unknown) => {
            let names = terms.registry.chains().map(|chain| chain.name.as_str());
            let meant = crate::suggest::did_you_mean(&network.value, names);
            network.refuse(faults, format!("{unknown}; another is added with --chains FILE{meant}"));
            None
        }
    }
}

fn asset<'a>(
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
            let asset = named_asset(written, chain, terms, faults)?;
            if !agrees(&written.value, asset, faults) {
                return None;
            }
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

const ADD_IT: &str = "; another is added with --chains FILE";

fn named_asset<'a>(
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
fn agrees(written: &AssetSpec, asset: &Asset, faults: &mut Faults<'_>) -> bool {
    let method = written.transfer_method.read().map(|method| {
        let name = match method.value {
            Method::Eip3009 => TransferMethod::Eip3009,
            Method::Permit2 => TransferMethod::Permit2,
        };
        (method.line, method.field.as_str(), name.to_string())
    });
    let decimals =
        written.decimals.read().map(|number| (number.line, number.field.as_str(), number.value.to_string()));
    let said_and_known = [
        (said(&written.symbol), asset.symbol.clone()),
        (decimals, asset.decimals.to_string()),
        (method, asset.method.to_string()),
        (said(&written.eip712_name), asset.domain.name.clone()),
        (said(&written.eip712_version), asset.domain.version.clone()),
    ];
    let mut agrees = true;
    for (said, known) in said_and_known {
        if let Some((line, field, said)) = said
            && !said.eq_ignore_ascii_case(&known)
        {
            let address = asset.address.to_checksum(None);
            let why = format!(
                "{said:?} is not what is known of {address}: {known:?}; leave it out, or say otherwise \
                 with --chains FILE"
            );
            faults.add(line, field, why);
            agrees = false;
        }
    }
    agrees
}

fn payee(
    payment: &Located<PaymentSpec>,
    asset: Option<&Arc<Asset>>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Address> {
    let what = "give the address that is paid";
    let written = payment.value.pay_to.required(payment, "payTo", what, faults)?;
    let refusal = match address::parse(&written.value) {
        Err(error) => error.to_string(),
        Ok(payee) if asset.is_some_and(|asset| asset.address == payee) => {
            "is the asset's own address: what is sent there is lost; write the address that is paid"
                .to_owned()
        }
        Ok(payee) if terms.limits.payees.as_ref().is_some_and(|payees| !payees.contains(&payee)) => {
            format!("{} is not among the payees that this seller allows", payee.to_checksum(None))
        }
        Ok(payee) => return Some(payee),
    };
    written.refuse(faults, refusal);
    None
}

fn amount(price: &Located<Price>, asset: Option<&Arc<Asset>>, faults: &mut Faults<'_>) -> Option<Amount> {
    let metered = [&price.value.per_mtok, &price.value.per_hour, &price.value.per_epoch];
    let mut is_metered = false;
    for metered in metered.into_iter().filter_map(Entry::read) {
        metered.refuse(faults, "nothing is metered yet; remove it and give price.perRequest");
        is_metered = true;
    }
    let per_request = match is_metered {
        true => price.value.per_request.read()?,
        false => {
            price.value.per_request.required(price, "perRequest", "give it, such as \"0.01\"", faults)?
        }
    };
    money(per_request, asset?.decimals, faults)
}

/// A sum greater than zero, in atomic units of an asset with `decimals` decimals.
pub(crate) fn money(written: &Located<Decimal>, decimals: u8, faults: &mut Faults<'_>) -> Option<Amount> {
    let Decimal(text) = &written.value;
    let whole = text.split('.').next().unwrap_or_default();
    let refusal = match Amount::parse_price(text, decimals) {
        Ok(amount) if amount.is_zero() => "is zero; an offer has a price".to_owned(),
        // In YAML 1.1, which Kubernetes reads, 010 is eight.
        Ok(_) if whole.len() > 1 && whole.starts_with('0') => {
            format!("{text:?} begins with a zero that some readers take for octal; leave it out")
        }
        Ok(amount) => return Some(amount),
        Err(error) if text.starts_with('$') => {
            format!("{error}; leave the $ out: sums are in the asset's own units")
        }
        Err(error) if text.starts_with('-') => format!("{error}; a price is never negative"),
        Err(error) => error.to_string(),
    };
    written.refuse(faults, refusal);
    None
}

fn max_timeout(
    payment: &Located<PaymentSpec>,
    upstream: Option<&Upstream>,
    settle_and_skew: Duration,
    faults: &mut Faults<'_>,
) -> Option<u64> {
    let (seconds, line, field) = match &payment.value.max_timeout_seconds {
        Entry::Refused => return None,
        Entry::Absent => {
            (DEFAULT_TIMEOUT_SECONDS, payment.line, crate::read::join(&payment.field, "maxTimeoutSeconds"))
        }
        Entry::Read(written) => (written.value, written.line, written.field.clone()),
    };
    if seconds > MAX_TIMEOUT_SECONDS {
        faults.add(line, field, format!("{seconds} is more than a day ({MAX_TIMEOUT_SECONDS} seconds)"));
        return None;
    }
    let least = ceil_seconds(upstream?.header_timeout.saturating_add(settle_and_skew));
    if seconds < least {
        let why = format!(
            "{seconds} seconds are too few for the upstream's timeoutSeconds and the settlement; \
             write at least {least}"
        );
        faults.add(line, field, why);
        return None;
    }
    Some(seconds)
}

fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
