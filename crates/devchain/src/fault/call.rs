//! JSON-RPC messages, single or in a batch, as far as faults need to know them.

use super::{Fault, stale};
use alloy_primitives::{Bytes, U64};
use serde_json::{Value, json};

pub(super) struct Call {
    pub(super) method: String,
    params: Value,
    id: Value,
}

/// What becomes of a call.
pub(super) enum Fate {
    /// Answered here.
    Answered(Value),
    /// Passed on, perhaps changed; the node's answer is changed as of this block.
    Forwarded { request: Value, stale_at: Option<u64> },
}

/// A request's body.
pub(super) struct Body {
    pub(super) calls: Vec<Call>,
    is_batch: bool,
}

impl Body {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        match serde_json::from_slice(bytes).ok()? {
            Value::Array(calls) => {
                let calls = calls.into_iter().map(Call::parse).collect::<Option<Vec<_>>>()?;
                Some(Self { calls, is_batch: true })
            }
            call => Some(Self { calls: vec![Call::parse(call)?], is_batch: false }),
        }
    }

    pub(super) fn answer(&self, mut answers: Vec<Value>) -> Value {
        match self.is_batch {
            true => Value::Array(answers),
            false => answers.pop().unwrap_or_default(),
        }
    }
}

impl Call {
    fn parse(mut call: Value) -> Option<Self> {
        let method = call.get("method")?.as_str()?.to_owned();
        Some(Self { method, params: call["params"].take(), id: call["id"].take() })
    }

    /// The signed transaction that the call gives to the node.
    pub(super) fn transaction(&self) -> Option<Bytes> {
        (self.method == "eth_sendRawTransaction").then(|| self.params.get(0)?.as_str()?.parse().ok())?
    }

    /// Of the block that it asks for.
    fn height(&self) -> Option<u64> {
        (self.method == "eth_getBlockByNumber").then_some(())?;
        Some(self.params.get(0)?.as_str()?.parse::<U64>().ok()?.to())
    }

    /// How many blocks it searches for events.
    fn range(&self) -> Option<u64> {
        let end = |name| self.params.get(0)?.get(name)?.as_str()?.parse::<U64>().ok();
        (self.method == "eth_getLogs").then_some(())?;
        Some(end("toBlock")?.to::<u64>().saturating_sub(end("fromBlock")?.to()) + 1)
    }

    pub(super) fn fate(&self, faults: &[Fault]) -> Fate {
        let mut params = self.params.clone();
        let mut stale_at = None;
        for fault in faults {
            match fault {
                Fault::Refuse { code, message } => return self.refused(*code, message),
                Fault::Answer(result) => return self.answered(result.clone()),
                Fault::Lacks(height) if self.height() == Some(*height) => return self.answered(Value::Null),
                Fault::Prunes(height) if self.height() == Some(*height) => {
                    return self.refused(4444, "pruned history unavailable");
                }
                Fault::ChainId(id) if self.method == "eth_chainId" => {
                    return self.answered(json!(format!("{id:#x}")));
                }
                Fault::ChainId(id) if self.method == "net_version" => {
                    return self.answered(json!(id.to_string()));
                }
                Fault::MaxRange(most) if self.range().is_some_and(|blocks| blocks > *most) => {
                    return self.refused(-32600, &format!("up to a {most} block range"));
                }
                Fault::StaleAt(block) => match stale::pin(&self.method, &mut params, *block) {
                    stale::Pinned::Known(result) => return self.answered(result),
                    stale::Pinned::Unseen => return self.refused(-32000, "header not found"),
                    stale::Pinned::Ask => stale_at = Some(*block),
                },
                _ => {}
            }
        }
        let request = json!({ "jsonrpc": "2.0", "id": self.id, "method": self.method, "params": params });
        Fate::Forwarded { request, stale_at }
    }

    /// The node's answer as the client gets it.
    pub(super) fn pass_back(&self, mut answer: Value, stale_at: Option<u64>) -> Value {
        if let (Some(block), Some(result)) = (stale_at, answer.get_mut("result")) {
            stale::hide(&self.method, result, block);
        }
        answer
    }

    fn answered(&self, result: Value) -> Fate {
        Fate::Answered(json!({ "jsonrpc": "2.0", "id": self.id, "result": result }))
    }

    fn refused(&self, code: i64, message: &str) -> Fate {
        let error = json!({ "code": code, "message": message });
        Fate::Answered(json!({ "jsonrpc": "2.0", "id": self.id, "error": error }))
    }
}
