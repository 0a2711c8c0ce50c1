//! What has to be read from the chain before a payment is accepted. Reads of concurrent
//! requests travel in one HTTP request; nothing is cached.

use crate::{
    Rpc, RpcError,
    abi::{MULTICALL3, Multicall3, Token},
    chain_rpc::{BlockTag, CallRequest},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use obol_core::Amount;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// A payment whose parties are to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub token: Address,
    pub payer: Address,
    pub payee: Address,
    pub nonce: B256,
}

/// Whether an EIP-3009 nonce can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceState {
    Unused,
    /// Used or cancelled: the token does not say which.
    Gone,
}

/// What keeps a token's money from moving, by the switches that Circle's tokens have. A token
/// without them has no barrier that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    None,
    Paused,
    PayerBlacklisted,
    PayeeBlacklisted,
}

/// What the chain says about a payer, and as of which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub nonce: NonceState,
    pub balance: Amount,
    pub has_code: PayerCode,
    pub barrier: Barrier,
    pub block: u64,
    /// Seconds since the Unix epoch.
    pub block_time: u64,
    pub chain_id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayerCode {
    None,
    /// A contract, or an account delegated by EIP-7702.
    Some,
}

/// Questions in one request: bounds its size, and the gas of the call that answers them.
const TOGETHER: usize = 64;

/// Requests under way to one endpoint. While all are, questions gather for the next.
const CONCURRENT: usize = 4;

/// Questions waiting for a request: what a few full requests can take.
const WAITING: usize = 1024;

type Asked = (Question, oneshot::Sender<Result<Answer, RpcError>>);

/// Reads for verification on one chain. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reads {
    queue: mpsc::Sender<Asked>,
}

impl Reads {
    /// Starts the task that gathers questions. It ends with the last handle.
    pub fn start(rpc: Rpc) -> Self {
        let (queue, inbox) = mpsc::channel(WAITING);
        tokio::spawn(gather(rpc, inbox));
        Self { queue }
    }

    pub async fn ask(&self, question: Question) -> Result<Answer, RpcError> {
        let stopped = || RpcError::NoAnswer("the reader has stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        self.queue.send((question, reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

async fn gather(rpc: Rpc, mut inbox: mpsc::Receiver<Asked>) {
    let permits = Arc::new(Semaphore::new(CONCURRENT));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let mut asked = Vec::with_capacity(TOGETHER);
        if inbox.recv_many(&mut asked, TOGETHER).await == 0 {
            return;
        }
        let rpc = rpc.clone();
        tokio::spawn(async move {
            let questions: Vec<_> = asked.iter().map(|(question, _)| *question).collect();
            let answers = read(&rpc, &questions).await;
            for (index, (_, reply)) in asked.into_iter().enumerate() {
                let answer = match &answers {
                    Ok(answers) => answers[index].clone(),
                    Err(error) => Err(error.clone()),
                };
                // A request that gave up does not want its answer.
                let _ = reply.send(answer);
            }
            drop(permit);
        });
    }
}

/// Block number, time and chain id come first in each call, so that an endpoint that is behind,
/// or another chain's, betrays itself in the answer that it falsifies.
const HEADER: usize = 3;

/// Calls for one question.
const EACH: usize = 5;

/// The outer error is every question's; an inner one is that of a question whose token does not
/// answer, and no concern of the others.
async fn read(rpc: &Rpc, questions: &[Question]) -> Result<Vec<Result<Answer, RpcError>>, RpcError> {
    let mut batch = rpc.batch();
    let data = calls(questions);
    let request = CallRequest { from: None, to: MULTICALL3, data: &data, gas: None };
    let state = batch.add_call::<_, Bytes>("eth_call", &(request, BlockTag::Latest))?;
    let mut codes = Vec::with_capacity(questions.len());
    for question in questions {
        codes.push(batch.add_call::<_, Bytes>("eth_getCode", &(question.payer, BlockTag::Latest))?);
    }
    obol_stop::reach("rpc.reads.before");
    batch.send().await?;
    obol_stop::reach("rpc.reads.after");
    let results = Multicall3::aggregate3Call::abi_decode_returns(&state.await?)
        .map_err(|error| RpcError::Malformed(format!("Multicall3: {error}")))?;
    if results.len() != HEADER + EACH * questions.len() {
        return Err(RpcError::Malformed("Multicall3 answered for other calls".to_owned()));
    }
    let (header, state) = results.split_at(HEADER);
    let block = small(&header[0])?;
    let block_time = small(&header[1])?;
    let chain_id = small(&header[2])?;
    let mut answers = Vec::with_capacity(questions.len());
    for (about, code) in state.chunks_exact(EACH).zip(codes) {
        let has_code = if code.await?.is_empty() { PayerCode::None } else { PayerCode::Some };
        answers.push(word(&about[0]).and_then(|used| {
            Ok(Answer {
                nonce: if used.is_zero() { NonceState::Unused } else { NonceState::Gone },
                balance: Amount::from_atomic(word(&about[1])?),
                has_code,
                barrier: barrier(&about[2..]),
                block,
                block_time,
                chain_id,
            })
        }));
    }
    Ok(answers)
}

fn calls(questions: &[Question]) -> Bytes {
    let call = |target: Address, data: Vec<u8>| Multicall3::Call3 {
        target,
        allowFailure: true,
        callData: data.into(),
    };
    let mut calls = Vec::with_capacity(HEADER + EACH * questions.len());
    calls.push(call(MULTICALL3, Multicall3::getBlockNumberCall {}.abi_encode()));
    calls.push(call(MULTICALL3, Multicall3::getCurrentBlockTimestampCall {}.abi_encode()));
    calls.push(call(MULTICALL3, Multicall3::getChainIdCall {}.abi_encode()));
    for Question { token, payer, payee, nonce } in questions {
        let state = Token::authorizationStateCall { authorizer: *payer, nonce: *nonce };
        calls.push(call(*token, state.abi_encode()));
        calls.push(call(*token, Token::balanceOfCall { account: *payer }.abi_encode()));
        calls.push(call(*token, Token::pausedCall {}.abi_encode()));
        calls.push(call(*token, Token::isBlacklistedCall { account: *payer }.abi_encode()));
        calls.push(call(*token, Token::isBlacklistedCall { account: *payee }.abi_encode()));
    }
    Multicall3::aggregate3Call { calls }.abi_encode().into()
}

fn barrier(switches: &[Multicall3::Result]) -> Barrier {
    let names = [Barrier::Paused, Barrier::PayerBlacklisted, Barrier::PayeeBlacklisted];
    let is_on = |switch: &Multicall3::Result| word(switch).is_ok_and(|value| !value.is_zero());
    names.into_iter().zip(switches).find(|(_, switch)| is_on(switch)).map_or(Barrier::None, |(name, _)| name)
}

pub(crate) fn word(result: &Multicall3::Result) -> Result<U256, RpcError> {
    match <&[u8; 32]>::try_from(&result.returnData[..]) {
        Ok(word) if result.success => Ok(U256::from_be_bytes(*word)),
        _ => Err(RpcError::Malformed("the token does not answer like an EIP-3009 token".to_owned())),
    }
}

pub(crate) fn small(result: &Multicall3::Result) -> Result<u64, RpcError> {
    word(result)?.try_into().map_err(|_| RpcError::Malformed("a block number beyond 64 bits".to_owned()))
}
