//! The commands that hold the ledger against the chain.

use super::{Compared, read, view::PaymentView};
use crate::{
    endpoint::Endpoint,
    exit::Failure,
    output::{self, Output, Table},
    seller::process_name,
};
use obol_core::{ChainId, Registry};
use obol_facilitator::{Audit, AuditError, Difference, audit, reconcile as write_down};
use obol_ledger::{Clock, Ledger, Place};
use serde_json::json;
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
    report(&audits, &registry, compared.output)
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
            audits.push(found);
            continue;
        }
        write_down(&ledger, &endpoint.rpc, &endpoint.chain, &found)
            .await
            .map_err(|error| uncompared(endpoint, error))?;
        let (left, _) = agree(&ledger, endpoint).await?;
        eprintln!("{chain}: {} differences, {} are left", found.differences.len(), left.differences.len());
        if !left.differences.is_empty() {
            eprintln!(
                "{chain}: what the ledger took from final blocks is not undone: ask another endpoint, or restore a backup"
            );
        }
        audits.push(left);
    }
    report(&audits, &registry, compared.output)
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

fn report(audits: &[Audit], registry: &Registry, output: Output) -> Result<(), Failure> {
    let differences: usize = audits.iter().map(|audit| audit.differences.len()).sum();
    match output {
        Output::Json => {
            let chains: Vec<_> = audits.iter().map(|audit| as_json(audit, registry)).collect();
            output::print_json(&json!({"agrees": differences == 0, "chains": chains}));
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
            output::print(&format!("\n{}\n", verdict(audits.len(), differences)));
        }
    }
    match differences {
        0 => Ok(()),
        some => Err(Failure::differs(format!("ledger and chain differ in {}", payments(some)))),
    }
}

fn verdict(chains: usize, differences: usize) -> String {
    match (chains, differences) {
        (0, _) => "The ledger has no payments to compare.".to_owned(),
        (_, 0) => "Ledger and chain agree to the last atomic unit.".to_owned(),
        (_, some) => format!("LEDGER AND CHAIN DIFFER IN {}.", payments(some).to_uppercase()),
    }
}

fn payments(count: usize) -> String {
    match count {
        1 => "one payment".to_owned(),
        some => format!("{some} payments"),
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

fn as_json(audit: &Audit, registry: &Registry) -> serde_json::Value {
    let differences: Vec<_> = audit
        .differences
        .iter()
        .map(|difference| {
            let (kind, record, transaction) = match difference {
                Difference::NotOnChain(record) => ("not_on_chain", record, None),
                Difference::NotInLedger(record, transfer) => ("not_in_ledger", record, Some(transfer.tx)),
                Difference::Elsewhere(record, transfer) => ("elsewhere", record, Some(transfer.tx)),
            };
            json!({"kind": kind, "payment": PaymentView::new(record, registry), "transaction": transaction})
        })
        .collect();
    let unattributed: Vec<_> = audit
        .unattributed
        .iter()
        .map(|transfer| {
            json!({
                "asset": transfer.token.to_checksum(None), "from": transfer.from.to_checksum(None),
                "to": transfer.to.to_checksum(None), "amount": transfer.amount.to_string(),
                "transaction": transfer.tx, "block": transfer.block,
            })
        })
        .collect();
    json!({
        "chain": audit.chain.to_string(), "from_block": audit.from_block, "to_block": audit.to_block,
        "matched": audit.matched, "newer": audit.newer.len(), "differences": differences, "unattributed": unattributed,
    })
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
