//! What is owed, and who has to be there for it to be settled.

use crate::{
    Ledger, LedgerError, Settler,
    op::Op,
    row::{account, chain, number},
    sets::{due, owed},
    txn::Txn,
};
use alloy_primitives::Address;
use obol_core::ChainId;
use std::collections::BTreeMap;

/// Who settles payments in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attendant {
    /// Transactions of this account.
    Settler(Settler),
    /// Facilitators of others, by URL.
    Facilitators(ChainId, Vec<String>),
}

/// Whom a payment waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Awaited {
    /// Any settler of the chain.
    AnySettler,
    /// The account that its transaction is from.
    Settler(Address),
    /// Anybody who settles on the chain: nobody was asked yet.
    Anybody,
    /// The facilitator that was asked.
    Facilitator(String),
}

/// A payment that is owed, as far as that matters here.
struct Owed {
    chain: ChainId,
    is_due: bool,
    /// Whose transaction was signed for it last.
    settler: Option<Address>,
    /// Whether there is a question, and whom it was put to.
    question: Option<Option<String>>,
}

impl Owed {
    fn awaited(&self) -> Awaited {
        match (self.is_due, self.settler, &self.question) {
            (false, Some(settler), _) => Awaited::Settler(settler),
            // What is due again is for whoever sends.
            (true, Some(_), _) => Awaited::AnySettler,
            (_, _, Some(Some(facilitator))) => Awaited::Facilitator(facilitator.clone()),
            (_, _, Some(None)) => Awaited::Anybody,
            (_, _, None) => Awaited::AnySettler,
        }
    }

    fn is_attended(&self, attendants: &[Attendant]) -> bool {
        attendants.iter().any(|attendant| match (attendant, self.awaited()) {
            (Attendant::Settler(at), Awaited::Settler(settler)) => {
                *at == Settler { chain: self.chain, account: settler }
            }
            // A question that was put is not taken back: it is settled by who was asked.
            (Attendant::Settler(_), Awaited::Facilitator(_)) if !self.is_due => false,
            (Attendant::Settler(at), _) => at.chain == self.chain,
            (Attendant::Facilitators(chain, urls), Awaited::Facilitator(asked)) => {
                *chain == self.chain && urls.contains(&asked)
            }
            (Attendant::Facilitators(chain, _), Awaited::Anybody) => *chain == self.chain,
            (Attendant::Facilitators(..), Awaited::Settler(_) | Awaited::AnySettler) => false,
        })
    }
}

impl Ledger {
    /// How many payments are owed that none of these looks after, by chain and by whom they wait for.
    pub async fn unattended(
        &self,
        attendants: Vec<Attendant>,
    ) -> Result<Vec<(ChainId, Awaited, u64)>, LedgerError> {
        let owed = self.writer.write(Op::Read, owed).await?;
        let mut left = BTreeMap::new();
        for (owed, count) in owed.into_iter().filter(|(owed, _)| !owed.is_attended(&attendants)) {
            *left.entry((owed.chain, owed.awaited())).or_insert(0) += count;
        }
        Ok(left.into_iter().map(|((chain, awaited), count)| (chain, awaited, count)).collect())
    }
}

fn owed(txn: &Txn<'_>) -> Result<Vec<(Owed, u64)>, LedgerError> {
    txn.all(
        concat!(
            "SELECT p.chain, p.is_due, b.settler, q.payment IS NOT NULL, q.facilitator, count(*) FROM \
             (SELECT id, chain, batch, ",
            due!(),
            " AS is_due FROM payments WHERE ",
            owed!(),
            ") p LEFT JOIN batches b ON b.id = p.batch LEFT JOIN questions q ON q.payment = p.id \
             GROUP BY 1, 2, 3, 4, 5"
        ),
        [],
        |row| {
            let settler = row.get::<_, Option<Vec<u8>>>(2)?;
            let asked: bool = row.get(3)?;
            let facilitator: Option<String> = row.get(4)?;
            let owed = Owed {
                chain: chain(row.get(0)?),
                is_due: row.get(1)?,
                settler: settler.as_deref().map(account).transpose()?,
                question: asked.then_some(facilitator),
            };
            Ok((owed, number(row.get(5)?)?))
        },
    )
}
