//! The commands that hold the ledger against the chain.

use super::{Compared, read, view::PaymentView};
use crate::{
    endpoint::Endpoint,
    exit::Failure,
    output::{self, Output, Table},
    seller::process_name,
    written::{Account, Atomic, Chain, Hash},
};
use obol_core::{ChainId, Registry};
use obol_evm::PlainTransfer;
use obol_facilitator::{Audit, AuditError, Difference, audit, reconcile as write_down};
use obol_ledger::{Clock, Ledger, Place};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// A running verifier writes down what it sees within this time: a difference that goes away
/// was none.
const LAG: Duration = Duration::from_secs(1);
const LOOKS: usize = 4;

pub(super) async fn verify(compared: &Compared) -> Result<(), Failure> {
    let (ledger, registry) = read::open(&compared.source)?;
    let endpoints = compared.asked.parse(&registry)?;
    let mut audits = Vec::new();
    for chain in ledger.chains().await? {
        audits.push(agree(&ledger, reached(&endpoints, chain)?).await?.0);
    }
    report(&ledger, &audits, &registry, compared.output).await
}

pub(super) async fn reconcile(compared: &Compared) -> Result<(), Failure> {
    let (reader, registry) = read::open(&compared.source)?;
    drop(reader);
    let endpoints = compared.asked.parse(&registry)?;
    let ledger = Ledger::open(&Place::File(&compared.source.ledger), Clock::System, process_name())?;
    let mut audits = Vec::new();
    for chain in ledger.chains().await? {
        let endpoint = reached(&endpoints, chain)?;
        let (found, settled) = agree(&ledger, endpoint).await?;
        if settled == Settled::Yes && found.proven.is_empty() {
            found.remember(&ledger, &endpoint.rpc).await?;
            audits.push(found);
            continue;
        }
        write_down(&ledger, &endpoint.rpc, &endpoint.chain, &found)
            .await
            .map_err(|error| uncompared(endpoint, error))?;
        let (left, _) = agree(&ledger, endpoint).await?;
        eprintln!("{chain}: {} differences, {} are left", found.differences.len(), left.differences.len());
        let claims = left.differences.iter().filter(|difference| difference.is_claim()).count();
        if claims > 0 {
            eprintln!(
                "{chain}: {claims} are payments that a facilitator says are settled, and the chain does not show: a \
                 verifier with --rpc asks for those again whose authorization is unused, and they fail when it has \
                 expired; of the others another endpoint may tell more"
            );
        }
        if claims < left.differences.len() {
            eprintln!(
                "{chain}: what the ledger took from final blocks is not undone: ask another endpoint, or restore a backup"
            );
        }
        left.remember(&ledger, &endpoint.rpc).await?;
        audits.push(left);
    }
    report(&ledger, &audits, &registry, compared.output).await
}

fn reached(endpoints: &[Endpoint], chain: ChainId) -> Result<&Endpoint, Failure> {
    endpoints.iter().find(|endpoint| endpoint.chain.id == chain).ok_or_else(|| {
        Failure::config(format!("the ledger has payments on {chain}; add --rpc {chain}=<URL>"))
    })
}

/// Why ledger and chain were not compared, with the flag that may mend it.
fn uncompared(endpoint: &Endpoint, error: AuditError) -> Failure {
    let (name, shown) = (&endpoint.chain.name, endpoint.rpc.shown());
    match error {
        AuditError::Ledger(error) => error.into(),
        AuditError::WrongChain { found, wanted } => Failure::config(format!(
            "--rpc: {name}: {shown} serves eip155:{found}, not {wanted}; give an endpoint of {name}"
        )),
        AuditError::Rpc(error) => Failure::unavailable(format!(
            "--rpc: {name}: {shown} did not tell what is on the chain: {error}; try again, or give another \
             endpoint as --rpc {name}=<URL>"
        )),
    }
}

/// Whether ledger and chain agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Yes,
    No,
}

/// Compares, and looks again where a running verifier may be about to write.
pub(crate) async fn agree(ledger: &Ledger, endpoint: &Endpoint) -> Result<(Audit, Settled), Failure> {
    let mut progress = |block: u64, head: u64| {
        if head.saturating_sub(block) > 0 {
            eprintln!("{}: block {block} of {head}", endpoint.chain.id);
        }
    };
    let failed = |error| uncompared(endpoint, error);
    let mut look = audit(ledger, &endpoint.rpc, endpoint.chain.id, &mut progress).await.map_err(failed)?;
    for _ in 1..LOOKS {
        if look.differences.is_empty() {
            break;
        }
        tokio::time::sleep(LAG).await;
        look = audit(ledger, &endpoint.rpc, endpoint.chain.id, &mut progress).await.map_err(failed)?;
    }
    let settled = if look.differences.is_empty() { Settled::Yes } else { Settled::No };
    Ok((look, settled))
}

/// As many payments are named of which the journal is wrong.
const NAMED: u32 = 1_000;

async fn report(
    ledger: &Ledger,
    audits: &[Audit],
    registry: &Registry,
    output: Output,
) -> Result<(), Failure> {
    let journal = ledger.journal_faults(NAMED).await?;
    let differences: usize = audits.iter().map(|audit| audit.differences.len()).sum();
    match output {
        Output::Json => {
            let chains = audits.iter().map(|audit| AuditView::new(audit, registry)).collect();
            let agrees = differences == 0 && journal.is_empty();
            let journal = journal.iter().map(|id| id.0).collect();
            output::print_json(&Comparison { agrees, chains, journal });
        }
        Output::Table => {
            let mut table =
                Table::new(["CHAIN", "BLOCKS", "MATCHED", "NEWER", "DIFFERENCES", "UNATTRIBUTED"]);
            for audit in audits {
                table.row([
                    audit.chain.to_string(),
                    format!("{}-{}", audit.from_block, audit.to_block),
                    audit.matched.to_string(),
                    audit.newer.len().to_string(),
                    audit.differences.len().to_string(),
                    audit.unattributed.len().to_string(),
                ]);
            }
            output::print(&table.render());
            for difference in audits.iter().flat_map(|audit| &audit.differences) {
                output::print(&format!("{}\n", in_words(difference)));
            }
            for id in &journal {
                output::print(&format!("payment {}: the journal has it otherwise\n", id.0));
            }
            output::print(&format!("\n{}\n", verdict(audits.len(), differences)));
            let proven: usize = audits.iter().map(|audit| audit.proven.len()).sum();
            if proven > 0 {
                output::print(&format!(
                    "Of {} the ledger has a facilitator's word only; `obol ledger reconcile` makes it earned.\n",
                    output::payments(proven)
                ));
            }
        }
    }
    match (differences, journal.len()) {
        (0, 0) => Ok(()),
        (0, some) => Err(Failure::differs(format!(
            "the journal, from which /metrics counts what was earned, has {} otherwise than the ledger: something else \
             has written to the file, or this is a defect; take earnings from obol ledger export, and report it",
            output::payments(some)
        ))),
        (some, _) => Err(Failure::differs(format!("ledger and chain differ in {}", output::payments(some)))),
    }
}

fn verdict(chains: usize, differences: usize) -> String {
    match (chains, differences) {
        (0, _) => "The ledger has no payments to compare.".to_owned(),
        (_, 0) => "Ledger and chain agree to the last atomic unit.".to_owned(),
        (_, some) => format!("LEDGER AND CHAIN DIFFER IN {}.", output::payments(some).to_uppercase()),
    }
}

fn in_words(difference: &Difference) -> String {
    match difference {
        Difference::NotOnChain(record) => {
            format!(
                "payment {}: {} in the ledger, no such transfer on the chain",
                record.id.0,
                record.state()
            )
        }
        Difference::NotInLedger(record, transfer) => format!(
            "payment {}: {} in the ledger, paid on the chain in {}",
            record.id.0,
            record.state(),
            transfer.tx
        ),
        Difference::Elsewhere(record, transfer) => {
            format!("payment {}: on the chain in {}, elsewhere in the ledger", record.id.0, transfer.tx)
        }
    }
}

/// The ledger, held against each chain that it has payments on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Comparison {
    /// Whether no chain differs, and the journal does not. When one does, the exit code is 3.
    agrees: bool,
    /// Empty while the ledger has no payments.
    chains: Vec<AuditView>,
    /// Payments that the ledger's journal, from which `/metrics` counts, has otherwise than they are, by id:
    /// none, unless something else has written to the file. A thousand at most.
    journal: Vec<i64>,
}

/// The ledger, held against one chain.
#[derive(Serialize, JsonSchema)]
struct AuditView {
    /// CAIP-2 id of the chain.
    chain: Chain,
    /// The first block that was read.
    from_block: u64,
    /// The last block that was read.
    to_block: u64,
    /// Payments that the ledger calls paid, or claimed, and the chain shows.
    matched: u64,
    /// Those of them that are only claimed in the ledger.
    proven: usize,
    /// Payments in blocks that came after the comparison began: not compared.
    newer: usize,
    differences: Vec<DifferenceView>,
    /// Transfers to a payee that are no payment of this ledger, which is no difference.
    unattributed: Vec<TransferView>,
}

/// A payment about which ledger and chain disagree.
#[derive(Serialize, JsonSchema)]
struct DifferenceView {
    kind: Kind,
    payment: PaymentView,
    /// The transaction in which the chain has it; null when it has none.
    transaction: Option<Hash>,
}

/// How they disagree.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Kind {
    /// Paid or claimed in the ledger, and no such transfer on the chain.
    NotOnChain,
    /// Paid on the chain, and not in the ledger.
    NotInLedger,
    /// In another place on the chain than in the ledger.
    Elsewhere,
}

/// A transfer on the chain.
#[derive(Serialize, JsonSchema)]
struct TransferView {
    /// Address of the token.
    asset: Account,
    /// Who paid.
    from: Account,
    /// Who was paid.
    to: Account,
    /// Atomic units, as text.
    amount: Atomic,
    /// The transaction that it was in.
    transaction: Hash,
    /// That transaction's block.
    block: u64,
}

impl AuditView {
    fn new(audit: &Audit, registry: &Registry) -> Self {
        Self {
            chain: audit.chain.into(),
            from_block: audit.from_block,
            to_block: audit.to_block,
            matched: audit.matched,
            proven: audit.proven.len(),
            newer: audit.newer.len(),
            differences: audit.differences.iter().map(|one| DifferenceView::new(one, registry)).collect(),
            unattributed: audit.unattributed.iter().map(TransferView::from).collect(),
        }
    }
}

impl DifferenceView {
    fn new(difference: &Difference, registry: &Registry) -> Self {
        let (kind, record, transaction) = match difference {
            Difference::NotOnChain(record) => (Kind::NotOnChain, record, None),
            Difference::NotInLedger(record, transfer) => (Kind::NotInLedger, record, Some(transfer.tx)),
            Difference::Elsewhere(record, transfer) => (Kind::Elsewhere, record, Some(transfer.tx)),
        };
        let payment = PaymentView::new(record, registry);
        Self { kind, payment, transaction: transaction.map(Hash::from) }
    }
}

impl From<&PlainTransfer> for TransferView {
    fn from(transfer: &PlainTransfer) -> Self {
        Self {
            asset: transfer.token.into(),
            from: transfer.from.into(),
            to: transfer.to.into(),
            amount: transfer.amount.into(),
            transaction: transfer.tx.into(),
            block: transfer.block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_never_says_that_what_differs_agrees() {
        assert_eq!(verdict(1, 0), "Ledger and chain agree to the last atomic unit.");
        assert_eq!(verdict(0, 0), "The ledger has no payments to compare.");
        assert_eq!(verdict(2, 1), "LEDGER AND CHAIN DIFFER IN ONE PAYMENT.");
        assert_eq!(verdict(2, 3), "LEDGER AND CHAIN DIFFER IN 3 PAYMENTS.");
    }
}
