//! Where the ledger says that payments are on the chain, and whether they still are.

use super::Watcher;
use crate::sight::TickError;
use alloy_primitives::B256;
use obol_evm::Block;
use obol_ledger::{BatchId, BatchState, Clock, LiveBatch, PaymentId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// Blocks by which one of an endpoint's nodes may be behind the one that told what is final.
const BEHIND: u64 = 64;

/// Blocks asked for in one request.
const AT_ONCE: usize = 50;

/// A block by its number and hash.
pub(super) type Place = (u64, B256);

/// What the ledger says is in a block.
enum Held {
    Batch(BatchId),
    Payment(PaymentId),
}

/// What the endpoint says about a block that it once showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    There,
    /// Another block is in its place.
    Gone,
    /// The endpoint has no block of that height, or refuses to give it: it is behind, or has lost it.
    Unknown,
}

/// By number and hash: after a reorganisation the ledger can hold blocks of both branches.
type Places = BTreeMap<Place, Vec<Held>>;

impl Watcher {
    /// Takes back what is in blocks that are gone. While the head under which blocks were last seen is on
    /// the chain, they are, too.
    pub(crate) async fn drop_orphans(&mut self, live: &[LiveBatch]) -> Result<(), TickError> {
        let Some(head) = self.head.as_ref().map(|head| (head.number.to::<u64>(), head.hash)) else {
            return Ok(());
        };
        let mut places = self.places(live).await?;
        let known: BTreeSet<_> = places.keys().copied().collect();
        if let Some(vouched) = self.vouched.filter(|_| !places.is_empty()) {
            match self.look(&[vouched]).await?.first() {
                Some(Seen::There) => self.seen.retain(|place| place.0 <= vouched.0),
                // The endpoint is behind, and proves nothing.
                Some(Seen::Unknown) if head.0 < vouched.0 => return Ok(()),
                _ => self.seen.clear(),
            }
        }
        self.seen.retain(|place| known.contains(place));
        let unseen: Vec<_> = known.difference(&self.seen).copied().collect();
        for unseen in unseen.chunks(AT_ONCE) {
            for (place, seen) in unseen.iter().zip(self.look(unseen).await?) {
                match (seen, places.remove(place)) {
                    (Seen::There, _) => _ = self.seen.insert(*place),
                    (Seen::Gone, Some(held)) => self.take_back(*place, held).await?,
                    (Seen::Gone, None) | (Seen::Unknown, _) => {}
                }
            }
        }
        self.vouched = Some(head);
        Ok(())
    }

    /// Makes final what is in blocks up to `last`, each of them looked at once more: from here
    /// nobody looks again.
    pub(crate) async fn finalize_up_to(&mut self, live: &[LiveBatch], last: u64) -> Result<(), TickError> {
        let (mut batches, mut payments) = (Vec::new(), Vec::new());
        let mut lacks = None;
        let mut places = self.places(live).await?;
        let due: Vec<_> = places.keys().copied().filter(|(number, _)| *number <= last).collect();
        for due in due.chunks(AT_ONCE) {
            for (place, seen) in due.iter().zip(self.look(due).await?) {
                let Some(held) = places.remove(place) else { continue };
                match seen {
                    Seen::There => {
                        for held in held {
                            match held {
                                Held::Batch(id) => batches.push(id),
                                Held::Payment(id) => payments.push((id, place.1)),
                            }
                        }
                    }
                    Seen::Gone => self.take_back(*place, held).await?,
                    Seen::Unknown => lacks = lacks.or(Some(place.0)),
                }
            }
        }
        self.tell_what_it_lacks(lacks.filter(|number| number + BEHIND < last));
        if !batches.is_empty() || !payments.is_empty() {
            self.sight.ledger.finalize(batches, payments).await?;
        }
        Ok(())
    }

    /// Once, and again after it had all.
    fn tell_what_it_lacks(&mut self, block: Option<u64>) {
        if let Some(block) = block.filter(|_| !self.lacking) {
            tracing::error!(chain = %self.sight.chain.id, endpoint = self.sight.rpc.shown(), block,
                "the endpoint has no such block, though it calls a later one final: the payments in it wait");
        }
        self.lacking = block.is_some();
    }

    async fn places(&self, live: &[LiveBatch]) -> Result<Places, TickError> {
        let mut places = Places::new();
        for batch in live {
            if let BatchState::Mined { block, block_hash, .. } = batch.state {
                places.entry((block, block_hash)).or_default().push(Held::Batch(batch.id));
            }
        }
        for record in self.sight.ledger.included(self.sight.chain.id).await? {
            if let Some(at) = record.inclusion {
                places.entry((at.block, at.block_hash)).or_default().push(Held::Payment(record.id));
            }
        }
        Ok(places)
    }

    async fn look(&self, places: &[Place]) -> Result<Vec<Seen>, TickError> {
        let numbers: Vec<_> = places.iter().map(|(number, _)| *number).collect();
        let blocks = self.sight.rpc.blocks(&numbers).await?;
        let seen = |((_, hash), block): (&Place, Option<Block>)| match block {
            Some(block) if block.hash == *hash => Seen::There,
            Some(_) => Seen::Gone,
            None => Seen::Unknown,
        };
        Ok(places.iter().zip(blocks).map(seen).collect())
    }

    /// Batches first: their payments wait for the same bytes again. A payment that no batch of
    /// the block brought there is on its own.
    async fn take_back(&mut self, (number, hash): Place, held: Vec<Held>) -> Result<(), TickError> {
        tracing::warn!(chain = %self.sight.chain.id, block = number, %hash, "a block with settlements is gone");
        for held in held {
            match held {
                Held::Batch(id) => self.sight.ledger.orphan_batch(id).await?,
                Held::Payment(id) => self.sight.ledger.orphan(id, hash).await?,
            }
        }
        // Nodes may have forgotten the transactions: they get the same bytes, at once.
        self.taken_back = Some(Instant::now());
        self.reopened_at = Clock::System.now();
        Ok(())
    }
}
