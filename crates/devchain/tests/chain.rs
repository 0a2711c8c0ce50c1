//! Against the real anvil and Circle's real code; the first run fetches both with npm.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolStruct, eip712_domain, sol};
use futures_util::future::join_all;
use obol_core::Amount;
use obol_devchain::{
    ACCOUNTS, Account, AuthorizationOutcome, CHAIN, Devchain, Execution, MULTICALL3, Mining, Options, USDC,
};
use secp256k1::{Message, SecretKey, ecdsa::RecoverableSignature};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

sol! {
    struct TransferWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    function transferWithAuthorization(
        address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce,
        bytes signature
    );
}

async fn start(mining: Mining) -> Devchain {
    Devchain::start(Options { mining, port: None }).await.expect("a chain")
}

fn signed(payer: Account, to: Address, value: u64, nonce: B256) -> Bytes {
    let authorization = TransferWithAuthorization {
        from: payer.address,
        to,
        value: U256::from(value),
        validAfter: U256::ZERO,
        validBefore: U256::MAX,
        nonce,
    };
    let domain = eip712_domain! {
        name: "USDC", version: "2", chain_id: CHAIN.reference(), verifying_contract: USDC,
    };
    let hash = authorization.eip712_signing_hash(&domain);
    let key = SecretKey::from_secret_bytes(payer.key.0).expect("a key");
    let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(hash.0), &key);
    let (recovery, compact) = signature.serialize_compact();
    let mut signature = compact.to_vec();
    signature.push(27 + recovery.to_u8());
    let TransferWithAuthorization { from, to, value, validAfter, validBefore, nonce } = authorization;
    let call = transferWithAuthorizationCall {
        from,
        to,
        value,
        validAfter,
        validBefore,
        nonce,
        signature: signature.into(),
    };
    call.abi_encode().into()
}

async fn send(chain: &Devchain, data: &Bytes) -> B256 {
    let transaction =
        json!([{ "from": chain.settler().address, "to": USDC, "data": data, "gas": "0x30d40" }]);
    chain.rpc().call("eth_sendTransaction", transaction).await.expect("sent")
}

async fn execution(chain: &Devchain, transaction: B256) -> Execution {
    chain.mined(transaction).await.expect("mined").execution
}

async fn receipt(chain: &Devchain, transaction: B256) -> Value {
    chain.rpc().call("eth_getTransactionReceipt", [transaction]).await.expect("an answer")
}

async fn block(chain: &Devchain, tag: &str) -> Value {
    chain.rpc().call("eth_getBlockByNumber", json!([tag, false])).await.expect("a block")
}

#[tokio::test]
async fn a_fresh_chain_has_funded_buyers_and_an_empty_till_quickly() {
    start(Mining::Automine).await;
    let begun = Instant::now();
    let chain = start(Mining::Automine).await;
    println!("a chain started in {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    assert_eq!(chain.accounts().len(), ACCOUNTS);
    assert_eq!(chain.buyers().len(), 38);
    assert_eq!(
        chain.settler().address.to_checksum(None),
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "the first account of the test mnemonic"
    );
    for buyer in chain.buyers() {
        assert_eq!(chain.usdc_balance(buyer.address).await.expect("balance"), Amount::from(1_000_000_000));
    }
    for empty in [chain.settler(), chain.seller()] {
        assert_eq!(chain.usdc_balance(empty.address).await.expect("balance"), Amount::ZERO);
    }
    let code: Bytes = chain.rpc().call("eth_getCode", json!([MULTICALL3, "finalized"])).await.expect("code");
    assert_eq!(code.len(), 5561);
}

#[tokio::test]
async fn the_token_takes_an_authorization_signed_by_a_buyer_once() {
    let chain = start(Mining::Automine).await;
    let (buyer, seller) = (chain.buyers()[0], chain.seller().address);
    let nonce = B256::repeat_byte(7);
    let from_block = chain.block_number().await.expect("number") + 1;
    let data = signed(buyer, seller, 10_000, nonce);

    let first = send(&chain, &data).await;
    assert_eq!(execution(&chain, first).await, Execution::Succeeded);
    let again = send(&chain, &data).await;
    assert_eq!(execution(&chain, again).await, Execution::Reverted);

    let transfers = chain.transfer_events(from_block).await.expect("events");
    let [transfer] = transfers.as_slice() else { panic!("{transfers:?}") };
    assert_eq!((transfer.from, transfer.to), (buyer.address, seller));
    assert_eq!((transfer.value, transfer.transaction), (Amount::from(10_000), first));
    let authorizations = chain.authorization_events(from_block).await.expect("events");
    let [used] = authorizations.as_slice() else { panic!("{authorizations:?}") };
    assert_eq!((used.authorizer, used.nonce), (buyer.address, nonce));
    assert_eq!((used.outcome, used.block), (AuthorizationOutcome::Used, from_block));
    assert_eq!(chain.usdc_balance(seller).await.expect("balance"), Amount::from(10_000));
}

#[tokio::test]
async fn the_token_refuses_a_signature_of_someone_else() {
    let chain = start(Mining::Automine).await;
    let thief = Account { address: chain.buyers()[0].address, key: chain.buyers()[1].key };
    let data = signed(thief, chain.seller().address, 1, B256::ZERO);
    let sent = send(&chain, &data).await;
    assert_eq!(execution(&chain, sent).await, Execution::Reverted);
}

#[tokio::test]
async fn a_reorg_forgets_the_transactions_of_the_replaced_blocks() {
    let chain = start(Mining::Automine).await;
    let seller = chain.seller().address;
    let sent = send(&chain, &signed(chain.buyers()[3], seller, 5, B256::ZERO)).await;
    assert_eq!(execution(&chain, sent).await, Execution::Succeeded);
    let (height, old) = (chain.block_number().await.expect("number"), block(&chain, "latest").await);

    chain.reorg(1).await.expect("reorg");
    assert_eq!(chain.block_number().await.expect("number"), height);
    assert_ne!(block(&chain, "latest").await["hash"], old["hash"]);
    assert_eq!(receipt(&chain, sent).await, Value::Null);
    assert_eq!(chain.usdc_balance(seller).await.expect("balance"), Amount::ZERO);

    let again = send(&chain, &signed(chain.buyers()[3], seller, 5, B256::ZERO)).await;
    assert_eq!(execution(&chain, again).await, Execution::Succeeded);
}

#[tokio::test]
async fn a_reorg_amid_transactions_leaves_a_block_at_each_height() {
    let chain = start(Mining::Automine).await;
    let from = chain.block_number().await.expect("number");
    let traffic = join_all(chain.buyers()[..4].iter().map(|buyer| {
        let transfer = json!([{ "from": buyer.address, "to": buyer.address, "value": "0x1" }]);
        let chain = &chain;
        async move {
            loop {
                // Its nonce may be from before the reorganisation.
                let _sent: Result<B256, _> = chain.rpc().call("eth_sendTransaction", &transfer).await;
            }
        }
    }));
    let reorgs = async {
        for depth in [1, 2, 3].into_iter().cycle().take(30) {
            chain.reorg(depth).await.expect("reorg");
        }
    };
    tokio::select! {
        _never = traffic => {}
        () = reorgs => {}
    }
    let to = chain.block_number().await.expect("number");
    assert!(to > from + 30, "{from} to {to}: no transactions");
    for height in from..=to {
        assert_ne!(block(&chain, &format!("{height:#x}")).await, Value::Null, "no block {height}");
    }
    let sent = chain.mint_usdc(chain.seller().address, Amount::from(3)).await.expect("sent");
    assert_eq!(execution(&chain, sent).await, Execution::Succeeded);
}

#[tokio::test]
async fn blocks_wait_until_asked_for_under_manual_mining() {
    let chain = start(Mining::Manual).await;
    let height = chain.block_number().await.expect("number");
    let sent = chain.mint_usdc(chain.seller().address, Amount::from(3)).await.expect("sent");
    assert_eq!(receipt(&chain, sent).await, Value::Null);
    assert_eq!(chain.block_number().await.expect("number"), height);
    chain.mine(2).await.expect("mined");
    assert_eq!(execution(&chain, sent).await, Execution::Succeeded);
    assert_eq!(chain.block_number().await.expect("number"), height + 2);

    let dropped = chain.mint_usdc(chain.seller().address, Amount::from(3)).await.expect("sent");
    chain.drop_transaction(dropped).await.expect("dropped");
    chain.mine(1).await.expect("mined");
    assert_eq!(receipt(&chain, dropped).await, Value::Null);

    chain.set_mining(Mining::Automine).await.expect("set");
    let sent = chain.mint_usdc(chain.seller().address, Amount::from(4)).await.expect("sent");
    assert_eq!(execution(&chain, sent).await, Execution::Succeeded);
    chain.set_mining(Mining::Manual).await.expect("set");
    let sent = chain.mint_usdc(chain.seller().address, Amount::from(4)).await.expect("sent");
    assert_eq!(receipt(&chain, sent).await, Value::Null);
}

#[tokio::test]
async fn blocks_come_by_themselves_under_interval_mining() {
    let chain = start(Mining::Interval(Duration::from_millis(100))).await;
    let sent = chain.mint_usdc(chain.seller().address, Amount::from(3)).await.expect("sent");
    let height = chain.block_number().await.expect("number");
    let deadline = Instant::now() + Duration::from_secs(20);
    while chain.block_number().await.expect("number") < height + 3 {
        assert!(Instant::now() < deadline, "no blocks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(execution(&chain, sent).await, Execution::Succeeded);
}

#[tokio::test]
async fn finalized_is_two_blocks_behind_the_head() {
    let chain = start(Mining::Manual).await;
    chain.mine(5).await.expect("mined");
    let head = chain.block_number().await.expect("number");
    for (tag, behind) in [("latest", 0), ("safe", 1), ("finalized", 2)] {
        assert_eq!(block(&chain, tag).await["number"], format!("{:#x}", head - behind), "{tag}");
    }
}

#[tokio::test]
async fn clock_fees_balances_and_snapshots_obey() {
    let chain = start(Mining::Manual).await;
    let before = chain.snapshot().await.expect("snapshot");
    let head = block(&chain, "latest").await;
    let timestamp =
        u64::from_str_radix(head["timestamp"].as_str().expect("hex").trim_start_matches("0x"), 16)
            .expect("hex");
    chain.set_next_block_timestamp(timestamp + 1_000).await.expect("set");
    chain.set_next_base_fee(U256::from(7)).await.expect("set");
    chain.mine(1).await.expect("mined");
    let next = block(&chain, "latest").await;
    assert_eq!(next["timestamp"], format!("{:#x}", timestamp + 1_000));
    assert_eq!(next["baseFeePerGas"], "0x7");

    let account = chain.seller().address;
    chain.set_balance(account, U256::ZERO).await.expect("set");
    chain.set_code(account, &Bytes::from_static(&[0xef])).await.expect("set");
    let balance: U256 =
        chain.rpc().call("eth_getBalance", json!([account, "latest"])).await.expect("balance");
    assert_eq!(balance, U256::ZERO);

    chain.revert(before).await.expect("reverted");
    assert_eq!(block(&chain, "latest").await["hash"], head["hash"]);
    assert!(chain.revert(before).await.is_err(), "a snapshot is used up");
}

#[tokio::test]
async fn a_blacklisted_payer_and_a_paused_token_stop_transfers() {
    let chain = start(Mining::Automine).await;
    let (payer, seller) = (chain.buyers()[0], chain.seller().address);
    execution(&chain, chain.blacklist(payer.address).await.expect("sent")).await;
    let data = signed(payer, seller, 1, keccak256("a"));
    assert_eq!(execution(&chain, send(&chain, &data).await).await, Execution::Reverted);
    execution(&chain, chain.unblacklist(payer.address).await.expect("sent")).await;
    execution(&chain, chain.set_usdc_paused(true).await.expect("sent")).await;
    assert_eq!(execution(&chain, send(&chain, &data).await).await, Execution::Reverted);
    execution(&chain, chain.set_usdc_paused(false).await.expect("sent")).await;
    assert_eq!(execution(&chain, send(&chain, &data).await).await, Execution::Succeeded);
}

#[tokio::test]
async fn a_taken_port_is_said_in_anvils_own_words() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = Some(listener.local_addr().expect("its address").port());
    let error = Devchain::start(Options { port, mining: Mining::Automine }).await.err().expect("refused");
    assert!(error.to_string().to_lowercase().contains("address already in use"), "{error}");
}
