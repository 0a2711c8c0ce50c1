//! Sums of the ledger's journal, over windows that end now. They are derived from rows alone, so
//! that every process on a ledger, and each after a restart, has the same.

use crate::{
    Ledger, LedgerError, Position,
    charges::{Charge, Kind, Spending},
};
use alloy_primitives::{Address, U256};
use obol_core::{Amount, ChainId};
use std::collections::{BTreeMap, HashMap};

/// Rows in one read: the writer serves sales between two of them.
const PAGE: u32 = 1_000;

/// Seconds by which clocks are set back without a word: windows wait for it.
const STEP_BACK: i64 = 2;

const DAY: i64 = 24 * 60 * 60;
const WEEK: i64 = 7 * DAY;

/// Payments, and their amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub payments: u64,
    pub amount: Amount,
}

/// What an offer has earned in one asset. A payment counts from its first inclusion, at its
/// block's time, and once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takings {
    /// Of the last 24 hours.
    pub day: Sum,
    /// Of the last seven days.
    pub week: Sum,
    pub lifetime: Sum,
    /// Counted above, and on the chain no more: without them, lifetime is what the ledger calls earned.
    pub reversed: Sum,
    /// The newest block's time, in seconds since the Unix epoch.
    pub last: Option<i64>,
}

/// Kept up to date by [`Self::follow`].
#[derive(Debug, Default)]
pub struct Books {
    charges_seen: i64,
    spendings_seen: i64,
    positions: HashMap<Position, usize>,
    takings: Vec<Takings>,
    /// Of the last seven days, by the block's time and position.
    recent: BTreeMap<(i64, usize), Sum>,
    /// Of the last 24 hours.
    spent: HashMap<(ChainId, Address), BTreeMap<i64, U256>>,
    /// What is not later is not of the last 24 hours, or seven days.
    day_from: i64,
    week_from: i64,
    /// When it last followed.
    now: i64,
    whole: bool,
}

impl Books {
    /// Reads what is new in the ledger, and lets go of what is out of the windows. The first time it
    /// reads all that was ever earned.
    pub async fn follow(&mut self, ledger: &Ledger) -> Result<(), LedgerError> {
        let now = ledger.clock.now().seconds();
        if now < self.now.saturating_sub(STEP_BACK) {
            // The clock was ahead: what it let go of is read anew.
            *self = Self::default();
        }
        self.now = now;
        self.move_to(now)?;
        loop {
            let page = ledger.charges(self.charges_seen, PAGE).await?;
            let all = page.len() < PAGE as usize;
            for charge in page {
                let seen = charge.seq;
                self.charge(charge)?;
                self.charges_seen = seen;
            }
            if all {
                break;
            }
        }
        loop {
            let page = ledger.spendings(self.spendings_seen, PAGE).await?;
            for spending in &page {
                self.spend(spending);
                self.spendings_seen = spending.seq;
            }
            if page.len() < PAGE as usize {
                self.whole = true;
                return Ok(());
            }
        }
    }

    /// Whether all was read once: before, sums are too small.
    pub const fn are_whole(&self) -> bool {
        self.whole
    }

    /// What was earned there; nothing, if nothing was.
    pub fn takings(&self, position: &Position) -> Takings {
        self.positions.get(position).and_then(|index| self.takings.get(*index)).copied().unwrap_or_default()
    }

    /// What was earned on each chain in each asset, whoever sold it, also what nobody sells any more.
    pub fn by_asset(&self) -> Result<BTreeMap<(ChainId, Address), Takings>, LedgerError> {
        let mut sums: BTreeMap<(ChainId, Address), Takings> = BTreeMap::new();
        for (position, index) in &self.positions {
            let Some(more) = self.takings.get(*index) else { continue };
            let sum = sums.entry((position.chain, position.asset)).or_default();
            *sum = Takings {
                day: plus(sum.day, more.day)?,
                week: plus(sum.week, more.week)?,
                lifetime: plus(sum.lifetime, more.lifetime)?,
                reversed: plus(sum.reversed, more.reversed)?,
                last: sum.last.max(more.last),
            };
        }
        Ok(sums)
    }

    /// What an account has paid for gas in the last 24 hours, in wei.
    pub fn spent(&self, chain: ChainId, settler: Address) -> U256 {
        let spent = self.spent.get(&(chain, settler));
        spent.map_or(U256::ZERO, |spent| spent.values().fold(U256::ZERO, |sum, wei| sum.saturating_add(*wei)))
    }

    fn move_to(&mut self, now: i64) -> Result<(), LedgerError> {
        let (day_from, week_from) = (now.saturating_sub(DAY), now.saturating_sub(WEEK));
        if day_from > self.day_from {
            let left = self.recent.range((self.day_from.saturating_add(1), 0)..=(day_from, usize::MAX));
            for ((_, position), sum) in left {
                if let Some(takings) = self.takings.get_mut(*position) {
                    takings.day = minus(takings.day, *sum)?;
                }
            }
            self.day_from = day_from;
        }
        self.week_from = self.week_from.max(week_from);
        while let Some(first) = self.recent.first_entry().filter(|first| first.key().0 <= self.week_from) {
            let ((_, position), sum) = first.remove_entry();
            if let Some(takings) = self.takings.get_mut(position) {
                takings.week = minus(takings.week, sum)?;
            }
        }
        for spent in self.spent.values_mut() {
            while spent.first_entry().is_some_and(|first| *first.key() <= self.day_from) {
                spent.pop_first();
            }
        }
        Ok(())
    }

    fn charge(&mut self, charge: Charge) -> Result<(), LedgerError> {
        let index = *self.positions.entry(charge.position).or_insert_with(|| {
            self.takings.push(Takings::default());
            self.takings.len() - 1
        });
        let Some(takings) = self.takings.get_mut(index) else { return Ok(()) };
        let sum = Sum { payments: 1, amount: charge.amount };
        match charge.kind {
            Kind::Reversed => takings.reversed = plus(takings.reversed, sum)?,
            Kind::Again => {
                takings.reversed = minus(takings.reversed, sum)?;
                takings.last = takings.last.max(Some(charge.at));
            }
            Kind::First => {
                takings.lifetime = plus(takings.lifetime, sum)?;
                takings.last = takings.last.max(Some(charge.at));
                if charge.at > self.day_from {
                    takings.day = plus(takings.day, sum)?;
                }
                if charge.at > self.week_from {
                    takings.week = plus(takings.week, sum)?;
                    let recent = self.recent.entry((charge.at, index)).or_default();
                    *recent = plus(*recent, sum)?;
                }
            }
        }
        Ok(())
    }

    fn spend(&mut self, spending: &Spending) {
        if spending.at > self.day_from {
            let spent = self.spent.entry(spending.settler).or_default().entry(spending.at).or_default();
            *spent = spent.saturating_add(spending.wei);
        }
    }
}

fn plus(a: Sum, b: Sum) -> Result<Sum, LedgerError> {
    let amount = a.amount.checked_add(b.amount);
    let payments = a.payments.checked_add(b.payments);
    payments.zip(amount).map(|(payments, amount)| Sum { payments, amount }).ok_or_else(wrong)
}

fn minus(a: Sum, b: Sum) -> Result<Sum, LedgerError> {
    let amount = a.amount.checked_sub(b.amount);
    let payments = a.payments.checked_sub(b.payments);
    payments.zip(amount).map(|(payments, amount)| Sum { payments, amount }).ok_or_else(wrong)
}

fn wrong() -> LedgerError {
    LedgerError::Corrupt("the journal of charges adds up to no sum".to_owned())
}
