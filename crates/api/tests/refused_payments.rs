//! Payments that are refused: payees, prices, assets, times and ceilings.

mod common;

use common::{FILE, GOOD, assert_refused, faults, limits, read, registry, with};
use obol_api::{Limits, parse};
use std::{collections::HashSet, path::Path, time::Duration};

#[test]
fn a_payee_is_an_address_that_somebody_holds() {
    let pay_to = "payTo: \"0x2222222222222222222222222222222222222222\"";
    let at = "15: spec.payment.payTo";
    let no_address = "is not an address: write 0x and 40 hexadecimal digits";
    assert_refused(&[
        (pay_to, "payTo: \"0x22\"", at, no_address),
        (pay_to, "payTo: \"2222222222222222222222222222222222222222\"", at, no_address),
        (pay_to, "payTo: \"0X2222222222222222222222222222222222222222\"", at, no_address),
        (pay_to, "payTo: \"0x222222222222222222222222222222222222222g\"", at, no_address),
        (pay_to, "payTo: shop.eth", at, no_address),
        (pay_to, "payTo: \"0x0000000000000000000000000000000000000000\"", at, "the zero address"),
        (
            pay_to,
            "payTo: \"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed\"",
            at,
            "wrong checksum: a digit is mistyped, or its letters should read 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        ),
        (pay_to, "payTo: \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"", at, "is the asset's own address"),
        (pay_to, "payTo: \"0x036cbd53842c5426634e7929541ec2318f3dcf7e\"", at, "is the asset's own address"),
        (pay_to, "scheme: exact", "13: spec.payment.payTo", "is missing: give the address that is paid"),
    ]);
}

#[test]
fn a_payee_that_the_seller_does_not_allow_is_refused() {
    let allowed: HashSet<_> = [alloy_primitives::Address::repeat_byte(0x33)].into();
    let limits = Limits { payees: Some(allowed), ..limits() };
    let load = |text: &str| parse(text, Path::new(FILE), &registry(), &limits);
    let told = faults(&load(GOOD));
    assert_eq!(
        told,
        [format!(
            "{FILE}:15: spec.payment.payTo: 0x2222222222222222222222222222222222222222 is not among the payees that \
         this seller allows"
        )]
    );
    let loaded = load(&GOOD.replace("2222222222222222222222222222222222222222", &"33".repeat(20)));
    assert_eq!((loaded.offers.len(), faults(&loaded)), (1, vec![]));
}

#[test]
fn a_price_is_per_request_exact_and_greater_than_zero() {
    let price = "perRequest: \"0.01\"";
    let at = "18: spec.payment.price.perRequest";
    let huge = format!("perRequest: \"{}\"", "9".repeat(80));
    let huge_number = format!("perRequest: {}", "9".repeat(400));
    assert_refused(&[
        (price, "perRequest: \"0\"", at, "is zero; an offer has a price"),
        (price, "perRequest: 0", at, "is zero"),
        (price, "perRequest: 0.000000", at, "is zero"),
        (price, "perRequest: \"-0.01\"", at, "never negative"),
        (price, "perRequest: -1", at, "never negative"),
        (price, "perRequest: \"$0.01\"", at, "leave the $ out"),
        (price, "perRequest: 0.0000001", at, "has 7 decimals, but the asset has only 6"),
        (price, &huge, at, "does not fit in 256 bits"),
        (price, &huge_number, at, "does not fit in 256 bits"),
        (price, "perRequest: 1e-2", at, "is not a plain decimal number"),
        (price, "perRequest: 0x10", at, "is not a plain decimal number"),
        (price, "perRequest: .5", at, "is not a plain decimal number"),
        (price, "perRequest: 1_000", at, "is not a plain decimal number"),
        (price, "perRequest: .inf", at, "is not a plain decimal number"),
        (price, "perRequest: \"0,01\"", at, "is not a plain decimal number"),
        (price, "perRequest: \" 1\"", at, "is not a plain decimal number"),
        (price, "perRequest: 010", at, "begins with a zero that some readers take for octal"),
        (price, "perRequest: true", at, "is not a plain decimal number"),
        (price, "perRequest: [1]", at, "must be a decimal number, not a list"),
        (price, "perMTok: \"1\"", "18: spec.payment.price.perMTok", "nothing is metered yet"),
        (price, "perHour: 1", "18: spec.payment.price.perHour", "nothing is metered yet"),
        (price, "perEpoch: 1", "18: spec.payment.price.perEpoch", "nothing is metered yet"),
        (
            price,
            "perRequest: 1\n      perHour: 1",
            "19: spec.payment.price.perHour",
            "remove it and give price.perRequest",
        ),
        (
            "price:\n      perRequest: \"0.01\"",
            "price: {}",
            "17: spec.payment.price.perRequest",
            "is missing",
        ),
        (
            "    price:\n      perRequest: \"0.01\"\n",
            "",
            "13: spec.payment.price",
            "is missing: give price.perRequest",
        ),
    ]);
}

#[test]
fn chains_and_assets_are_those_of_the_registry() {
    let (network, price) = ("network: base-sepolia", "    price:");
    let asset = |fields: &str| format!("    asset: {{{fields}}}\n    price:");
    let at = "17: spec.payment.asset";
    let cases = [
        ("decimals: 6", "", "name the asset by its symbol or its address"),
        ("symbol: USDT", ".symbol", "unknown asset \"USDT\" on eip155:84532; known there: USDC ("),
        (
            "address: \"0x3333333333333333333333333333333333333333\"",
            ".address",
            "another is added with --chains FILE",
        ),
        ("address: \"0x33\"", ".address", "is not an address"),
        (
            "symbol: USDC, decimals: 18",
            ".decimals",
            "\"18\" is not what is known of 0x036CbD53842c5426634e7929541eC2318f3dCF7e: \"6\"",
        ),
        ("symbol: USDC, transferMethod: permit2", ".transferMethod", "say otherwise with --chains FILE"),
        (
            "symbol: USDC, transferMethod: eip2612",
            ".transferMethod",
            "\"eip2612\" is none of: eip3009, permit2",
        ),
        ("symbol: USDC, eip712Name: usdc", ".eip712Name", "\"usdc\" is not what is known"),
        ("symbol: USDC, eip712Version: \"1\"", ".eip712Version", "\"1\" is not what is known"),
        (
            "symbol: OBOL, address: \"0x036CbD53842c5426634e7929541eC2318f3dCF7e\"",
            ".symbol",
            "\"OBOL\" is not what is known",
        ),
        ("symbol: OBOL", "", "moves by permit2, which is known and not settled yet"),
    ];
    for (fields, field, says) in cases {
        assert_refused(&[(price, &asset(fields), &format!("{at}{field}"), says)]);
    }
    assert_refused(&[
        (
            network,
            "network: base-sepola",
            "14: spec.payment.network",
            "unknown chain \"base-sepola\"; did you mean base-sepolia?",
        ),
        (
            network,
            "network: eip155:424242",
            "14: spec.payment.network",
            "another is added with --chains FILE",
        ),
        (
            network,
            "network: bare",
            "14: spec.payment.network",
            "no asset is known on bare; add one with --chains FILE",
        ),
        (network, "network: megaeth", "14: spec.payment.network", "not settled yet"),
        (network, "scheme: exact", "13: spec.payment.network", "is missing: name the chain"),
        (network, "network: base\n    scheme: upto", "15: spec.payment.scheme", "\"upto\" is none of: exact"),
    ]);
}

#[test]
fn a_signature_has_to_outlive_upstream_and_settlement() {
    let max = "maxTimeoutSeconds: 300";
    let at = "16: spec.payment.maxTimeoutSeconds";
    assert_refused(&[
        (max, "maxTimeoutSeconds: 119", at, "write at least 120"),
        (max, "maxTimeoutSeconds: 0", at, "write at least 120"),
        (max, "maxTimeoutSeconds: 86401", at, "more than a day"),
        ("timeoutSeconds: 60", "timeoutSeconds: 241", at, "write at least 301"),
        ("    maxTimeoutSeconds: 300\n", "    scheme: upto\n", "16: spec.payment.scheme", "none of: exact"),
    ]);
    let late =
        GOOD.replace("    maxTimeoutSeconds: 300\n", "").replace("timeoutSeconds: 60", "timeoutSeconds: 241");
    assert_eq!(
        faults(&read(&late)),
        [format!(
            "{FILE}:13: spec.payment.maxTimeoutSeconds: 300 seconds are too few for the upstream's timeoutSeconds and the \
         settlement; write at least 301"
        )]
    );
    let fraction = Limits { settle_and_skew: Duration::from_millis(240_001), payees: None };
    let told = faults(&parse(GOOD, Path::new(FILE), &registry(), &fraction));
    assert!(told[0].ends_with("write at least 301"), "{told:?}");
}

#[test]
fn charging_optimistically_needs_two_ceilings_in_one_unit() {
    let charge = "charge: beforeBody";
    let both = "charge:\n    optimistic:\n      perPayer: \"1\"\n      perOffer: \"10\"";
    assert_refused(&[
        (charge, "charge: optimistic", "19: spec.charge", "optimistic needs ceilings"),
        (charge, "charge: later", "19: spec.charge", "\"later\" is none of: beforeBody"),
        (charge, "charge: {}", "19: spec.charge", "must be beforeBody or optimistic"),
        (charge, "charge: 1", "19: spec.charge", "must be a text, not a number"),
        (
            charge,
            "charge:\n    optimistic: {perPayer: 1}",
            "20: spec.charge.optimistic.perOffer",
            "is missing",
        ),
        (
            charge,
            "charge:\n    optimistic: {perOffer: 1}",
            "20: spec.charge.optimistic.perPayer",
            "is missing",
        ),
        (
            charge,
            "charge:\n    optimistic: {perPayer: 0, perOffer: 1}",
            "20: spec.charge.optimistic.perPayer",
            "is zero",
        ),
        (
            charge,
            "charge:\n    optimistic: {perPayer: 1, perOffer: 0.0000001}",
            "20: spec.charge.optimistic.perOffer",
            "has 7 decimals",
        ),
        (
            "onDisconnect: release",
            "onDisconnect: retry",
            "20: spec.onDisconnect",
            "\"retry\" is none of: release, charge",
        ),
    ]);
    let mixed = with(charge, both).replace("  payment:\n    network", "  payments:\n  - {network: local, payTo: \"0x3333333333333333333333333333333333333333\", price: {perRequest: 1}}\n  - network");
    let told = faults(&read(&mixed));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].contains("spec.charge.optimistic: sums of 6 decimals (USDC) and of 18 cannot be added up"),
        "{told:?}"
    );
}

#[test]
fn two_ways_to_pay_that_are_the_same_are_refused() {
    let way = |network: &str, price: &str| {
        format!(
            "\n  - {{network: {network}, payTo: \"0x{}\", price: {{perRequest: {price}}}}}",
            "22".repeat(20)
        )
    };
    let head = &GOOD[..GOOD.find("  payment:").expect("there")];
    let text =
        format!("{head}  payments:{}{}{}", way("base", "1"), way("base", "2"), way("eip155:8453", "1.0"));
    assert_eq!(
        faults(&read(&text)),
        [format!(
            "{FILE}:16: spec.payments[2]: is the same as an earlier one (chain, asset, payTo and price); remove one"
        )]
    );
}
