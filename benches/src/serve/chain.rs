//! A stand-in for a chain's node: every payer has funds and an unused nonce, and every transfer
//! that is sent is in the next block. It answers at once, so that what is measured is obol.

use super::http1;
use alloy_consensus::{Transaction, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use bytes::Buf;
use http::Response;
use http_body_util::{BodyExt, Full};
use obol_devchain::CHAIN;
use obol_evm::abi::{MULTICALL3, Multicall3, Token};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpListener;

/// Milliseconds between blocks.
const BLOCK: u64 = 500;

#[derive(Debug, Default)]
struct Chain {
    mined: Mutex<HashMap<B256, Value>>,
}

pub(super) fn start(listener: TcpListener) {
    let chain = Arc::new(Chain::default());
    http1::start(listener, move |request| {
        let chain = Arc::clone(&chain);
        async move {
            let body = match request.into_body().collect().await {
                Ok(body) => body.aggregate(),
                Err(_) => return Response::new(Full::<bytes::Bytes>::default()),
            };
            let answer = match serde_json::from_reader(body.reader()) {
                Ok(Value::Array(calls)) => calls.iter().map(|call| chain.answer(call)).collect(),
                Ok(call) => chain.answer(&call),
                Err(_) => Value::Null,
            };
            Response::new(Full::from(answer.to_string()))
        }
    });
}

impl Chain {
    fn answer(&self, call: &Value) -> Value {
        let params = &call["params"];
        let result = match call["method"].as_str().unwrap_or_default() {
            "eth_chainId" => json!(U64::from(CHAIN.reference())),
            "eth_call" => json!(eth_call(&params[0])),
            "eth_getCode" => json!("0x"),
            "eth_getBlockByNumber" => block(&params[0]),
            "eth_getTransactionCount" => json!(U64::from(self.mined().len())),
            "eth_maxPriorityFeePerGas" => json!(U64::from(1_000_000)),
            "eth_getBalance" => json!(U256::from(10u64.pow(18))),
            "eth_getLogs" => json!([]),
            "eth_sendRawTransaction" => self.send(&params[0]),
            "eth_getTransactionReceipt" => self.receipt(&params[0]),
            _ => Value::Null,
        };
        json!({"jsonrpc": "2.0", "id": call["id"], "result": result})
    }

    fn mined(&self) -> std::sync::MutexGuard<'_, HashMap<B256, Value>> {
        self.mined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a transaction into the block after the head.
    fn send(&self, raw: &Value) -> Value {
        let raw: Bytes = parse(raw);
        let Ok(transaction) = TxEnvelope::decode_2718(&mut &raw[..]) else { return Value::Null };
        let hash = *transaction.tx_hash();
        let number = head() + 1;
        let logs: Vec<_> = transfers(&transaction)
            .iter()
            .flat_map(events)
            .enumerate()
            .map(|(index, (address, topics, data))| {
                json!({
                    "address": address, "topics": topics, "data": data, "logIndex": U64::from(index),
                    "blockNumber": U64::from(number), "blockHash": block_hash(number), "transactionHash": hash,
                })
            })
            .collect();
        let receipt = json!({
            "transactionHash": hash, "blockNumber": U64::from(number), "blockHash": block_hash(number),
            "status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x1", "logs": logs,
        });
        self.mined().insert(hash, receipt);
        json!(hash)
    }

    fn receipt(&self, hash: &Value) -> Value {
        let receipt = self.mined().get(&parse::<B256>(hash)).cloned().unwrap_or_default();
        let in_block = parse::<U64>(&receipt["blockNumber"]).to::<u64>() <= head();
        if in_block { receipt } else { Value::Null }
    }
}

/// What obol sends is well-formed; nothing else calls.
fn parse<T: std::str::FromStr + Default>(text: &Value) -> T {
    text.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn head() -> u64 {
    now() / BLOCK
}

fn block_hash(number: u64) -> B256 {
    keccak256(number.to_be_bytes())
}

fn block(tag: &Value) -> Value {
    let number = match tag.as_str() {
        Some("latest") | None => head(),
        Some("safe") => head() - 1,
        Some("finalized") => head() - 2,
        Some(_) => parse::<U64>(tag).to(),
    };
    json!({
        "number": U64::from(number), "hash": block_hash(number), "timestamp": U64::from(number * BLOCK / 1_000),
        "baseFeePerGas": "0xf4240",
    })
}

fn eth_call(request: &Value) -> Bytes {
    let (to, data) = (parse::<Address>(&request["to"]), parse::<Bytes>(&request["data"]));
    if to != MULTICALL3 {
        return Bytes::new();
    }
    let Ok(batch) = Multicall3::aggregate3Call::abi_decode(&data) else { return Bytes::new() };
    let results: Vec<_> = batch
        .calls
        .iter()
        .map(|call| Multicall3::Result { success: true, returnData: read(&call.callData).into() })
        .collect();
    Multicall3::aggregate3Call::abi_encode_returns(&results).into()
}

fn read(data: &[u8]) -> Vec<u8> {
    let selector = data.first_chunk::<4>().copied().unwrap_or_default();
    let word = match selector {
        Multicall3::getBlockNumberCall::SELECTOR => U256::from(head()),
        Multicall3::getCurrentBlockTimestampCall::SELECTOR => U256::from(now() / 1_000),
        Multicall3::getChainIdCall::SELECTOR => U256::from(CHAIN.reference()),
        Token::authorizationStateCall::SELECTOR => U256::ZERO,
        Token::balanceOfCall::SELECTOR => U256::from(10u64.pow(15)),
        // A simulated transfer.
        _ => return Vec::new(),
    };
    word.abi_encode()
}

/// The transfers of a settlement, with their tokens.
fn transfers(transaction: &TxEnvelope) -> Vec<(Address, Token::transferWithAuthorizationCall)> {
    let to = transaction.to().unwrap_or_default();
    let decode = |token: Address, data: &[u8]| {
        let call = Token::transferWithAuthorizationCall::abi_decode(data).ok()?;
        Some((token, call))
    };
    if to != MULTICALL3 {
        return decode(to, transaction.input()).into_iter().collect();
    }
    let Ok(batch) = Multicall3::aggregate3Call::abi_decode(transaction.input()) else { return Vec::new() };
    batch.calls.iter().filter_map(|call| decode(call.target, &call.callData)).collect()
}

type Event = (Address, Vec<B256>, Bytes);

fn events((token, call): &(Address, Token::transferWithAuthorizationCall)) -> [Event; 2] {
    let used = Token::AuthorizationUsed { authorizer: call.from, nonce: call.nonce };
    let transfer = Token::Transfer { from: call.from, to: call.to, value: call.value };
    [
        (*token, used.encode_topics(), used.encode_data()),
        (*token, transfer.encode_topics(), transfer.encode_data()),
    ]
    .map(|(token, topics, data)| (token, topics.into_iter().map(|topic| topic.0).collect(), data.into()))
}
