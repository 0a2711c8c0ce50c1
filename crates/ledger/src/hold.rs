//! What a request does with the payment it holds, until the client has its response.

use crate::{
    Delivery, Held, Ledger, LedgerError, PaymentRecord, State, Timestamp, held,
    op::Op,
    sets::{failed, lost, open, owed},
    state::{Owe, Waive},
    txn::{Txn, amount, blob, chain_code},
};
use obol_core::{Amount, Exposure};
use rusqlite::params;

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
                if !held.holds(&record) || !record.state().is_paid() || record.delivery != Delivery::None {
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

/// Whether what was delivered and is not on the chain stays within the ceilings. What was got and
/// never paid for counts for good: otherwise a ceiling would bound a rate, and no loss.
fn within(txn: &Txn<'_>, record: &PaymentRecord, exposure: Exposure) -> Result<bool, LedgerError> {
    let key = &record.key;
    let mut of_payer = txn.all(
        concat!(
            "SELECT amount FROM payments WHERE payer = ?1 AND asset = ?2 AND chain = ?3 AND ",
            open!(),
            " AND state <> 5 AND delivery <> 0 AND offer_namespace = ?4 AND offer_name = ?5"
        ),
        params![
            key.payer.as_slice(),
            key.asset.as_slice(),
            chain_code(key.chain),
            record.offer.namespace,
            record.offer.name
        ],
        |row| amount(blob(row, 0)?),
    )?;
    of_payer.extend(txn.all(
        concat!(
            "SELECT amount FROM payments WHERE payer = ?1 AND asset = ?2 AND chain = ?3 AND ",
            failed!(),
            " AND delivery <> 0 AND offer_namespace = ?4 AND offer_name = ?5"
        ),
        params![
            key.payer.as_slice(),
            key.asset.as_slice(),
            chain_code(key.chain),
            record.offer.namespace,
            record.offer.name
        ],
        |row| amount(blob(row, 0)?),
    )?);
    let mut of_offer = txn.all(
        concat!(
            "SELECT amount FROM payments WHERE offer_namespace = ?1 AND offer_name = ?2 AND asset = ?3 \
             AND chain = ?4 AND delivery <> 0 AND ",
            owed!()
        ),
        params![record.offer.namespace, record.offer.name, key.asset.as_slice(), chain_code(key.chain)],
        |row| amount(blob(row, 0)?),
    )?;
    of_offer.extend(txn.all(
        concat!(
            "SELECT amount FROM payments WHERE offer_namespace = ?1 AND offer_name = ?2 AND asset = ?3 \
             AND chain = ?4 AND ",
            lost!()
        ),
        params![record.offer.namespace, record.offer.name, key.asset.as_slice(), chain_code(key.chain)],
        |row| amount(blob(row, 0)?),
    )?);
    let total = |open: Vec<Amount>| open.into_iter().try_fold(record.amount, Amount::checked_add);
    Ok(total(of_payer).is_some_and(|sum| sum <= exposure.per_payer)
        && total(of_offer).is_some_and(|sum| sum <= exposure.per_offer))
}
