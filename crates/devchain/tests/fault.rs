//! The faulty endpoint in front of the real anvil, seen through the project's own client.

use alloy_primitives::{B256, U64, U256};
use obol_core::Amount;
use obol_devchain::{
    Devchain, Mining, Options,
    fault::{Fault, FaultyRpc, Rule},
};
use obol_evm::{Rpc, RpcError};
use serde_json::{Value, json};
use std::time::Duration;

struct Fixture {
    chain: Devchain,
    faulty: FaultyRpc,
    rpc: Rpc,
}

async fn fixture() -> Fixture {
    let chain = Devchain::start(Options { mining: Mining::Manual, port: None }).await.expect("a chain");
    let faulty = FaultyRpc::start(chain.url()).await.expect("a faulty endpoint");
    let rpc = Rpc::new(faulty.url(), Duration::from_secs(2)).expect("a client");
    Fixture { chain, faulty, rpc }
}

impl Fixture {
    async fn height(&self) -> Result<U64, RpcError> {
        self.rpc.call("eth_blockNumber", ()).await
    }

    async fn chain_id(&self) -> Result<U64, RpcError> {
        self.rpc.call("eth_chainId", ()).await
    }

    /// One wei from the settler to the seller, waiting in the pool afterwards.
    async fn pay(&self) -> Result<B256, RpcError> {
        let (from, to) = (self.chain.settler().address, self.chain.seller().address);
        self.rpc.call("eth_sendTransaction", json!([{ "from": from, "to": to, "value": "0x1" }])).await
    }

    async fn pool(&self) -> u64 {
        let status: Value = self.chain.rpc().call("txpool_status", ()).await.expect("status");
        u64::from_str_radix(status["pending"].as_str().expect("hex").trim_start_matches("0x"), 16)
            .expect("hex")
    }
}

#[tokio::test]
async fn a_healthy_endpoint_passes_single_calls_and_batches_and_counts_them() {
    let Fixture { rpc, faulty, .. } = &fixture().await;
    let mut batch = rpc.batch();
    let id = batch.add_call::<_, U64>("eth_chainId", &()).expect("added");
    let height = batch.add_call::<_, U64>("eth_blockNumber", &()).expect("added");
    let wrong = batch.add_call::<_, U64>("eth_nonsense", &()).expect("added");
    batch.send().await.expect("answered");
    assert_eq!(id.await.expect("id"), U64::from(84532));
    assert_eq!(height.await.expect("height"), U64::from(3));
    assert!(matches!(RpcError::from(wrong.await.expect_err("refused")), RpcError::Refused { .. }));
    rpc.call::<_, U64>("eth_chainId", ()).await.expect("id");
    assert_eq!((faulty.seen("eth_chainId"), faulty.forwarded("eth_chainId")), (2, 2));
    assert_eq!((faulty.seen("eth_nonsense"), faulty.requests()), (1, 2));
    faulty.reset_counts();
    assert_eq!((faulty.seen("eth_chainId"), faulty.requests()), (0, 0));
}

#[tokio::test]
async fn a_lost_answer_is_lost_after_the_node_acted() {
    let fixture = fixture().await;
    for fault in [Fault::LoseAnswer, Fault::HangAfter] {
        let before = fixture.pool().await;
        fixture.faulty.set_rules([Rule::of(fault.clone()).on(["eth_sendTransaction"])]);
        assert!(matches!(fixture.pay().await, Err(RpcError::NoAnswer(_))), "{fault:?}");
        assert_eq!(fixture.pool().await, before + 1, "{fault:?}");
        fixture.height().await.expect("other methods work");
    }
    assert_eq!(fixture.faulty.forwarded("eth_sendTransaction"), 2);
}

#[tokio::test]
async fn a_request_that_is_not_passed_on_does_nothing() {
    let fixture = fixture().await;
    let refusal = Fault::Refuse { code: -32003, message: "insufficient funds".to_owned() };
    for (fault, expected) in [
        (Fault::Hang, RpcError::NoAnswer("timed out".to_owned())),
        (Fault::Disconnect, RpcError::NoAnswer("the connection broke".to_owned())),
        (Fault::Status(429), RpcError::RateLimited),
        (Fault::Status(500), RpcError::Status(500)),
        (refusal, RpcError::Refused { code: -32003, message: "insufficient funds".to_owned(), data: None }),
    ] {
        fixture.faulty.set(fault);
        assert_eq!(fixture.pay().await, Err(expected));
    }
    fixture.faulty.set(Fault::Html);
    assert!(matches!(fixture.pay().await, Err(RpcError::Malformed(_))));
    assert_eq!(fixture.pool().await, 0);
    assert_eq!(fixture.faulty.seen("eth_sendTransaction"), 6);
    assert_eq!(fixture.faulty.forwarded("eth_sendTransaction"), 0);

    fixture.faulty.heal();
    fixture.pay().await.expect("healed");
    assert_eq!(fixture.pool().await, 1);
}

#[tokio::test]
async fn a_rule_with_a_number_of_times_wears_off() {
    let fixture = fixture().await;
    fixture.faulty.add(Rule::of(Fault::Status(500)).times(2));
    assert_eq!(fixture.height().await, Err(RpcError::Status(500)));
    assert_eq!(fixture.height().await, Err(RpcError::Status(500)));
    assert_eq!(fixture.height().await, Ok(U64::from(3)));
}

#[tokio::test]
async fn a_single_call_of_a_batch_can_be_refused() {
    let Fixture { rpc, faulty, .. } = &fixture().await;
    let fault = Fault::Refuse { code: 3, message: "execution reverted".to_owned() };
    faulty.add(Rule::of(fault).on(["eth_blockNumber"]));
    let mut batch = rpc.batch();
    let id = batch.add_call::<_, U64>("eth_chainId", &()).expect("added");
    let height = batch.add_call::<_, U64>("eth_blockNumber", &()).expect("added");
    batch.send().await.expect("answered");
    assert_eq!(id.await.expect("id"), U64::from(84532));
    assert!(matches!(RpcError::from(height.await.expect_err("refused")), RpcError::Refused { code: 3, .. }));
}

#[tokio::test]
async fn an_endpoint_can_claim_to_be_of_another_chain() {
    let fixture = fixture().await;
    fixture.faulty.set(Fault::ChainId(1));
    assert_eq!(fixture.chain_id().await, Ok(U64::from(1)));
    assert_eq!(fixture.height().await, Ok(U64::from(3)));
}

#[tokio::test]
async fn a_stale_endpoint_knows_nothing_after_its_block() {
    let fixture = fixture().await;
    let Fixture { chain, faulty, rpc } = &fixture;
    let old = chain.block_number().await.expect("height");
    let seller = chain.seller().address;
    let minted = chain.mint_usdc(seller, Amount::from(1)).await.expect("sent");
    let paid = fixture.pay().await.expect("sent");
    chain.mine(3).await.expect("mined");
    let balance = || rpc.call::<_, U256>("eth_getBalance", json!([seller, "latest"]));
    let nonce = || rpc.call::<_, U64>("eth_getTransactionCount", json!([chain.settler().address, "pending"]));
    let receipt = || rpc.call::<_, Value>("eth_getTransactionReceipt", [minted]);
    let transaction = || rpc.call::<_, Value>("eth_getTransactionByHash", [paid]);
    let logs = || rpc.call::<_, Vec<Value>>("eth_getLogs", json!([{ "fromBlock": "0x4" }]));
    let (new_balance, new_nonce) = (balance().await.expect("balance"), nonce().await.expect("nonce"));
    assert!(receipt().await.expect("receipt").is_object());
    assert!(!logs().await.expect("logs").is_empty());
    assert_eq!(transaction().await.expect("transaction")["blockNumber"], "0x4");

    faulty.set(Fault::StaleAt(old));
    assert_eq!(fixture.height().await, Ok(U64::from(old)));
    assert_eq!(balance().await.expect("balance") + U256::ONE, new_balance);
    assert_eq!(nonce().await.expect("nonce") + U64::ONE, new_nonce);
    assert_eq!(receipt().await.expect("receipt"), Value::Null);
    assert_eq!(transaction().await.expect("transaction")["blockNumber"], Value::Null);
    assert!(logs().await.expect("logs").is_empty());
    for (tag, number) in [("latest", old), ("finalized", old - 2)] {
        let block: Value = rpc.call("eth_getBlockByNumber", json!([tag, false])).await.expect("block");
        assert_eq!(block["number"], format!("{number:#x}"), "{tag}");
    }
    let unseen: Value = rpc.call("eth_getBlockByNumber", json!(["0x5", false])).await.expect("answer");
    assert_eq!(unseen, Value::Null);
    let unseen = rpc.call::<_, U256>("eth_getBalance", json!([seller, "0x5"])).await;
    assert!(matches!(unseen, Err(RpcError::Refused { .. })), "{unseen:?}");

    fixture.pay().await.expect("transactions still pass");
    assert_eq!(fixture.pool().await, 1);
}

#[tokio::test]
async fn an_endpoint_that_lacks_a_block_has_the_others() {
    let Fixture { chain, faulty, rpc } = &fixture().await;
    chain.mine(3).await.expect("mined");
    let height = chain.block_number().await.expect("height");
    faulty.set(Fault::Lacks(height - 1));
    for (number, there) in [(height - 2, true), (height - 1, false), (height, true)] {
        let params = json!([U64::from(number), false]);
        let block: Value = rpc.call("eth_getBlockByNumber", params).await.expect("an answer");
        assert_eq!(block.is_object(), there, "{number}");
    }
}

#[tokio::test]
async fn a_dropped_endpoint_answers_nobody() {
    let Fixture { faulty, rpc, chain: _chain } = fixture().await;
    rpc.call::<_, U64>("eth_chainId", ()).await.expect("an answer");
    drop(faulty);
    tokio::task::yield_now().await;
    assert!(matches!(rpc.call::<_, U64>("eth_chainId", ()).await, Err(RpcError::NoAnswer(_))));
}

#[tokio::test]
async fn an_answer_that_was_made_up_is_given_instead_of_the_nodes() {
    let Fixture { rpc, faulty, .. } = &fixture().await;
    faulty.set_rules([Rule::of(Fault::Answer(json!("0x64"))).on(["eth_blockNumber"]).times(1)]);
    let mut batch = rpc.batch();
    let made_up = batch.add_call::<_, U64>("eth_blockNumber", &()).expect("added");
    let id = batch.add_call::<_, U64>("eth_chainId", &()).expect("added");
    batch.send().await.expect("answered");
    assert_eq!((made_up.await.expect("a height"), id.await.expect("id")), (U64::from(100), U64::from(84532)));
    assert_eq!(rpc.call::<_, U64>("eth_blockNumber", ()).await.expect("a height"), U64::from(3));
    assert_eq!(faulty.forwarded("eth_blockNumber"), 1);
}

#[tokio::test]
async fn signed_transactions_are_remembered_once_whatever_became_of_them() {
    let Fixture { rpc, faulty, .. } = &fixture().await;
    let send = async |raw: &str| rpc.call::<_, B256>("eth_sendRawTransaction", (raw.to_owned(),)).await;
    faulty.set(Fault::Disconnect);
    for raw in ["0x02aa", "0x02bb", "0x02aa"] {
        assert!(send(raw).await.is_err());
    }
    faulty.heal();
    assert!(send("0x02bb").await.is_err(), "it is no transaction");
    let remembered: Vec<_> = faulty.transactions().iter().map(ToString::to_string).collect();
    assert_eq!(remembered, ["0x02aa", "0x02bb"]);
}

#[tokio::test]
async fn an_endpoint_that_takes_few_calls_at_once_takes_each_alone() {
    let Fixture { chain, faulty, rpc } = &fixture().await;
    chain.mine(9).await.expect("mined");
    faulty.set(Fault::MaxBatch(3));
    let numbers: Vec<u64> = (0..9).collect();
    let blocks = rpc.blocks(&numbers).await.expect("in smaller requests");
    let found: Vec<_> = blocks.into_iter().map(|block| block.map(|block| block.number.to::<u64>())).collect();
    assert_eq!(found, numbers.into_iter().map(Some).collect::<Vec<_>>());
    faulty.set(Fault::Disconnect);
    let before = faulty.requests();
    rpc.blocks(&[1, 2, 3, 4]).await.expect_err("nothing answers");
    assert_eq!(faulty.requests(), before + 1, "silence is no reason to ask for less");
}
