//! `--rpc base-sepolia=https://...`

use crate::exit::Failure;
use obol_core::{Chain, Registry};
use obol_evm::Rpc;
use std::{sync::Arc, time::Duration};

/// How long a chain's endpoint may take to answer one call: half a lease, which so outlasts one
/// call that hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A chain and where it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) chain: Arc<Chain>,
    pub(crate) rpc: Rpc,
}

/// Each is `<chain>=<URL>`; a chain has one endpoint.
pub(crate) fn parse(texts: &[String], registry: &Registry) -> Result<Vec<Endpoint>, Failure> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for text in texts {
        let (name, url) = text.split_once('=').ok_or_else(|| {
            Failure::config("--rpc wants <chain>=<URL>, for example base-sepolia=https://sepolia.example")
        })?;
        let chain =
            registry.chain(name.trim()).map_err(|error| Failure::config(format!("--rpc: {error}")))?;
        if endpoints.iter().any(|other| other.chain.id == chain.id) {
            return Err(Failure::config(format!("--rpc names {} ({}) twice", chain.name, chain.id)));
        }
        let rpc = Rpc::new(url.trim(), CALL_TIMEOUT)
            .map_err(|error| Failure::config(format!("--rpc {}: {error}", chain.name)))?;
        endpoints.push(Endpoint { chain: Arc::clone(chain), rpc });
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(texts: &[&str]) -> String {
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        // The failure's message is what a user sees; Debug holds it whole.
        format!("{:?}", parse(&texts, &Registry::built_in()).expect_err("refused"))
    }

    #[test]
    fn an_endpoint_that_is_not_one_is_refused_by_name() {
        assert!(refusal(&["http://127.0.0.1"]).contains("<chain>=<URL>"));
        assert!(refusal(&["nowhere=http://127.0.0.1"]).contains("unknown chain"));
        assert!(refusal(&["base=ftp://x"]).contains("--rpc base: the scheme is"));
        assert!(refusal(&["base=http://x", "eip155:8453=http://y"]).contains("twice"));
    }
}
