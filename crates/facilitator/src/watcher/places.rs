//! Where the ledger says that payments are on the chain, and whether they still are.

use super::Watcher;
use crate::sight::TickError;
use alloy_primitives::B256;
use obol_evm::BlockTag;
use obol_ledger::{BatchId, BatchState, Clock, LiveBatch, PaymentId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// Blocks by which one of an endpoint's nodes may be behind the one that told what is final.
const BEHIND: u64 = 64;

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
    /// The endpoint has no block of that height: it is behind, and proves nothing.
    Unknown,
}

/// By number and hash: after a reorganisation the ledger can hold blocks of both branches.
type Places = BTreeMap<(u64, B256), Vec<Held>>;

impl Watcher {
    /// Takes back what is in blocks that are gone. While the head under which everything was
    /// last seen is on the chain, only newer blocks can be gone, and those that were not seen then.
    pub(crate) async fn drop_orphans(&mut self, live: &[LiveBatch]) -> Result<(), TickError> {
        let Some(head) = self.head.as_ref().map(|head| (head.number.to::<u64>(), head.hash)) else {
            return Ok(());
        };
        let places = self.places(live).await?;
        let vouched_up_to = match self.vouched.filter(|_| !places.is_empty()) {
            Some((number, hash)) if self.look(number, hash).await? == Seen::There => number,
            _ => 0,
        };
        let mut unseen = BTreeSet::new();
        for (place @ (number, hash), held) in places {
            if number <= vouched_up_to && !self.unseen.contains(&place) {
                continue;
            }
            match self.look(number, hash).await? {
                Seen::There => {}
                Seen::Gone => self.take_back(number, hash, held).await?,
                // Others may be gone all the same.
                Seen::Unknown => _ = unseen.insert(place),
            }
        }
        self.unseen = unseen;
        self.vouched = Some(head);
        Ok(())
    }

    /// Makes final what is in blocks up to `last`, each of them looked at once more: from here
    /// nobody looks again.
    pub(crate) async fn finalize_up_to(&mut self, live: &[LiveBatch], last: u64) -> Result<(), TickError> {
        let (mut batches, mut payments) = (Vec::new(), Vec::new());
        let mut lacks = None;
        for ((number, hash), held) in self.places(live).await? {
            if number > last {
                continue;
            }
            match self.look(number, hash).await? {
                Seen::There => {
                    for held in held {
                        match held {
                            Held::Batch(id) => batches.push(id),
                            Held::Payment(id) => payments.push((id, hash)),
                        }
                    }
                }
                Seen::Gone => self.take_back(number, hash, held).await?,
                Seen::Unknown => lacks = lacks.or(Some(number)),
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

    async fn look(&self, number: u64, hash: B256) -> Result<Seen, TickError> {
        Ok(match self.sight.rpc.block(BlockTag::Number(number)).await? {
            Some(block) if block.hash == hash => Seen::There,
            Some(_) => Seen::Gone,
            None => Seen::Unknown,
        })
    }

    /// Batches first: their payments wait for the same bytes again. A payment that no batch of
    /// the block brought there is on its own.
    async fn take_back(&mut self, number: u64, hash: B256, held: Vec<Held>) -> Result<(), TickError> {
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
