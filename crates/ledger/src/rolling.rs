//! Sums over windows that end now, kept up to date as time goes by.

use crate::LedgerError;
use obol_core::Amount;
use std::collections::BTreeMap;

/// In seconds.
pub(crate) const DAY: i64 = 24 * 60 * 60;
const WEEK: i64 = 7 * DAY;

/// Payments, and their amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub payments: u64,
    pub amount: Amount,
}

/// The same over windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Of the last 24 hours.
    pub day: Sum,
    /// Of the last seven days.
    pub week: Sum,
    pub lifetime: Sum,
}

impl Windows {
    /// Both together.
    pub(crate) fn plus(self, more: Self) -> Result<Self, LedgerError> {
        Ok(Self {
            day: plus(self.day, more.day)?,
            week: plus(self.week, more.week)?,
            lifetime: plus(self.lifetime, more.lifetime)?,
        })
    }
}

/// Sums of several things, each known by its index.
#[derive(Debug, Default)]
pub(crate) struct Rolling {
    sums: Vec<Windows>,
    /// Of the last seven days, by time and index.
    recent: BTreeMap<(i64, usize), Sum>,
    /// What is not later is not of the last 24 hours, or seven days.
    day_from: i64,
    week_from: i64,
}

impl Rolling {
    pub(crate) fn of(&self, index: usize) -> Windows {
        self.sums.get(index).copied().unwrap_or_default()
    }

    /// Lets go of what is out of the windows. Time that goes back changes nothing.
    pub(crate) fn move_to(&mut self, now: i64) -> Result<(), LedgerError> {
        let (day_from, week_from) = (now.saturating_sub(DAY), now.saturating_sub(WEEK));
        if day_from > self.day_from {
            let left = self.recent.range((self.day_from.saturating_add(1), 0)..=(day_from, usize::MAX));
            for ((_, index), sum) in left {
                if let Some(windows) = self.sums.get_mut(*index) {
                    windows.day = minus(windows.day, *sum)?;
                }
            }
            self.day_from = day_from;
        }
        self.week_from = self.week_from.max(week_from);
        while let Some(first) = self.recent.first_entry().filter(|first| first.key().0 <= self.week_from) {
            let ((_, index), sum) = first.remove_entry();
            if let Some(windows) = self.sums.get_mut(index) {
                windows.week = minus(windows.week, sum)?;
            }
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, index: usize, at: i64, sum: Sum) -> Result<(), LedgerError> {
        self.change(index, at, |of| plus(of, sum))
    }

    /// What was added at that time is no part of it any more.
    pub(crate) fn take_back(&mut self, index: usize, at: i64, sum: Sum) -> Result<(), LedgerError> {
        self.change(index, at, |of| minus(of, sum))
    }

    fn change(
        &mut self,
        index: usize,
        at: i64,
        changed: impl Fn(Sum) -> Result<Sum, LedgerError>,
    ) -> Result<(), LedgerError> {
        if self.sums.len() <= index {
            self.sums.resize(index.saturating_add(1), Windows::default());
        }
        let Some(windows) = self.sums.get_mut(index) else { return Ok(()) };
        windows.lifetime = changed(windows.lifetime)?;
        if at > self.day_from {
            windows.day = changed(windows.day)?;
        }
        if at > self.week_from {
            windows.week = changed(windows.week)?;
            let recent = self.recent.entry((at, index)).or_default();
            *recent = changed(*recent)?;
        }
        Ok(())
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
    LedgerError::Corrupt("the journal of what was earned adds up to no sum".to_owned())
}
