//! A process that is stopped past its lease, and goes on afterwards, sends nothing twice.

use anyhow::{Context, Result};
use obol_devchain::{
    Devchain, Options,
    fault::{Fault, FaultyRpc, Rule},
};
use obol_facilitator::SettlerState;
use obol_ledger::State;
use obol_tests::{Rig, SellerOptions, ledger_file, transactions_of, until};
use rustix::process::{Pid, Signal, kill_process};
use std::{collections::HashSet, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// Another process on the rig's ledger, with an endpoint of its own. Killed when dropped, also
/// when it is stopped.
struct Other {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
    rpc: FaultyRpc,
}

impl Other {
    async fn start(chain: &Devchain, ledger: &Path) -> Result<Self> {
        let rpc = FaultyRpc::start(chain.url()).await?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_seller_process"))
            .arg(rpc.url())
            .arg(ledger)
            .env("SETTLER_KEY", chain.settler().key.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        Ok(Self { process, says: BufReader::new(stdout).lines(), rpc })
    }

    /// Waits until the process says that its settler is in this state.
    async fn until(&mut self, state: SettlerState) -> Result<()> {
        let wanted = format!("{:?}", Some(state));
        let hear = async {
            while let Some(line) = self.says.next_line().await? {
                if line == wanted {
                    return Ok(());
                }
            }
            anyhow::bail!("it ended without saying {wanted}")
        };
        tokio::time::timeout(Duration::from_secs(40), hear).await.context(wanted.clone())?
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.process.id().context("it has ended")?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("no process id")?;
        Ok(kill_process(pid, signal)?)
    }

    async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}

/// A rig whose ledger the other process leads.
async fn led_by_the_other() -> Result<(Rig, Other)> {
    let chain = Devchain::start(Options::default()).await?;
    let folder = tempfile::tempdir()?;
    let mut other = Other::start(&chain, &ledger_file(&folder)).await?;
    other.until(SettlerState::Leading).await?;
    let rig = Rig::open(chain, folder, SellerOptions::default()).await?;
    rig.until_settler(SettlerState::Following).await?;
    // The other settles what is sold here.
    let first = rig.pay(0);
    rig.seller.sell(&first).await?;
    assert_eq!((rig.transactions_of(&first), transactions_of(&other.rpc, &first).len()), (0, 1));
    Ok((rig, other))
}

/// Stops the other at its next call of `method`, which `fault` befalls; what is due is settled
/// here; then lets the other go on.
async fn stopped_at(method: &'static str, fault: Fault) -> Result<()> {
    let (rig, mut other) = led_by_the_other().await?;
    let (caught, next, last) = (rig.pay(1), rig.pay(2), rig.pay(3));
    other.rpc.reset_counts();
    other.rpc.set_rules([Rule::of(fault).on([method])]);
    rig.seller.trust(rig.seller.grant(&caught).await?).await?;
    until("the other is at it", async || Ok((other.rpc.seen(method) > 0).then_some(()))).await?;
    other.signal(Signal::STOP)?;

    rig.until_settler(SettlerState::Leading).await?;
    rig.seller.sell(&next).await?;
    rig.mine_until(&caught, State::Settled).await?;
    other.rpc.heal();
    other.signal(Signal::CONT)?;
    other.until(SettlerState::Following).await?;
    rig.seller.sell(&last).await?;

    for payment in [&caught, &next, &last] {
        let both: HashSet<_> =
            [&rig.rpc, &other.rpc].iter().flat_map(|rpc| transactions_of(rpc, payment)).collect();
        assert_eq!(both.len(), 1, "one transaction, whoever sent it");
    }
    assert_eq!(rig.spent().await?.len(), 4, "each was mined once");
    other.kill().await?;
    rig.close().await?.assert(4, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_before_it_stores_is_fenced_when_it_goes_on() -> Result<()> {
    // It simulates last before it stores; the answer waits for the process.
    stopped_at("eth_call", Fault::Delay(Duration::from_millis(200))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_a_process_that_is_stopped_before_a_node_has_them_are_sent_by_the_next() -> Result<()> {
    stopped_at("eth_sendRawTransaction", Fault::Hang).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_while_its_transaction_travels_sends_nothing_twice() -> Result<()> {
    stopped_at("eth_sendRawTransaction", Fault::Delay(Duration::from_millis(2_500))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_its_lease_stores_nothing_even_if_nobody_sent_meanwhile() -> Result<()> {
    let (rig, mut other) = led_by_the_other().await?;
    let payment = rig.pay(1);
    other.rpc.reset_counts();
    let simulation = "eth_call";
    other.rpc.set_rules([Rule::of(Fault::Delay(Duration::from_millis(200))).on([simulation])]);
    // This one takes the lease over and cannot send: the payment stays due, its nonce free.
    rig.rpc.set_rules([Rule::of(Fault::Status(503)).on(["eth_getTransactionCount"])]);
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    until("the other is about to store", async || Ok((other.rpc.seen(simulation) > 0).then_some(()))).await?;
    other.signal(Signal::STOP)?;
    rig.until_settler(SettlerState::RpcDown).await?;
    other.signal(Signal::CONT)?;
    other.until(SettlerState::Following).await?;
    assert_eq!(rig.record(&payment).await?.state(), State::Due);
    assert!(transactions_of(&other.rpc, &payment).is_empty());
    rig.rpc.heal();
    rig.mine_until(&payment, State::Settled).await?;
    assert_eq!((rig.transactions_of(&payment), rig.spent().await?.len()), (1, 2));
    other.kill().await?;
    rig.close().await?.assert(2, &[]);
    Ok(())
}
