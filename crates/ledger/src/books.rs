//! Sums of the ledger's journal, over windows that end now. They are derived from rows alone, so
//! that every process on a ledger, and each after a restart, has the same.

use crate::{
    Ledger, LedgerError, Position,
    journal::{ChargeRow, ClaimRow, Kind, Rows, Seen, SpendingRow},
    newest::Newest,
    rolling::{DAY, Rolling, Sum, Windows},
};
use alloy_primitives::{Address, U256};
use obol_core::ChainId;
use std::collections::{BTreeMap, HashMap};

/// Rows of a kind in one read: the writer serves sales between two of them.
const PAGE: u32 = 1_000;

/// Seconds by which clocks are set back without a word: windows wait for it.
const STEP_BACK: i64 = 2;

/// What an offer has earned in one asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takings {
    /// A payment counts from its first inclusion, at its block's time, and once.
    pub charged: Windows,
    /// Counted there, at the same time, and on the chain no more: without them it is what the ledger calls
    /// earned.
    pub reversed: Windows,
    /// Block time of the newest payment that is on the chain, in seconds since the Unix epoch.
    pub last: Option<i64>,
    /// What a facilitator says is settled, at the time when it said so, as long as the chain does not tell.
    pub claimed: Windows,
}

/// Kept up to date by [`Self::follow`].
#[derive(Debug, Default)]
pub struct Books {
    seen: Seen,
    positions: HashMap<Position, usize>,
    charged: Rolling,
    claimed: Rolling,
    reversed: Rolling,
    /// By the index of their position.
    newest: Vec<Newest>,
    /// Of the last 24 hours.
    spent: HashMap<(ChainId, Address), BTreeMap<i64, U256>>,
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
            let Rows { charges, claims, spendings } = ledger.journal(self.seen, PAGE).await?;
            let last =
                [charges.len(), claims.len(), spendings.len()].iter().all(|rows| *rows < PAGE as usize);
            for row in charges {
                let seq = row.seq;
                self.charge(row)?;
                self.seen.charges = seq;
            }
            for row in claims {
                let seq = row.seq;
                self.claim(row)?;
                self.seen.claims = seq;
            }
            for row in spendings {
                let seq = row.seq;
                self.spend(&row);
                self.seen.spendings = seq;
            }
            if last {
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
        self.positions.get(position).map_or_else(Takings::default, |index| self.at(*index))
    }

    /// What was earned on each chain in each asset, whoever sold it, also what nobody sells any more.
    pub fn by_asset(&self) -> Result<BTreeMap<(ChainId, Address), Takings>, LedgerError> {
        let mut sums: BTreeMap<(ChainId, Address), Takings> = BTreeMap::new();
        for (position, index) in &self.positions {
            let more = self.at(*index);
            let sum = sums.entry((position.chain, position.asset)).or_default();
            *sum = Takings {
                charged: sum.charged.plus(more.charged)?,
                reversed: sum.reversed.plus(more.reversed)?,
                last: sum.last.max(more.last),
                claimed: sum.claimed.plus(more.claimed)?,
            };
        }
        Ok(sums)
    }

    /// What an account has paid for gas in the last 24 hours, in wei.
    pub fn spent(&self, chain: ChainId, settler: Address) -> U256 {
        let spent = self.spent.get(&(chain, settler));
        spent.map_or(U256::ZERO, |spent| spent.values().fold(U256::ZERO, |sum, wei| sum.saturating_add(*wei)))
    }

    fn at(&self, index: usize) -> Takings {
        Takings {
            charged: self.charged.of(index),
            reversed: self.reversed.of(index),
            last: self.newest.get(index).and_then(Newest::get),
            claimed: self.claimed.of(index),
        }
    }

    fn index(&mut self, position: Position) -> usize {
        let next = self.positions.len();
        *self.positions.entry(position).or_insert(next)
    }

    fn move_to(&mut self, now: i64) -> Result<(), LedgerError> {
        self.charged.move_to(now)?;
        self.reversed.move_to(now)?;
        self.claimed.move_to(now)?;
        for spent in self.spent.values_mut() {
            while spent.first_entry().is_some_and(|first| *first.key() <= now.saturating_sub(DAY)) {
                spent.pop_first();
            }
        }
        Ok(())
    }

    fn charge(&mut self, charge: ChargeRow) -> Result<(), LedgerError> {
        let ChargeRow { payment, at, first, .. } = charge;
        let index = self.index(charge.position);
        if self.newest.len() <= index {
            self.newest.resize(index.saturating_add(1), Newest::default());
        }
        let Some(newest) = self.newest.get_mut(index) else { return Ok(()) };
        let sum = Sum { payments: 1, amount: charge.amount };
        match charge.kind {
            Kind::First => {
                self.charged.add(index, first, sum)?;
                newest.add(payment, at);
            }
            Kind::Reversed => {
                self.reversed.add(index, first, sum)?;
                newest.take_back(payment);
            }
            Kind::Again => {
                self.reversed.take_back(index, first, sum)?;
                newest.add(payment, at);
            }
        }
        Ok(())
    }

    fn claim(&mut self, claim: ClaimRow) -> Result<(), LedgerError> {
        let index = self.index(claim.position);
        let sum = Sum { payments: 1, amount: claim.amount };
        if claim.stands {
            self.claimed.add(index, claim.at, sum)
        } else {
            self.claimed.take_back(index, claim.at, sum)
        }
    }

    fn spend(&mut self, spending: &SpendingRow) {
        if spending.at > self.now.saturating_sub(DAY) {
            let spent = self.spent.entry(spending.settler).or_default().entry(spending.at).or_default();
            *spent = spent.saturating_add(spending.wei);
        }
    }
}
