//! Watching one chain: what was in blocks that are gone, what is final, what others settled.

mod places;

use crate::{
    first_block::first_block,
    range::Range,
    sight::{Sight, TickError},
};
use alloy_primitives::B256;
use obol_evm::RpcError;
use obol_ledger::Timestamp;
use places::Place;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Blocks that are searched again each time: one address often has several nodes behind it, and
/// one that is behind knows a block's number before it knows its events.
const OVERLAP: u64 = 64;

/// How long a search has to work before it is said to: an endpoint that fails now and then would
/// otherwise be said twice each time.
const CALM: Duration = Duration::from_secs(60);

/// What is known of a chain, and would be found out again if it were lost.
pub(crate) struct Watcher {
    pub(crate) sight: Sight,
    pub(crate) head: Option<obol_evm::Block>,
    /// The last head under which the ledger's blocks were looked for.
    vouched: Option<Place>,
    /// Blocks with payments that were on the chain under it.
    seen: BTreeSet<Place>,
    /// Whether it was said to lack a block that it should have.
    lacking: bool,
    /// When a reorganisation last took settlements back: they wait anew since then.
    pub(crate) reopened_at: Timestamp,
    /// When it last did, until somebody sends what was taken back again.
    pub(crate) taken_back: Option<Instant>,
    /// Blocks in the next search for events.
    range: Range,
    /// Transactions that the last searches found, by block: each is looked into once.
    strangers: BTreeSet<(u64, B256)>,
    /// When the search for transfers by others last failed.
    searching: Option<Instant>,
}

impl Watcher {
    pub(crate) fn new(sight: Sight) -> Self {
        Self {
            sight,
            head: None,
            vouched: None,
            seen: BTreeSet::new(),
            lacking: false,
            reopened_at: Timestamp(0),
            taken_back: None,
            range: Range::of_blocks(),
            strangers: BTreeSet::new(),
            searching: None,
        }
    }

    /// Somebody else may have moved everything since this one last looked.
    pub(crate) fn forget(&mut self) {
        self.head = None;
        self.vouched = None;
        self.seen.clear();
    }

    /// Looks for what others have settled, up to the final block `last`.
    pub(crate) async fn look_for_strangers(&mut self, last: u64) -> Result<(), TickError> {
        match self.find_strangers(last).await {
            Err(TickError::Rpc(error)) => {
                // What is due can be settled without. The mark has not moved: it is looked for again.
                if self.searching.is_none() {
                    tracing::warn!(chain = %self.sight.chain.id, endpoint = self.sight.rpc.shown(), %error,
                        "cannot look for transfers by others; trying smaller ranges of blocks");
                }
                self.searching = Some(Instant::now());
                // The smallest is tried again like any other.
                let _no_smaller = self.range.shrink(error);
                Ok(())
            }
            found => {
                if self.searching.is_some_and(|last| last.elapsed() >= CALM) {
                    self.searching = None;
                    tracing::info!(chain = %self.sight.chain.id, "looks for transfers by others again");
                }
                found
            }
        }
    }

    /// Looks in final blocks for transfers to our payees that another sender settled.
    async fn find_strangers(&mut self, last: u64) -> Result<(), TickError> {
        let payees = self.sight.ledger.payees(self.sight.chain.id).await?;
        if payees.is_empty() {
            return Ok(());
        }
        let watched: Vec<_> = payees.iter().map(|payee| (payee.asset, payee.payee)).collect();
        let scanned = self.sight.ledger.scanned(self.sight.chain.id).await?;
        let (next, first) = match scanned {
            Some(block) => (block + 1, payees.iter().map(|payee| payee.since).min().unwrap_or(0)),
            None => {
                let Sight { ledger, chain, rpc } = &self.sight;
                let first = first_block(ledger, rpc, chain.id, &payees).await?.unwrap_or(0);
                (first, first)
            }
        };
        if next > last {
            return Ok(());
        }
        let blocks = self.range.get();
        let overlap = OVERLAP.min(blocks / 2);
        let from = next.saturating_sub(overlap).max(first);
        let to = last.min(from + blocks - 1);
        let transfers = self.sight.rpc.transfers_to(&watched, from, to).await?;
        // What others send to a payee, in transactions of any size, is not looked into.
        let payers = transfers.iter().map(|transfer| transfer.from).collect();
        let known = self.sight.ledger.known_payers(payers).await?;
        let payers = transfers.into_iter().filter(|transfer| known.contains(&transfer.from));
        let found: BTreeSet<_> = payers.map(|transfer| (transfer.block, transfer.tx)).collect();
        self.strangers.retain(|(block, _)| *block >= from);
        for (block, transaction) in found {
            if self.strangers.contains(&(block, transaction)) {
                continue;
            }
            let receipt = self.sight.rpc.receipt(transaction).await?.ok_or_else(|| {
                RpcError::Malformed(format!("no receipt of {transaction}, whose event was given"))
            })?;
            self.sight.include_all(&receipt, "settled, as final blocks show").await?;
            self.strangers.insert((block, transaction));
        }
        self.sight.ledger.set_scanned(self.sight.chain.id, to).await?;
        self.range.grow();
        Ok(())
    }
}
