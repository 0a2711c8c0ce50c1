use crate::{
    fault::Faults,
    manifest::{ChargeSpec, Entry, Located, OptimisticSpec},
    payment::money,
};
use obol_core::{Charge, Exposure, Requirement};

/// `accepts` is none when the payments are at fault themselves.
pub(crate) fn make(
    charge: &Entry<ChargeSpec>,
    accepts: Option<&[Requirement]>,
    faults: &mut Faults<'_>,
) -> Option<Charge> {
    let charge = match charge {
        Entry::Absent => return Some(Charge::BeforeBody),
        Entry::Refused => return None,
        Entry::Read(charge) => charge,
    };
    match &charge.value {
        ChargeSpec::BeforeBody => Some(Charge::BeforeBody),
        ChargeSpec::Optimistic(optimistic) => optimistic_charge(optimistic, accepts, faults),
    }
}

fn optimistic_charge(
    written: &Located<OptimisticSpec>,
    accepts: Option<&[Requirement]>,
    faults: &mut Faults<'_>,
) -> Option<Charge> {
    let what = "say how much may be delivered and not yet settled";
    let per_payer = written.value.per_payer.required(written, "perPayer", what, faults);
    let per_offer = written.value.per_offer.required(written, "perOffer", what, faults);
    let decimals = accepts?.first()?.asset.decimals;
    let per_payer = per_payer.and_then(|sum| money(sum, decimals, faults));
    let per_offer = per_offer.and_then(|sum| money(sum, decimals, faults));
    if let Some(other) = accepts?.iter().find(|requirement| requirement.asset.decimals != decimals) {
        let why = format!(
            "sums of {} decimals ({}) and of {} cannot be added up; charge beforeBody, or accept assets \
             of the same decimals",
            other.asset.decimals, other.asset.symbol, decimals
        );
        written.refuse(faults, why);
        return None;
    }
    Some(Charge::Optimistic(Exposure { per_payer: per_payer?, per_offer: per_offer? }))
}
