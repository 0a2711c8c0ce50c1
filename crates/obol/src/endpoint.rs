//! `--rpc base-sepolia=https://...`

use crate::{
    exit::Failure,
    faults::{Faults, words},
};
use clap::Args;
use obol_core::{Chain, Registry};
use obol_evm::Rpc;
use std::{sync::Arc, time::Duration};

/// How long a chain's endpoint may take to answer one call: half a lease, which so outlasts one
/// call that hangs.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A chain and where it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) chain: Arc<Chain>,
    pub(crate) rpc: Rpc,
}

/// How a chain's endpoint is written.
pub(crate) const EXAMPLE: &str = "<chain>=<URL>, for example base-sepolia=https://sepolia.example";

/// Of the commands that only ask chains.
#[derive(Args, Debug)]
pub(crate) struct EndpointArgs {
    /// A chain's JSON-RPC endpoint, once per chain.
    #[arg(
        long,
        env = "OBOL_RPC",
        hide_env_values = true,
        value_name = "CHAIN=URL",
        value_delimiter = ' ',
        required = true
    )]
    rpc: Vec<String>,
}

impl EndpointArgs {
    pub(crate) fn parse(&self, registry: &Registry) -> Result<Vec<Endpoint>, Failure> {
        let mut faults = Faults::default();
        let endpoints = read(&self.rpc, registry, &mut faults);
        faults.none().map(|()| endpoints)
    }
}

/// Each is `<chain>=<URL>`; a chain has one endpoint. Those that are right.
pub(crate) fn read(texts: &[String], registry: &Registry, faults: &mut Faults) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for text in words(texts) {
        let read = one(text, registry).and_then(|endpoint| {
            let chain = &endpoint.chain;
            match endpoints.iter().any(|other| other.chain.id == chain.id) {
                true => {
                    Err(format!("{} ({}) is named twice; a chain has one endpoint", chain.name, chain.id))
                }
                false => Ok(endpoint),
            }
        });
        endpoints.extend(faults.sift("--rpc", read));
    }
    endpoints
}

/// A refusal never quotes a URL, which may hold a key.
fn one(text: &str, registry: &Registry) -> Result<Endpoint, String> {
    // A URL may have an equals sign of its own.
    let (name, url) = text
        .split_once('=')
        .filter(|(name, _)| !name.contains('/'))
        .ok_or_else(|| format!("a value does not begin with its chain; write {EXAMPLE}"))?;
    let (name, url) = (name.trim(), url.trim());
    let chain = registry.chain(name).map_err(|error| error.to_string())?;
    if !url.contains("://") {
        return Err(format!("{name}: the URL does not begin with http:// or https://; write {EXAMPLE}"));
    }
    let rpc = Rpc::new(url, CALL_TIMEOUT).map_err(|error| format!("{name}: {error}; write {EXAMPLE}"))?;
    Ok(Endpoint { chain: Arc::clone(chain), rpc })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(texts: &[&str]) -> String {
        let args = EndpointArgs { rpc: texts.iter().map(|&text| text.to_owned()).collect() };
        // The failure's message is what a user sees; Debug holds it whole.
        format!("{:?}", args.parse(&Registry::built_in()).expect_err("refused"))
    }

    #[test]
    fn an_endpoint_that_is_not_one_is_refused_by_name() {
        for text in ["http://127.0.0.1", "https://rpc.example/v2?key=sesame", "base"] {
            let refused = refusal(&[text]);
            assert!(refused.contains("does not begin with its chain"), "{refused}");
            assert!(!refused.contains("sesame"), "{refused}");
        }
        assert!(refusal(&["nowhere=http://127.0.0.1"]).contains("unknown chain"));
        assert!(refusal(&["base=ftp://x"]).contains("--rpc: base: the scheme is"));
        assert!(refusal(&["base=localhost:8545"]).contains("does not begin with http://"));
        assert!(refusal(&["base=http://x", "eip155:8453=http://y"]).contains("twice"));
    }

    #[test]
    fn every_fault_is_told() {
        let refused = refusal(&["nowhere=http://x", "base=http://x", "base=x"]);
        assert!(refused.contains("unknown chain") && refused.contains("http://"), "{refused}");
    }
}
