//! The figure that every test ends with: the ledger and the chain tell the same story.

use crate::until;
use alloy_primitives::{Address, B256};
use anyhow::{Context, Result, ensure};
use obol_core::Amount;
use obol_devchain::{AuthorizationOutcome, CHAIN, Devchain};
use obol_evm::BlockTag;
use obol_ledger::{Clock, Delivery, Ledger, PaymentId, PaymentRecord, State};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write,
};

/// A transfer under an authorization, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Transfer {
    payer: Address,
    nonce: B256,
    payee: Address,
    amount: Amount,
    tx: B256,
    block: u64,
    log_index: u64,
}

/// What the ledger holds once nothing moves any more and all of it was compared.
#[derive(Clone, Debug)]
pub struct Agreement {
    pub records: Vec<PaymentRecord>,
}

impl Agreement {
    pub fn count(&self, state: State) -> usize {
        self.records.iter().filter(|record| record.state() == state).count()
    }

    /// Asserts how many payments are settled, and that there are no others but `rest`.
    #[track_caller]
    pub fn assert(&self, settled: usize, rest: &[(State, usize)]) {
        let mut expected = vec![(State::Settled, settled)];
        expected.extend(rest);
        for &(state, count) in &expected {
            assert_eq!(self.count(state), count, "{state}");
        }
        let total: usize = expected.iter().map(|(_, count)| count).sum();
        assert_eq!(self.records.len(), total, "payments in other states than {expected:?}");
    }
}

/// Lets the chain and the settler come to rest, mining as many blocks as that takes. Then every
/// transfer to `payee` is in the ledger, at its place on the chain, and the other way round; each
/// happened once; the payee has what the ledger says was earned; and whatever was delivered is
/// paid for, or says why not.
pub async fn assert_ledger_equals_chain(
    chain: &Devchain,
    ledger: &Ledger,
    payee: Address,
) -> Result<Agreement> {
    let records = at_rest(chain, ledger).await?;
    let on_chain = transfers(chain, payee).await?;
    let mut nonces = HashSet::new();
    for transfer in &on_chain {
        ensure!(nonces.insert((transfer.payer, transfer.nonce)), "settled twice: {transfer:?}");
    }
    let in_ledger: BTreeSet<_> = records.iter().filter_map(paid).collect();
    ensure!(on_chain == in_ledger, "the chain says {on_chain:#?}, the ledger {in_ledger:#?}");
    check_places(chain, &records).await?;
    let earned: Amount = sum(in_ledger.iter().map(|transfer| transfer.amount))?;
    let balance = chain.usdc_balance(payee).await?;
    ensure!(balance == earned, "the payee has {balance}, the transfers are {earned}");
    let earnings = ledger.earnings().await?;
    ensure!(sum(earnings.iter().map(|line| line.amount))? == earned, "{earnings:?} is not {earned}");
    ensure!(sum(earnings.iter().map(|line| line.final_amount))? == earned, "not final: {earnings:?}");
    for record in &records {
        let unpaid = record.delivery != Delivery::None && !record.state().is_paid();
        ensure!(!unpaid || record.reason.is_some(), "delivered, and not paid for no reason: {record:?}");
    }
    Ok(Agreement { records })
}

/// The payments, once none of them is about to move and the settler has looked at every block
/// that there was at first.
async fn at_rest(chain: &Devchain, ledger: &Ledger) -> Result<Vec<PaymentRecord>> {
    let looked_at = chain.block_number().await?;
    let rest = until("the ledger and the chain come to rest", async || {
        let records = ledger.list(PaymentId(0), u32::MAX).await?;
        let scanned = ledger.scanned(CHAIN).await?.is_some_and(|block| block >= looked_at);
        if (scanned || records.is_empty()) && !records.iter().any(moves) {
            return Ok(Some(records));
        }
        chain.mine(1).await?;
        Ok(None)
    })
    .await;
    match rest {
        Ok(records) => Ok(records),
        Err(error) => Err(error).context(stories(ledger).await?),
    }
}

fn moves(record: &PaymentRecord) -> bool {
    match record.state() {
        State::Submitting | State::Submitted | State::Included => true,
        State::Due => record.retry_at <= Clock::System.now(),
        _ => false,
    }
}

/// What the ledger has to tell about what is not settled.
async fn stories(ledger: &Ledger) -> Result<String> {
    let mut text = String::new();
    for record in ledger.list(PaymentId(0), u32::MAX).await? {
        if record.state() == State::Settled {
            continue;
        }
        writeln!(text, "{record:?}")?;
        for event in ledger.events(record.id).await? {
            writeln!(text, "  {:?} {} -> {}: {}", event.at, event.who, event.to, event.why)?;
        }
    }
    writeln!(text, "scanned up to {:?}", ledger.scanned(CHAIN).await?)?;
    Ok(text)
}

fn paid(record: &PaymentRecord) -> Option<Transfer> {
    let at = record.inclusion?;
    record.state().is_paid().then_some(Transfer {
        payer: record.key.payer,
        nonce: record.key.nonce,
        payee: record.payee,
        amount: record.amount,
        tx: at.tx,
        block: at.block,
        log_index: at.log_index,
    })
}

/// Each transfer to `payee` with the authorization that explains it: the token emits
/// `AuthorizationUsed` just before its `Transfer`.
async fn transfers(chain: &Devchain, payee: Address) -> Result<BTreeSet<Transfer>> {
    let used: HashMap<_, _> = chain
        .authorization_events(0)
        .await?
        .into_iter()
        .filter(|event| event.outcome == AuthorizationOutcome::Used)
        .map(|event| ((event.transaction, event.log_index), event))
        .collect();
    let mut transfers = BTreeSet::new();
    for event in chain.transfer_events(0).await?.into_iter().filter(|event| event.to == payee) {
        let before = event.log_index.checked_sub(1).context("a transfer before every authorization")?;
        let used = used.get(&(event.transaction, before)).context("a transfer without authorization")?;
        ensure!(used.authorizer == event.from, "{used:?} does not explain {event:?}");
        transfers.insert(Transfer {
            payer: used.authorizer,
            nonce: used.nonce,
            payee: event.to,
            amount: event.value,
            tx: event.transaction,
            block: event.block,
            log_index: event.log_index,
        });
    }
    Ok(transfers)
}

/// Whether the blocks that the ledger names are the chain's.
async fn check_places(chain: &Devchain, records: &[PaymentRecord]) -> Result<()> {
    let places: BTreeSet<_> = records
        .iter()
        .filter_map(|record| record.inclusion)
        .map(|at| (at.block, at.block_hash, at.block_time))
        .collect();
    for (number, hash, time) in places {
        let block = chain.rpc().block(BlockTag::Number(number)).await?.context("no such block")?;
        ensure!(block.hash == hash, "the ledger says block {number} is {hash}, the chain {}", block.hash);
        ensure!(block.timestamp.to::<i64>() == time, "the ledger has another time of block {number}");
    }
    Ok(())
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Result<Amount> {
    amounts.into_iter().try_fold(Amount::ZERO, Amount::checked_add).context("more than 256 bits")
}
