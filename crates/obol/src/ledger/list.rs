//! The newest payments, all or those that are wanted.

use super::{
    PAGE, Source, read,
    view::{PaymentView, human},
};
use crate::{
    exit::Failure,
    output::{self, Output, Table},
};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use obol_core::{OfferId, Registry};
use obol_ledger::{Ledger, LedgerError, PaymentId, PaymentRecord, State};

/// Which payments are listed: all, when it says nothing.
#[derive(Args, Debug, Default)]
pub(super) struct Wanted {
    /// Only payments in this state; repeat for several.
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Vec<State>,
    /// Only payments for this offer, as namespace/name; repeat for several.
    #[arg(long, value_name = "NS/NAME", value_parser = offer)]
    offer: Vec<OfferId>,
}

fn states() -> impl TypedValueParser<Value = State> {
    let known = State::ALL.iter().map(|state| state.as_str());
    PossibleValuesParser::new(known)
        .try_map(|text| State::ALL.iter().find(|state| state.as_str() == text).copied().ok_or("not a state"))
}

fn offer(text: &str) -> Result<OfferId, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(OfferId { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err("write the offer's namespace and name, such as default/hello".to_owned()),
    }
}

impl Wanted {
    fn is_all(&self) -> bool {
        self.state.is_empty() && self.offer.is_empty()
    }

    fn has(&self, record: &PaymentRecord) -> bool {
        (self.state.is_empty() || self.state.contains(&record.state()))
            && (self.offer.is_empty() || self.offer.contains(&record.offer))
    }
}

pub(super) async fn list(
    source: &Source,
    wanted: &Wanted,
    limit: u32,
    output: Output,
) -> Result<(), Failure> {
    let (ledger, registry) = read::open(source)?;
    let records = match wanted.is_all() {
        true => ledger.newest(limit).await?,
        false => newest(&ledger, wanted, limit, PAGE).await?,
    };
    match output {
        Output::Json => {
            let views: Vec<_> = records.iter().map(|record| PaymentView::new(record, &registry)).collect();
            output::print_json(&views);
        }
        Output::Table => output::print(&table(&records, &registry).render()),
    }
    Ok(())
}

/// From the newest payment down, a page at a time: what is wanted may be rare, and the ledger
/// larger than memory.
async fn newest(
    ledger: &Ledger,
    wanted: &Wanted,
    limit: u32,
    page: u32,
) -> Result<Vec<PaymentRecord>, LedgerError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut last = ledger.newest(1).await?.first().map_or(0, |record| record.id.0);
    while last > 0 && found.len() < limit {
        // So many ids from here to the last that all of them are on the page.
        let before = (last - i64::from(page)).max(0);
        let records = ledger.list(PaymentId(before), page).await?;
        found.extend(records.into_iter().rev().filter(|record| record.id.0 <= last && wanted.has(record)));
        last = before;
    }
    found.truncate(limit);
    Ok(found)
}

fn table(records: &[PaymentRecord], registry: &Registry) -> Table {
    let mut table =
        Table::new(["ID", "WHEN", "OFFER", "AMOUNT", "CHAIN", "PAYER", "STATE", "DELIVERY", "TRANSACTION"]);
    for record in records {
        let key = &record.key;
        table.row([
            record.id.0.to_string(),
            output::time(record.created_at.seconds()),
            record.offer.to_string(),
            human(registry, key.chain, key.asset, record.amount),
            key.chain.to_string(),
            key.payer.to_checksum(None),
            record.state().to_string(),
            record.delivery.to_string(),
            PaymentView::new(record, registry)
                .transaction
                .map_or_else(|| "-".to_owned(), |tx| tx.to_string()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256, Bytes, U256};
    use obol_core::{Amount, ChainId, PaymentKey, SettlementCall, TransferMethod};
    use obol_ledger::{Clock, NewPayment, Origin, Place, Proof, Reservation};
    use std::time::Duration;

    fn payment(number: u64) -> NewPayment {
        NewPayment {
            key: PaymentKey {
                chain: ChainId::new(84532),
                asset: Address::repeat_byte(0xa5),
                method: TransferMethod::Eip3009,
                payer: Address::left_padding_from(&(0x1000 + number).to_be_bytes()),
                nonce: B256::from(U256::from(number)),
            },
            payee: Address::repeat_byte(0xbe),
            amount: 10_000.into(),
            call: SettlementCall { token: Address::repeat_byte(0xa5), data: Bytes::new(), deployment: None },
            valid_before: 4_000_000_000,
            offer: named(if number.is_multiple_of(2) { "even" } else { "odd" }),
            origin: Origin { fingerprint: B256::from(U256::from(number)), client: B256::ZERO },
            balance: Amount::from(1_000_000_000),
            verified_block: 7,
            proof: Proof::Signature,
            question: None,
        }
    }

    fn named(name: &str) -> OfferId {
        OfferId { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    /// Payments 1 to 11; 4 and 8 are owed, the others reserved.
    async fn eleven() -> Ledger {
        let ledger = Ledger::open(&Place::Memory, Clock::System, "test").expect("a ledger");
        for number in 1..=11 {
            let reserved = ledger.reserve(payment(number), Duration::from_secs(60)).await;
            let Ok(Reservation::Granted(held)) = reserved else { panic!("not granted: {reserved:?}") };
            if number.is_multiple_of(4) {
                ledger.owe(held, None).await.expect("stored").expect("held");
            }
        }
        ledger
    }

    #[tokio::test]
    async fn what_is_wanted_is_found_on_every_page_newest_first() {
        let ledger = eleven().await;
        let due = || vec![State::Due];
        let both = || vec![State::Due, State::Reserved];
        for (state, offer, limit, expected) in [
            (due(), vec![], 20, vec![8, 4]),
            (due(), vec![], 1, vec![8]),
            (both(), vec![named("even")], 20, vec![10, 8, 6, 4, 2]),
            (vec![], vec![named("odd")], 3, vec![11, 9, 7]),
            (vec![], vec![named("odd"), named("even")], 20, (1..=11).rev().collect()),
            (due(), vec![named("odd")], 20, vec![]),
            (vec![], vec![named("even")], 0, vec![]),
        ] {
            let wanted = Wanted { state, offer };
            for page in [1, 2, 5, 11, 1_000] {
                let found = newest(&ledger, &wanted, limit, page).await.expect("read");
                let ids: Vec<_> = found.iter().map(|record| record.id.0).collect();
                assert_eq!(ids, expected, "{wanted:?} in pages of {page}");
            }
        }
    }

    #[test]
    fn an_offer_is_named_with_its_namespace() {
        assert_eq!(offer("shop/odd"), Ok(named("odd")));
        for text in ["odd", "/odd", "shop/", ""] {
            assert!(offer(text).is_err_and(|why| why.contains("default/hello")), "{text:?}");
        }
    }
}
