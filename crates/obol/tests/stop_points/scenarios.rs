//! What happens to a sale, so that between them every stop point is reached. Each scenario holds
//! whether or not its seller is killed on the way.

use crate::world::{Plan, Purchase, Settles, World};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, SolStruct, sol};
use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use obol_devchain::{Devchain, Mining, USDC};
use obol_evm::{abi::Token, typed};
use obol_ledger::State;
use obol_tests::{Buyer, Manner, price};
use serde_json::{Value, json};
use std::time::Duration;

sol! {
    struct CancelAuthorization {
        address authorizer;
        bytes32 nonce;
    }

    function transfer(address to, uint256 value) external returns (bool);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Bought, settled, final; the same payment comes again.
    Sale,
    /// The upstream fails once.
    UpstreamFails,
    /// The settlement outlasts the request.
    OutlastsTheRequest,
    /// The block with the settlement is reorganised away.
    Reorganised,
    /// The settlement stays out of blocks until it is sent with higher fees.
    Stuck,
    /// The payer's funds are gone before the settlement.
    FundsGone,
    /// The payer cancels the authorization before the settlement.
    Cancelled,
    /// Another program uses the settler's nonce.
    NonceTaken,
    /// The process that serves dies, and another takes over.
    TakenOver,
    /// A facilitator settles, and the chain shows it.
    Asked,
    /// A facilitator settles, and nobody looks until later.
    Believed,
    /// A facilitator refuses at first.
    Declined,
}

const FAST: Mining = Mining::Interval(Duration::from_millis(100));

impl Scenario {
    pub(crate) const fn plan(self) -> Plan {
        let plan = Plan {
            mining: FAST,
            depth: 2,
            settle_budget: 20,
            on_disconnect: "release",
            settles: Settles::TheSeller,
        };
        match self {
            Self::Sale | Self::UpstreamFails | Self::FundsGone | Self::TakenOver => plan,
            Self::OutlastsTheRequest | Self::Stuck | Self::NonceTaken => {
                Plan { mining: Mining::Manual, settle_budget: 1, ..plan }
            }
            Self::Reorganised => Plan { depth: 40, ..plan },
            Self::Cancelled => Plan { depth: 0, ..plan },
            Self::Asked | Self::Declined => Plan { settles: Settles::Checked, ..plan },
            Self::Believed => Plan { settles: Settles::Believed, ..plan },
        }
    }

    /// Plays it with a seller that is to be killed at `point`.
    pub(crate) async fn play(self, world: &mut World, point: &str) -> Result<()> {
        if self == Self::TakenOver {
            world.launch(None).await?;
            dies_while_serving(world, point).await?;
        } else {
            world.launch(Some(point)).await?;
            match self {
                Self::Sale => sale(world).await?,
                Self::UpstreamFails => upstream_fails(world).await?,
                Self::OutlastsTheRequest => outlasts(world).await?,
                Self::Reorganised => reorganised(world).await?,
                Self::Stuck => stuck(world).await?,
                Self::FundsGone => funds_gone(world).await?,
                Self::Cancelled => cancelled(world).await?,
                Self::NonceTaken => nonce_taken(world).await?,
                Self::Asked => sale(world).await?,
                Self::Believed => believed(world).await?,
                Self::Declined => declined(world).await?,
                Self::TakenOver => {}
            }
        }
        world.settle_down().await
    }
}

async fn sale(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    ensure!(world.obtain(&purchase).await? == 200, "not served");
    world.until("settled", |rows| rows.iter().any(|row| row.state() == State::Settled)).await?;
    let mut again = world.obtain(&purchase).await?;
    if again == 200 && world.died_while_delivering() {
        again = world.obtain(&purchase).await?;
    }
    ensure!(again == 402, "served again, which it did not owe");
    Ok(())
}

async fn upstream_fails(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    let mut arrivals = world.hold_next();
    let fail = tokio::spawn(async move {
        if let Some(arrival) = arrivals.recv().await {
            // The seller may be dead by now.
            let _ = arrival.send(StatusCode::INTERNAL_SERVER_ERROR);
        }
    });
    ensure!(world.obtain(&purchase).await? == 200, "not served when the upstream was back");
    fail.await?;
    Ok(())
}

async fn believed(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    ensure!(world.obtain(&purchase).await? == 200, "not served");
    world.until("claimed", |rows| rows.iter().any(|row| row.state() == State::Claimed)).await?;
    world.open_its_eyes().await
}

async fn declined(world: &mut World) -> Result<()> {
    world.meddler()?.behave(Manner::refuses("insufficient_funds"));
    let purchase = world.purchase(0).await?;
    let first = world.send(&purchase).await?;
    ensure!(matches!(first, Some(402) | None), "answered {first:?} after a refusal");
    world.meddler()?.behave(Manner::Honest);
    world.revive().await?;
    ensure!(world.obtain(&purchase).await? == 200, "not served when the facilitator was willing");
    Ok(())
}

async fn outlasts(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    let first = world.send(&purchase).await?;
    ensure!(matches!(first, Some(503) | None), "answered {first:?} before the settlement");
    obtain_while_mining(world, &purchase).await
}

async fn obtain_while_mining(world: &mut World, purchase: &Purchase) -> Result<()> {
    world.chain.set_mining(Mining::Interval(Duration::from_secs(1))).await?;
    ensure!(world.obtain(purchase).await? == 200, "not served after the settlement");
    Ok(())
}

async fn reorganised(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    ensure!(world.obtain(&purchase).await? == 200, "not served");
    world.until("included", |rows| rows.iter().any(|row| row.inclusion.is_some())).await?;
    world.chain.set_mining(Mining::Manual).await?;
    let rows = world.rows().await?;
    let at = rows.first().and_then(|row| row.inclusion).context("not included")?;
    let depth = world.chain.block_number().await? - at.block + 1;
    world.chain.reorg(depth).await?;
    world
        .until("submitted again", |rows| {
            rows.iter().all(|row| row.inclusion.is_none_or(|now| now.block_hash != at.block_hash))
        })
        .await
}

async fn stuck(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    let first = world.send(&purchase).await?;
    ensure!(matches!(first, Some(503) | None), "answered {first:?} before the settlement");
    // The payment is submitted by now, or will be when it comes again.
    let mut before = None;
    loop {
        world.revive().await?;
        let row = world.rows().await?.into_iter().find(|row| row.batch.is_some());
        if let Some(row) = row {
            let now = world.newest_attempt(row.id).await?;
            let known = *before.get_or_insert(now);
            if now != known {
                break;
            }
        } else {
            world.send(&purchase).await?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    obtain_while_mining(world, &purchase).await
}

async fn funds_gone(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    let payer = purchase.payment.authorization.from;
    let away = transferCall { to: Address::repeat_byte(0x55), value: U256::from(1_000_000_000u64) };
    refused_after(world, &purchase, payer, away.abi_encode()).await
}

async fn cancelled(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    let authorization = &purchase.payment.authorization;
    let asset = price(world.chain.seller()).asset;
    let digest = CancelAuthorization { authorizer: authorization.from, nonce: authorization.nonce }
        .eip712_signing_hash(&typed::domain(&asset));
    let signature = Buyer::of(world.chain.buyers()[0]).key.sign(digest);
    let cancel = Token::cancelAuthorizationCall {
        authorizer: authorization.from,
        nonce: authorization.nonce,
        v: signature.v,
        r: signature.r,
        s: signature.s,
    };
    let sender = world.chain.buyers()[7].address;
    refused_after(world, &purchase, sender, cancel.abi_encode()).await
}

/// Does something to the token while the request is in the upstream; the payment then cannot
/// be settled, and the buyer is told so.
async fn refused_after(world: &mut World, purchase: &Purchase, from: Address, data: Vec<u8>) -> Result<()> {
    let mut arrivals = world.hold_next();
    let rpc = world.chain.rpc().clone();
    let spoil = tokio::spawn(async move {
        let Some(arrival) = arrivals.recv().await else { return anyhow::Ok(()) };
        let hash = transact(&rpc, json!({"from": from, "to": USDC, "data": hex(&data)})).await?;
        while rpc.receipt(hash).await?.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The seller may be dead by now.
        let _ = arrival.send(StatusCode::OK);
        Ok(())
    });
    ensure!(world.obtain(purchase).await? == 402, "served without a settlement");
    spoil.abort();
    Ok(())
}

async fn nonce_taken(world: &mut World) -> Result<()> {
    let purchase = world.purchase(0).await?;
    let first = world.send(&purchase).await?;
    ensure!(matches!(first, Some(503) | None), "answered {first:?} before the settlement");
    world
        .until("in a batch or released", |rows| rows.iter().all(|row| row.state() != State::Reserved))
        .await?;
    if let Some(row) = world.rows().await?.into_iter().find(|row| row.batch.is_some()) {
        let hash = world.newest_attempt(row.id).await?.context("a batch without an attempt")?;
        take_nonce(&world.chain, hash).await?;
    }
    obtain_while_mining(world, &purchase).await
}

/// Puts another transaction of the settler's into a block, with the nonce of this one's.
async fn take_nonce(chain: &Devchain, hash: B256) -> Result<()> {
    chain.drop_transaction(hash).await?;
    let settler = chain.settler().address;
    let filler = json!({"from": settler, "to": settler, "nonce": "0x0", "maxFeePerGas": "0x174876e800",
                        "maxPriorityFeePerGas": "0x174876e800"});
    let filled = transact(chain.rpc(), filler).await?;
    chain.mine(1).await?;
    chain.mined(filled).await?;
    Ok(())
}

async fn dies_while_serving(world: &mut World, point: &str) -> Result<()> {
    let purchase = world.purchase(0).await?;
    let mut arrivals = world.hold_next();
    let requests = world.send_aside(&purchase);
    let arrival = arrivals.recv().await.context("the request never reached the upstream")?;
    world.kill()?;
    drop(arrival);
    // Its connection broke with the process.
    let _ = requests.await;
    world.launch(Some(point)).await?;
    ensure!(world.obtain(&purchase).await? == 200, "not served by the process that took over");
    Ok(())
}

async fn transact(rpc: &obol_evm::Rpc, transaction: Value) -> Result<B256> {
    Ok(rpc.call("eth_sendTransaction", (transaction,)).await?)
}

fn hex(data: &[u8]) -> String {
    format!("0x{}", alloy_primitives::hex::encode(data))
}
