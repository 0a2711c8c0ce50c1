//! Ledger against chain: payment by payment, and every transfer to a payee.

use crate::{
    first_block::first_block,
    limits::REORGANISED,
    range::Range,
    sight::{Sight, TickError, inclusion, pays},
};
use alloy_primitives::U256;
use obol_core::{Chain, ChainId, PaymentKey, TransferMethod};
use obol_evm::{AuthorizedTransfer, BlockTag, PlainTransfer, Rpc, RpcError};
use obol_ledger::{Comparison, Drift, Found, Ledger, LedgerError, PaymentId, PaymentRecord, State};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// Rows of the ledger read at once.
const PAGE: u32 = 1_000;

/// What the comparison came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub chain: ChainId,
    pub from_block: u64,
    pub to_block: u64,
    /// Payments that the ledger calls paid, or only claimed, and the chain shows. But for the claimed ones
    /// their sum per asset is in the ledger's earnings.
    pub matched: u64,
    pub differences: Vec<Difference>,
    /// Of the matched ones those that were only claimed, and are on the chain.
    pub proven: Vec<(PaymentRecord, AuthorizedTransfer)>,
    /// Paid in blocks that came after the comparison began: not compared.
    pub newer: Vec<PaymentRecord>,
    /// Transfers to a payee that are no payment of this ledger. Not a difference: a payee may
    /// be paid by others.
    pub unattributed: Vec<PlainTransfer>,
}

impl Audit {
    /// The differences in what the ledger calls paid: what a facilitator says is not that.
    pub(crate) fn drifting(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|difference| !difference.is_claim())
    }

    /// Has the ledger remember what it came to by this endpoint, for every process to tell that asks it, too.
    pub async fn remember(&self, ledger: &Ledger, rpc: &Rpc) -> Result<Comparison, LedgerError> {
        let mut drifts: BTreeMap<_, Drift> = BTreeMap::new();
        for difference in self.drifting() {
            let (record, side): (_, fn(&mut Drift) -> &mut U256) = match difference {
                Difference::NotOnChain(record) => (record, |drift| &mut drift.ledger_only),
                Difference::NotInLedger(record, _) => (record, |drift| &mut drift.chain_only),
                // In both, in different places.
                Difference::Elsewhere(..) => continue,
            };
            let sum = side(drifts.entry(record.key.asset).or_default());
            *sum = sum.saturating_add(record.amount.atomic());
        }
        for transfer in &self.unattributed {
            let sum = &mut drifts.entry(transfer.token).or_default().unattributed;
            *sum = sum.saturating_add(transfer.amount.atomic());
        }
        let payments = self.drifting().count() as u64;
        let found = Found { payments, unattributed: self.unattributed.len() as u64, drifts };
        ledger.compared(self.chain, rpc.shown(), found).await
    }
}

/// Where ledger and chain disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The ledger calls it paid, or a facilitator does; the chain has no such transfer where it should.
    NotOnChain(Box<PaymentRecord>),
    /// The chain has the transfer; the ledger does not call it paid.
    NotInLedger(Box<PaymentRecord>, Box<AuthorizedTransfer>),
    /// Both have it, in different places.
    Elsewhere(Box<PaymentRecord>, Box<AuthorizedTransfer>),
}

impl Difference {
    /// Whether a facilitator's word is all that the ledger has for the payment.
    pub fn is_claim(&self) -> bool {
        self.record().state() == State::Claimed
    }

    pub(crate) fn record(&self) -> &PaymentRecord {
        let (Self::NotOnChain(record) | Self::NotInLedger(record, _) | Self::Elsewhere(record, _)) = self;
        record
    }
}

/// Why there is no comparison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("chain endpoint: {0}")]
    Rpc(#[from] RpcError),
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    #[error("the endpoint serves eip155:{found}, not {wanted}")]
    WrongChain { found: u64, wanted: ChainId },
}

impl From<TickError> for AuditError {
    fn from(error: TickError) -> Self {
        match error {
            TickError::Rpc(error) => Self::Rpc(error),
            TickError::WrongChain { found, wanted } => Self::WrongChain { found, wanted },
            TickError::Ledger(error) => Self::Ledger(error),
        }
    }
}

type Transfers = HashMap<PaymentKey, AuthorizedTransfer>;

/// Compares up to the chain's head. Reads the chain first: a payment that the ledger knows to be
/// in a block that came meanwhile is not compared, and said to be newer.
pub async fn audit(
    ledger: &Ledger,
    rpc: &Rpc,
    chain: ChainId,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Audit, AuditError> {
    let found = rpc.chain_id().await?;
    if found != chain.reference() {
        return Err(AuditError::WrongChain { found, wanted: chain });
    }
    let head = rpc.latest_block().await?.number.to::<u64>();
    let payees = ledger.payees(chain).await?;
    let first = first_block(ledger, rpc, chain, &payees).await?.unwrap_or(head);
    let from_block = first.saturating_sub(REORGANISED);
    let watched: Vec<_> = payees.iter().map(|payee| (payee.asset, payee.payee)).collect();
    let mut plain = Vec::new();
    let mut from = from_block;
    let mut range = Range::of_blocks();
    while from <= head {
        let to = head.min(from.saturating_add(range.get() - 1));
        match rpc.transfers_to(&watched, from, to).await {
            Ok(found) => {
                plain.extend(found);
                range.grow();
            }
            Err(error) => {
                range.shrink(error)?;
                continue;
            }
        }
        progress(to, head);
        from = to + 1;
    }
    let transfers = authorized(ledger, rpc, chain, &plain).await?;
    let mut audit = compare(ledger, chain, (from_block, head), transfers, plain).await?;
    // Blocks may have come since the first look; what is beyond them is on no chain.
    let head = rpc.latest_block().await?.number.to::<u64>();
    let (newer, beyond): (Vec<_>, Vec<_>) = std::mem::take(&mut audit.newer)
        .into_iter()
        .partition(|record| record.inclusion.is_some_and(|at| at.block <= head));
    audit.newer = newer;
    audit.differences.extend(beyond.into_iter().map(|record| Difference::NotOnChain(Box::new(record))));
    Ok(audit)
}

/// Of those only that may be payments of the ledger: what others send to a payee, in transactions of any
/// size, is not looked into.
async fn authorized(
    ledger: &Ledger,
    rpc: &Rpc,
    chain: ChainId,
    plain: &[PlainTransfer],
) -> Result<Transfers, AuditError> {
    let known = ledger.known_payers(plain.iter().map(|transfer| transfer.from).collect()).await?;
    let mut seen = HashSet::new();
    let payers = plain.iter().filter(|transfer| known.contains(&transfer.from));
    let hashes: Vec<_> = payers.map(|transfer| transfer.tx).filter(|tx| seen.insert(*tx)).collect();
    let mut transfers = HashMap::new();
    let mut range = Range::of_receipts();
    let mut rest = hashes.as_slice();
    while !rest.is_empty() {
        let many = usize::try_from(range.get()).unwrap_or(usize::MAX).min(rest.len());
        let (some, later) = rest.split_at(many);
        let receipts = match rpc.receipts(some).await {
            Ok(receipts) => receipts,
            Err(error) => {
                range.shrink(error)?;
                continue;
            }
        };
        range.grow();
        rest = later;
        for (hash, receipt) in some.iter().zip(receipts) {
            // The endpoint gave its event: without the receipt nothing can be said about it.
            let receipt = receipt.ok_or_else(|| {
                RpcError::Malformed(format!("no receipt of {hash}, whose event was given; ask again"))
            })?;
            for transfer in receipt.authorized_transfers() {
                transfers.insert(key(chain, &transfer), transfer);
            }
        }
    }
    Ok(transfers)
}

fn key(chain: ChainId, transfer: &AuthorizedTransfer) -> PaymentKey {
    PaymentKey {
        chain,
        asset: transfer.token,
        method: TransferMethod::Eip3009,
        payer: transfer.payer,
        nonce: transfer.nonce,
    }
}

async fn compare(
    ledger: &Ledger,
    chain: ChainId,
    (from_block, to_block): (u64, u64),
    transfers: Transfers,
    plain: Vec<PlainTransfer>,
) -> Result<Audit, AuditError> {
    let mut matched = 0;
    let mut differences = Vec::new();
    let mut newer = Vec::new();
    let mut proven = Vec::new();
    let mut attributed = HashSet::new();
    let mut after = PaymentId(0);
    loop {
        let page = ledger.list(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for record in page.into_iter().filter(|record| record.key.chain == chain) {
            let transfer = transfers.get(&record.key).filter(|transfer| pays(transfer, &record));
            if let Some(transfer) = transfer {
                attributed.insert((transfer.tx, transfer.log_index));
            }
            let later = record.inclusion.is_some_and(|at| at.block > to_block);
            match (record.state().is_paid(), transfer) {
                _ if later => newer.push(record),
                (false, Some(transfer)) if record.state() == State::Claimed => {
                    matched += 1;
                    proven.push((record, *transfer));
                }
                (false, None) if record.state() == State::Claimed => {
                    differences.push(Difference::NotOnChain(Box::new(record)));
                }
                (true, Some(transfer)) if is_at(&record, transfer) => matched += 1,
                (true, Some(transfer)) => {
                    differences.push(Difference::Elsewhere(Box::new(record), Box::new(*transfer)))
                }
                (true, None) => differences.push(Difference::NotOnChain(Box::new(record))),
                (false, Some(transfer)) => {
                    differences.push(Difference::NotInLedger(Box::new(record), Box::new(*transfer)))
                }
                (false, None) => {}
            }
        }
    }
    let unattributed = plain
        .into_iter()
        .filter(|transfer| !attributed.contains(&(transfer.tx, transfer.log_index)))
        .collect();
    Ok(Audit { chain, from_block, to_block, matched, differences, proven, newer, unattributed })
}

fn is_at(record: &PaymentRecord, transfer: &AuthorizedTransfer) -> bool {
    record.inclusion.is_some_and(|at| {
        at.tx == transfer.tx && at.block_hash == transfer.block_hash && at.log_index == transfer.log_index
    })
}

/// Writes down what the chain shows and the ledger did not have. What it still owes is left to
/// the verifier, which alone sends.
pub async fn reconcile(
    ledger: &Ledger,
    rpc: &Rpc,
    chain: &Arc<Chain>,
    audit: &Audit,
) -> Result<(), AuditError> {
    ledger.recover().await?;
    for (record, transfer) in &audit.proven {
        write_down(ledger, rpc, record, transfer).await?;
    }
    for difference in &audit.differences {
        match difference {
            Difference::NotOnChain(record) if difference.is_claim() => {
                let sight = Sight { ledger: ledger.clone(), chain: Arc::clone(chain), rpc: rpc.clone() };
                sight.resolve(record).await?;
            }
            Difference::NotOnChain(record) => forget(ledger, record).await?,
            Difference::Elsewhere(record, transfer) => {
                forget(ledger, record).await?;
                write_down(ledger, rpc, record, transfer).await?;
            }
            Difference::NotInLedger(record, transfer) => write_down(ledger, rpc, record, transfer).await?,
        }
    }
    Ok(())
}

async fn forget(ledger: &Ledger, record: &PaymentRecord) -> Result<(), AuditError> {
    if let Some(batch) = record.batch {
        ledger.orphan_batch(batch).await?;
    }
    // A stranger's transaction may have come before the batch's; for what the batch took with it
    // there is nothing left to do.
    if let Some(at) = record.inclusion {
        ledger.orphan(record.id, at.block_hash).await?;
    }
    Ok(())
}

async fn write_down(
    ledger: &Ledger,
    rpc: &Rpc,
    record: &PaymentRecord,
    transfer: &AuthorizedTransfer,
) -> Result<(), AuditError> {
    let block = rpc.block(BlockTag::Number(transfer.block)).await?;
    // Reorganised since it was read: the next run sees where it went.
    let Some(block) = block.filter(|block| block.hash == transfer.block_hash) else { return Ok(()) };
    ledger.include(record.key, inclusion(transfer, block.seconds()?), "reconciled with the chain").await?;
    Ok(())
}
