//! One document that is good, and what becomes of it with lines exchanged.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod shop;

use obol_api::{Limits, Loaded, parse};
use obol_core::{Amount, Asset, Chain, ChainId, Domain, Finality, Registry, TransferMethod};
use std::{path::Path, time::Duration};

/// Its lines are counted in tests of refusals.
pub(crate) const GOOD: &str = r#"apiVersion: obol.org/v1alpha1
kind: ServiceOffer
metadata:
  name: demo
  namespace: shop
spec:
  description: A demo
  upstream:
    url: http://127.0.0.1:9000
    timeoutSeconds: 60
  path: /services/demo
  hostname: shop.example
  payment:
    network: base-sepolia
    payTo: "0x2222222222222222222222222222222222222222"
    maxTimeoutSeconds: 300
    price:
      perRequest: "0.01"
  charge: beforeBody
  onDisconnect: release
"#;

pub(crate) const FILE: &str = "offers/demo.yaml";

pub(crate) fn limits() -> Limits {
    Limits { settle_and_skew: Duration::from_secs(60), payees: None }
}

/// The built-in chains, one with an asset of 18 decimals, and one without any.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::built_in();
    for (id, name) in [(31337, "local"), (31338, "bare")] {
        registry.add_chain(Chain {
            id: ChainId::new(id),
            name: name.to_owned(),
            aliases: vec![],
            v1_name: None,
            finality: Finality::Depth(0),
            block_millis: 1_000,
            op_stack: false,
        });
    }
    let wei = Asset {
        chain: ChainId::new(31337),
        address: alloy_primitives::Address::repeat_byte(7),
        symbol: "WEI".to_owned(),
        decimals: 18,
        domain: Domain { name: "Wei".to_owned(), version: "1".to_owned() },
        method: TransferMethod::Eip3009,
    };
    registry.add_asset(wei).expect("a sound asset");
    registry
}

pub(crate) fn read(text: &str) -> Loaded {
    parse(text, Path::new(FILE), &registry(), &limits())
}

/// The good document with `from` replaced, which has to be there once.
pub(crate) fn with(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    GOOD.replace(from, to)
}

pub(crate) fn faults(loaded: &Loaded) -> Vec<String> {
    loaded.faults.iter().map(ToString::to_string).collect()
}

/// The price of the first way to pay of the only offer, in atomic units.
pub(crate) fn amount(loaded: &Loaded) -> Amount {
    assert_eq!(faults(loaded), [""; 0]);
    assert_eq!(loaded.offers.len(), 1);
    loaded.offers[0].accepts[0].amount
}

/// Each case exchanges one text of the good document; the only fault then begins with the first
/// text and holds the second.
pub(crate) fn assert_refused(cases: &[(&str, &str, &str, &str)]) {
    for &(from, to, place, says) in cases {
        let loaded = read(&with(from, to));
        let told = faults(&loaded);
        assert!(loaded.offers.is_empty(), "{to:?} is sold");
        assert_eq!(told.len(), 1, "{to:?}: {told:#?}");
        assert!(told[0].starts_with(&format!("{FILE}:{place}: ")), "{to:?}: {}", told[0]);
        assert!(told[0].contains(says), "{to:?}: {}", told[0]);
    }
}
