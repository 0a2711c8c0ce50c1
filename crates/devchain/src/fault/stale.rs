//! How a node answers that lags: its head is an old block, and it knows nothing later.

use serde_json::{Value, json};

/// What a lagging node makes of a call.
pub(super) enum Pinned {
    /// It knows the answer without its state.
    Known(Value),
    /// It was asked for a block that it has not seen.
    Unseen,
    /// The real node is asked, with parameters that name the old head.
    Ask,
}

/// Rewrites the parameters so that the real node answers as of block `head`.
pub(super) fn pin(method: &str, params: &mut Value, head: u64) -> Pinned {
    let position = match method {
        "eth_blockNumber" => return Pinned::Known(hex(head)),
        "eth_getLogs" => return pin_filter(params, head),
        "eth_getBlockByNumber" | "eth_getBlockReceipts" => 0,
        "eth_call"
        | "eth_estimateGas"
        | "eth_getBalance"
        | "eth_getCode"
        | "eth_getTransactionCount"
        | "eth_feeHistory" => 1,
        "eth_getStorageAt" => 2,
        _ => return Pinned::Ask,
    };
    let Value::Array(params) = params else { return Pinned::Ask };
    if params.len() == position {
        params.push(json!("latest"));
    }
    let Some(tag) = params.get_mut(position) else { return Pinned::Ask };
    match resolve(tag, head) {
        Some(number) if number > head && position == 0 => return Pinned::Known(Value::Null),
        Some(number) if number > head => return Pinned::Unseen,
        Some(number) => *tag = hex(number),
        None => {}
    }
    Pinned::Ask
}

fn pin_filter(params: &mut Value, head: u64) -> Pinned {
    let Some(filter) = params.get_mut(0).and_then(Value::as_object_mut) else { return Pinned::Ask };
    if filter.contains_key("blockHash") {
        return Pinned::Ask;
    }
    let bound = |tag: Option<&Value>| tag.and_then(|tag| resolve(tag, head)).unwrap_or(head);
    let (from, to) = (bound(filter.get("fromBlock")), bound(filter.get("toBlock")).min(head));
    if from > to {
        return Pinned::Known(json!([]));
    }
    filter.insert("fromBlock".to_owned(), hex(from));
    filter.insert("toBlock".to_owned(), hex(to));
    Pinned::Ask
}

/// The number that a block tag means to a node with this head; `None` for a block hash.
/// `safe` and `finalized` trail as they do on the local chain.
fn resolve(tag: &Value, head: u64) -> Option<u64> {
    match tag.as_str()? {
        "latest" | "pending" => Some(head),
        "safe" => Some(head.saturating_sub(1)),
        "finalized" => Some(head.saturating_sub(2)),
        "earliest" => Some(0),
        number => u64::from_str_radix(number.strip_prefix("0x")?, 16).ok(),
    }
}

/// Takes out of the real node's answer what a lagging one cannot know.
pub(super) fn hide(method: &str, result: &mut Value, head: u64) {
    let later = |field: &str, result: &Value| {
        result.get(field).and_then(|tag| resolve(tag, head)).is_some_and(|number| number > head)
    };
    match method {
        "eth_getTransactionReceipt" if later("blockNumber", result) => *result = Value::Null,
        "eth_getBlockByHash" if later("number", result) => *result = Value::Null,
        // In its pool, perhaps; in no block.
        "eth_getTransactionByHash" if later("blockNumber", result) => {
            for field in ["blockNumber", "blockHash", "transactionIndex"] {
                result[field] = Value::Null;
            }
        }
        _ => {}
    }
}

fn hex(number: u64) -> Value {
    json!(format!("{number:#x}"))
}
