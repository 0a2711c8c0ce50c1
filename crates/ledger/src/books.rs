//! Sums of the ledger's journal, over windows that end now. They are derived from rows alone, so
//! that every process on a ledger, and each after a restart, has the same.

use crate::{
    Ledger, LedgerError, Position,
    charges::{Charge, Claim, Kind, Spending},
    rolling::{DAY, Rolling, Sum, Windows, minus, plus},
};
use alloy_primitives::{Address, U256};
use obol_core::ChainId;
use std::collections::{BTreeMap, HashMap};

/// Rows in one read: the writer serves sales between two of them.
const PAGE: u32 = 1_000;

/// Seconds by which clocks are set back without a word: windows wait for it.
const STEP_BACK: i64 = 2;

/// What an offer has earned in one asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takings {
    /// A payment counts from its first inclusion, at its block's time, and once.
    pub charged: Windows,
    /// Counted there, and on the chain no more: without them, its lifetime is what the ledger calls earned.
    pub reversed: Sum,
    /// The newest block's time, in seconds since the Unix epoch.
    pub last: Option<i64>,
    /// What a facilitator says is settled, at the time when it said so, as long as the chain does not tell.
    pub claimed: Windows,
}

/// Kept up to date by [`Self::follow`].
#[derive(Debug, Default)]
pub struct Books {
    charges_seen: i64,
    claims_seen: i64,
    spendings_seen: i64,
    positions: HashMap<Position, usize>,
    charged: Rolling,
    claimed: Rolling,
    /// By the index of their position.
    ends: Vec<Ends>,
    /// Of the last 24 hours.
    spent: HashMap<(ChainId, Address), BTreeMap<i64, U256>>,
    /// When it last followed.
    now: i64,
    whole: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    reversed: Sum,
    last: Option<i64>,
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
            let page = ledger.claim_rows(self.claims_seen, PAGE).await?;
            let all = page.len() < PAGE as usize;
            for claim in page {
                let seen = claim.seq;
                self.claim(claim)?;
                self.claims_seen = seen;
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
                reversed: plus(sum.reversed, more.reversed)?,
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
        let Ends { reversed, last } = self.ends.get(index).copied().unwrap_or_default();
        Takings { charged: self.charged.of(index), reversed, last, claimed: self.claimed.of(index) }
    }

    fn index(&mut self, position: Position) -> usize {
        let next = self.positions.len();
        *self.positions.entry(position).or_insert(next)
    }

    fn move_to(&mut self, now: i64) -> Result<(), LedgerError> {
        self.charged.move_to(now)?;
        self.claimed.move_to(now)?;
        for spent in self.spent.values_mut() {
            while spent.first_entry().is_some_and(|first| *first.key() <= now.saturating_sub(DAY)) {
                spent.pop_first();
            }
        }
        Ok(())
    }

    fn charge(&mut self, charge: Charge) -> Result<(), LedgerError> {
        let index = self.index(charge.position);
        if self.ends.len() <= index {
            self.ends.resize(index.saturating_add(1), Ends::default());
        }
        let Some(ends) = self.ends.get_mut(index) else { return Ok(()) };
        let sum = Sum { payments: 1, amount: charge.amount };
        match charge.kind {
            Kind::Reversed => ends.reversed = plus(ends.reversed, sum)?,
            Kind::Again => {
                ends.reversed = minus(ends.reversed, sum)?;
                ends.last = ends.last.max(Some(charge.at));
            }
            Kind::First => {
                ends.last = ends.last.max(Some(charge.at));
                self.charged.add(index, charge.at, sum)?;
            }
        }
        Ok(())
    }

    fn claim(&mut self, claim: Claim) -> Result<(), LedgerError> {
        let index = self.index(claim.position);
        let sum = Sum { payments: 1, amount: claim.amount };
        if claim.stands {
            self.claimed.add(index, claim.at, sum)
        } else {
            self.claimed.take_back(index, claim.at, sum)
        }
    }

    fn spend(&mut self, spending: &Spending) {
        if spending.at > self.now.saturating_sub(DAY) {
            let spent = self.spent.entry(spending.settler).or_default().entry(spending.at).or_default();
            *spent = spent.saturating_add(spending.wei);
        }
    }
}
