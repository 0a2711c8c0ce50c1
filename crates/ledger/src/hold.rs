//! What a request does with the payment it holds, until the client has its response.

use crate::{
    Delivery, Held, Ledger, LedgerError, PaymentRecord, State, Timestamp, held,
    op::Op,
    row::{amount, blob, chain_code},
    sets::{included, lost, open, owed},
    state::{Owe, Waive},
    txn::Txn,
};
use obol_core::{Amount, Exposure};
use rusqlite::{ToSql, params};

/// The hold was lost: it ran out, and somebody else moved the payment. Send nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hold on the payment was lost; it is {0} now")]
pub struct Lost(pub State);

/// How an owed payment goes on.
#[derive(Debug)]
pub enum Owing {
    /// Wait for the settlement, then deliver.
    SettleFirst(Held<held::Owed>),
    /// Deliver now; it settles later, within the offer's exposure.
    Deliver(Held<held::Delivering>),
}

impl Ledger {
    /// The upstream did its part. With `exposure` the response may go out before the money,
    /// as long as what is out stays within it.
    pub async fn owe(
        &self,
        held: Held<held::Reserved>,
        exposure: Option<Exposure>,
    ) -> Result<Result<Owing, Lost>, LedgerError> {
        let again = held.again();
        let owed = self.writer.write(Op::Owe, move |txn| owe(txn, held, exposure)).await;
        if let Err(LedgerError::Unavailable(_)) = owed {
            self.take_back_later(Op::Release, again);
        }
        owed
    }

    /// Allows without settlement, for good.
    pub async fn waive(&self, held: Held<held::Reserved>) -> Result<Result<(), Lost>, LedgerError> {
        self.writer
            .write(Op::Waive, move |txn| {
                let record = load(txn, &held)?;
                if !held.holds(&record) {
                    return Ok(Err(Lost(record.state())));
                }
                let waived = txn.follow::<Waive>(record, "verifyOnly", |record| {
                    record.held_until = Timestamp(0);
                    record.delivery = Delivery::Done;
                })?;
                Ok(waived.map(drop).map_err(|record| Lost(record.state())))
            })
            .await
    }

    /// Commits that the first byte may leave. Whoever loses here sends nothing.
    pub async fn start_delivery(
        &self,
        held: Held<held::Owed>,
    ) -> Result<Result<Held<held::Delivering>, Lost>, LedgerError> {
        let again = held.again();
        let started = self
            .writer
            .write(Op::StartDelivery, move |txn| {
                let record = load(txn, &held)?;
                if !held.holds(&record) || !record.state().is_earned() || record.delivery != Delivery::None {
                    return Ok(Err(Lost(record.state())));
                }
                txn.amend(record, "delivery started", |record| {
                    record.delivery = Delivery::Started;
                    record.held_until = Timestamp(0);
                })?;
                Ok(Ok(held.becomes()))
            })
            .await;
        if let Err(LedgerError::Unavailable(_)) = started {
            self.take_back_later(Op::LetGo, again);
        }
        started
    }
}

pub(crate) fn load<S>(txn: &Txn<'_>, held: &Held<S>) -> Result<PaymentRecord, LedgerError> {
    txn.payment(held.id)?
        .ok_or_else(|| LedgerError::Corrupt(format!("payment {} is held but not stored", held.id.0)))
}

fn owe(
    txn: &Txn<'_>,
    held: Held<held::Reserved>,
    exposure: Option<Exposure>,
) -> Result<Result<Owing, Lost>, LedgerError> {
    let record = load(txn, &held)?;
    if !held.holds(&record) {
        return Ok(Err(Lost(record.state())));
    }
    // A stranger may have settled it meanwhile: then nothing is owed any more, and all is well.
    if record.state().is_paid() && record.delivery == Delivery::None {
        return Ok(Ok(Owing::SettleFirst(held.becomes())));
    }
    let deliver = match exposure {
        Some(exposure) => within(txn, &record, exposure)?,
        None => false,
    };
    let why = if deliver { "upstream succeeded; delivered before settlement" } else { "upstream succeeded" };
    let owed = txn.follow::<Owe>(record, why, |record| {
        if deliver {
            record.delivery = Delivery::Started;
            record.held_until = Timestamp(0);
        }
    })?;
    Ok(match owed {
        Err(record) => Err(Lost(record.state())),
        Ok(_) if deliver => Ok(Owing::Deliver(held.becomes())),
        Ok(_) => Ok(Owing::SettleFirst(held.becomes())),
    })
}

macro_rules! delivered {
    ($($condition:tt)+) => {
        concat!(
            "SELECT amount FROM payments WHERE asset = ?1 AND chain = ?2 AND offer_namespace = ?3 \
             AND offer_name = ?4 AND delivery <> 0 AND ",
            $($condition)+
        )
    };
}

/// What one payer got of an offer and has not paid, by where it is.
const OF_PAYER: [&str; 2] = [
    delivered!("payer = ?5 AND ", open!(), " AND NOT (", included!(), ")"),
    delivered!("payer = ?5 AND ", lost!()),
];

/// What all payers got of it.
const OF_OFFER: [&str; 2] = [delivered!(owed!()), delivered!(lost!())];

/// Whether what was delivered and is not on the chain stays within the ceilings. What was got and
/// never paid for counts for good: otherwise a ceiling would bound a rate, and no loss.
fn within(txn: &Txn<'_>, record: &PaymentRecord, exposure: Exposure) -> Result<bool, LedgerError> {
    let fits = |queries: [&str; 2], params: &[&dyn ToSql], ceiling: Amount| {
        let mut sum = Some(record.amount);
        for sql in queries {
            for unpaid in txn.all(sql, params, |row| amount(blob(row, 0)?))? {
                sum = sum.and_then(|sum| sum.checked_add(unpaid));
            }
        }
        Ok::<_, LedgerError>(sum.is_some_and(|sum| sum <= ceiling))
    };
    let (key, offer) = (&record.key, &record.offer);
    let (asset, chain, payer) = (key.asset.as_slice(), chain_code(key.chain), key.payer.as_slice());
    let of_payer = params![asset, chain, offer.namespace, offer.name, payer];
    let of_offer = params![asset, chain, offer.namespace, offer.name];
    Ok(fits(OF_PAYER, of_payer, exposure.per_payer)? && fits(OF_OFFER, of_offer, exposure.per_offer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_is_read_by_indexes_that_hold_only_what_counts() {
        let db = crate::schema::open(&crate::Place::Memory).expect("a ledger");
        let plan = |sql: &str| -> String {
            db.query_row(
                &format!("EXPLAIN QUERY PLAN {sql}"),
                rusqlite::params_from_iter(vec![0; sql.matches('?').count()]),
                |row| row.get("detail"),
            )
            .expect("a plan")
        };
        let plans = [OF_PAYER, OF_OFFER].concat().into_iter().map(plan).collect::<Vec<_>>();
        let indexes = ["open_by_payer", "lost_by_offer", "exposed_by_offer", "lost_by_offer"];
        for (plan, index) in plans.iter().zip(indexes) {
            assert!(plan.starts_with("SEARCH") && plan.contains(&format!(" {index} ")), "{plan}");
        }
    }
}
