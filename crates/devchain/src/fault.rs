//! A faulty JSON-RPC endpoint: an HTTP server that passes calls on to a real node, except for
//! what it was told to do wrong. Clients meet the fault at the socket, as in production.

mod call;
mod rule;
mod server;
mod stale;

pub use rule::{Fault, Rule};

use alloy_primitives::Bytes;
use call::Call;
use rule::Rules;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{net::TcpListener, task::JoinHandle};

/// Dropping it closes its connections and frees its port.
pub struct FaultyRpc {
    url: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    rules: Rules,
    seen: BTreeMap<String, u64>,
    forwarded: BTreeMap<String, u64>,
    requests: u64,
    transactions: Vec<Bytes>,
}

impl State {
    fn note(&mut self, call: &Call) {
        count(&mut self.seen, &call.method);
        if let Some(raw) = call.transaction()
            && !self.transactions.contains(&raw)
        {
            self.transactions.push(raw);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Every critical section is a few assignments: a panic elsewhere leaves nothing half done.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counts: &mut BTreeMap<String, u64>, method: &str) {
    *counts.entry(method.to_owned()).or_default() += 1;
}

impl FaultyRpc {
    /// Listens on loopback and passes everything on to `target`, an `http://` URL.
    pub async fn start(target: &str) -> io::Result<Self> {
        let target = target.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::default();
        let server = tokio::spawn(server::serve(listener, target, Arc::clone(&state)));
        Ok(Self { url, state, server })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on does this wrong, to every call, and nothing else.
    pub fn set(&self, fault: Fault) {
        self.set_rules([Rule::of(fault)]);
    }

    /// From now on follows these rules. See [`Rule`] for how they combine.
    pub fn set_rules(&self, rules: impl IntoIterator<Item = Rule>) {
        lock(&self.state).rules = rules.into_iter().collect();
    }

    pub fn add(&self, rule: Rule) {
        lock(&self.state).rules.add(rule);
    }

    /// From now on passes everything on.
    pub fn heal(&self) {
        self.set_rules([]);
    }

    /// How often a method was asked for, alone or in a batch, whatever became of it.
    pub fn seen(&self, method: &str) -> u64 {
        lock(&self.state).seen.get(method).copied().unwrap_or(0)
    }

    /// How often a method reached the node.
    pub fn forwarded(&self, method: &str) -> u64 {
        lock(&self.state).forwarded.get(method).copied().unwrap_or(0)
    }

    /// HTTP requests; a batch is one.
    pub fn requests(&self) -> u64 {
        lock(&self.state).requests
    }

    /// The distinct signed transactions that were given to it, in the order in which they first
    /// came, whatever became of them. They are not forgotten by [`Self::reset_counts`].
    pub fn transactions(&self) -> Vec<Bytes> {
        lock(&self.state).transactions.clone()
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        let mut state = lock(&self.state);
        state.seen.clear();
        state.forwarded.clear();
        state.requests = 0;
    }
}

impl Drop for FaultyRpc {
    fn drop(&mut self) {
        self.server.abort();
    }
}
