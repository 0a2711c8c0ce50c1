//! Static routes: what is read of `pricing.yaml`, and what is refused.

mod common;

use common::{limits, registry};
use obol_api::Pricing;
use obol_core::{Offer, Pattern};
use std::path::Path;

/// Its lines are counted in the tests of refusals.
const GOOD: &str = r#"wallet: "0x2222222222222222222222222222222222222222"
chain: base-sepolia
facilitatorURL: ""
verifyOnly: false
routes:
  - pattern: /v1/*
    price: "0.01"
    upstreamURL: http://127.0.0.1:9000/api/
    stripPrefix: /v1
    description: Everything
  - pattern: /v1/models
    price: 0.002
    payTo: "0x3333333333333333333333333333333333333333"
    network: base
    offerNamespace: shop
    offerName: models
"#;

fn parse(text: &str) -> Pricing {
    Pricing::parse(text, Path::new("pricing.yaml"), &registry(), &limits())
}

fn told(pricing: &Pricing) -> Vec<String> {
    pricing.faults.iter().map(ToString::to_string).collect()
}

fn with(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    GOOD.replace(from, to)
}

fn price(offer: &Offer) -> (String, String, String) {
    let way = &offer.accepts[0];
    (way.asset.chain.to_string(), way.pay_to.to_string(), way.amount.to_decimal(way.asset.decimals))
}

/// The route of a file that has this one alone.
fn only(route: &str) -> Offer {
    let text =
        format!("wallet: '0x2222222222222222222222222222222222222222'\nchain: base\nroutes: [{route}]\n");
    let pricing = parse(&text);
    assert_eq!(told(&pricing), [""; 0], "{route}");
    Offer::clone(&pricing.routes[0].offer)
}

#[test]
fn of_two_routes_with_one_name_the_first_is_sold_and_the_second_is_told() {
    let named =
        GOOD.replace("    description: Everything", "    offerNamespace: shop\n    offerName: models");
    let pricing = parse(&named);
    assert_eq!(pricing.routes.len(), 1);
    let told = told(&pricing);
    assert!(told.len() == 1 && told[0].contains("shop/models is sold by pricing.yaml:6 already"), "{told:?}");
}

#[test]
fn each_route_is_an_offer_with_the_files_wallet_and_chain_where_it_says_no_other() {
    let pricing = parse(GOOD);
    assert_eq!(told(&pricing), [""; 0]);
    assert!(pricing.notes.is_empty());
    let [all, models] = pricing.routes.as_slice() else { panic!("{pricing:#?}") };
    assert_eq!((all.line, models.line), (6, 11));
    let (all, models) = (&all.offer, &models.offer);
    assert_eq!(
        (&all.path, &models.path),
        (&Pattern::Below("/v1".to_owned()), &Pattern::Exact("/v1/models".to_owned()))
    );
    let text = |text: &str| text.to_owned();
    assert_eq!(price(all), (text("eip155:84532"), format!("0x{}", "2".repeat(40)), text("0.01")));
    assert_eq!(price(models), (text("eip155:8453"), format!("0x{}", "3".repeat(40)), text("0.002")));
    assert_eq!(
        (all.upstream.base.as_deref(), all.upstream.strip.as_str()),
        (Some("http://127.0.0.1:9000/api"), "/v1")
    );
    assert_eq!((models.upstream.base.as_deref(), models.upstream.strip.as_str()), (None, ""));
    assert_eq!(models.id.to_string(), "shop/models");
    assert_eq!(all.accepts[0].max_timeout_seconds, 600);
    assert_eq!(all.description, "Everything");
}

#[test]
fn a_route_without_a_name_has_one_that_stays_and_is_no_other_routes() {
    let name = |route: &str| only(route).id.to_string();
    let first = name("{pattern: /v1/*, price: 1}");
    assert_eq!(first, name("{pattern: /v1/*, price: 2, description: other, upstreamURL: 'http://x'}"));
    assert!(first.starts_with("pricing/v1-") && first.len() == "pricing/v1-".len() + 8, "{first}");
    let others = ["/v1", "/V1/*", "/v1/*/x", "/*", "/"]
        .map(|pattern| name(&format!("{{pattern: {pattern}, price: 1}}")));
    let host = name("{pattern: /v1/*, price: 1, hostname: a.example}");
    let all: std::collections::HashSet<_> = others.iter().chain([&first, &host]).collect();
    assert_eq!(all.len(), 7, "{all:?}");
    assert!(name("{pattern: /v1/*, price: 1, offerNamespace: shop}").starts_with("shop/v1-"));
    assert_eq!(name("{pattern: /v1/*, price: 1, offerName: one}"), "pricing/one");
}

#[test]
fn what_the_original_writes_beside_a_price_is_taken_as_it_is() {
    let offer = only(
        "{pattern: /a, price: '0.01', payTo: '', network: '', assetSymbol: USDC, assetDecimals: 6, eip712Version: '2', \
         assetTransferMethod: eip3009, priceModel: perMTok, perMTok: '1.25', approxTokensPerRequest: 1000, \
         agentModel: m, agentSkills: [a], agentRuntime: r, offerType: inference, model: qwen, maxTimeoutSeconds: 0, \
         async: false, brokerURL: '', asyncTTL: 72h, asyncVisibility: payer, freeQuota: 0, gate: paid, payments: []}",
    );
    assert_eq!((price(&offer).2.as_str(), offer.accepts[0].max_timeout_seconds), ("0.01", 600));
    // Words about the chain's first asset need not name it.
    only("{pattern: /a, price: '0.01', assetDecimals: 6}");
}

#[test]
fn several_ways_to_pay_are_listed_and_the_first_may_be_said_twice() {
    let ways = "payments: [{price: '0.01', network: base}, {price: '0.02', network: polygon, \
                payTo: '0x4444444444444444444444444444444444444444'}]";
    for inline in ["", "price: '0.01', ", "price: '0.01', network: base, "] {
        let offer = only(&format!("{{pattern: /a, {inline}{ways}}}"));
        let prices: Vec<_> = offer.accepts.iter().map(|way| way.amount.to_string()).collect();
        assert_eq!(prices, ["10000", "20000"], "{inline}");
    }
    let text = format!(
        "wallet: '0x2222222222222222222222222222222222222222'\nchain: base\nroutes: [{{pattern: /a, price: '0.011', {ways}}}]"
    );
    let pricing = parse(&text);
    assert!(pricing.routes.is_empty());
    assert_eq!(
        told(&pricing),
        [
            "pricing.yaml:3: routes[0].price: the route's own way to pay is not payments[0], which it should repeat; leave \
          it out"
        ]
    );
}

#[test]
fn settings_of_a_running_process_are_noted_and_not_followed() {
    let pricing = parse(&with(
        "facilitatorURL: \"\"\nverifyOnly: false",
        "facilitatorURL: https://f.example\nverifyOnly: true",
    ));
    let notes: Vec<_> = pricing.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 2);
    assert!(
        notes[0].starts_with("pricing.yaml:3: facilitatorURL: ") && notes[0].ends_with("--facilitator"),
        "{notes:?}"
    );
    assert!(
        notes[1].starts_with("pricing.yaml:4: verifyOnly: ") && notes[1].ends_with("--verify-only"),
        "{notes:?}"
    );
    assert_eq!((pricing.routes.len(), told(&pricing).len()), (2, 0));
}

#[test]
fn one_fault_is_one_sentence_with_its_place_and_keeps_the_other_route_sold() {
    let second = ["    price: 0.002", "    network: base\n"];
    for (from, to, says) in [
        (
            "offerName: models",
            "oferName: models",
            "16: routes[1].oferName: unknown field; did you mean offerName?",
        ),
        (
            "pattern: /v1/models",
            "pattern: models",
            "11: routes[1].pattern: \"models\" must begin with a slash",
        ),
        (
            "pattern: /v1/models",
            "pattern: /v1/m[ab]",
            "11: routes[1].pattern: \"/v1/m[ab]\" may hold letters",
        ),
        (second[0], "    price: 0", "12: routes[1].price: is zero"),
        (second[0], "    price: 0.0000001", "12: routes[1].price: \"0.0000001\" has 7 decimals"),
        (second[0], "    price: 1e-3", "12: routes[1].price: \"1e-3\" is not a plain decimal"),
        (second[0], "    price: '-1'", "12: routes[1].price: \"-1\" is not a plain decimal"),
        (
            second[0],
            "    priceModel: perRequest",
            "11: routes[1].price: is missing: say what one request costs",
        ),
        (second[0], "    perMTok: 1", "12: routes[1].perMTok: nothing is metered yet; give price"),
        (
            second[0],
            "    priceModel: perHour",
            "12: routes[1].priceModel: nothing is metered yet; give price",
        ),
        (
            "0x3333333333333333333333333333333333333333",
            "0x333",
            "13: routes[1].payTo: \"0x333\" is not an address",
        ),
        (
            "0x3333333333333333333333333333333333333333",
            "0x0000000000000000000000000000000000000000",
            "13: routes[1].payTo: the zero address",
        ),
        (
            "0x3333333333333333333333333333333333333333",
            "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
            "13: routes[1].payTo: is the asset's own address",
        ),
        (
            "0x3333333333333333333333333333333333333333",
            "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "13: routes[1].payTo: 0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed has a wrong checksum",
        ),
        (second[1], "    network: bas\n", "14: routes[1].network: unknown chain \"bas\"; did you mean base?"),
        (second[1], "    assetSymbol: EURX\n", "14: routes[1].assetSymbol: "),
        (second[1], "    assetDecimals: 18\n", "14: routes[1].assetDecimals: \"18\" is not what is known"),
        (second[1], "    eip712Name: USD\n", "14: routes[1].eip712Name: \"USD\" is not what is known"),
        (
            second[1],
            "    assetTransferMethod: permit2\n",
            "14: routes[1].assetTransferMethod: \"permit2\" is not what is known",
        ),
        (second[1], "    assetAddress: '0x12'\n", "14: routes[1].assetAddress: \"0x12\" is not an address"),
        (second[1], "    maxTimeoutSeconds: 20\n", "14: routes[1].maxTimeoutSeconds: 20 seconds are too few"),
        (
            second[1],
            "    maxTimeoutSeconds: 100000\n",
            "14: routes[1].maxTimeoutSeconds: 100000 is more than a day",
        ),
        (second[1], "    hostname: http://x\n", "14: routes[1].hostname: \"http://x\" is not a host name"),
        (second[1], "    stripPrefix: /v2\n", "14: routes[1].stripPrefix: \"/v2\" is not what each path"),
        (
            second[1],
            "    stripPrefix: /v1/mod\n",
            "14: routes[1].stripPrefix: \"/v1/mod\" is not what each path",
        ),
        (second[1], "    stripPrefix: v1\n", "14: routes[1].stripPrefix: \"v1\" must begin with a slash"),
        (
            second[1],
            "    upstreamURL: localhost\n",
            "14: routes[1].upstreamURL: must be a URL with its scheme",
        ),
        (second[1], "    gate: free\n", "14: routes[1].gate: is \"free\": only paid routes are sold"),
        (second[1], "    gate: auth\n", "14: routes[1].gate: is \"auth\": only paid routes are sold"),
        (second[1], "    freeQuota: 3\n", "14: routes[1].freeQuota: nothing is given away"),
        (second[1], "    async: true\n", "14: routes[1].async: a paid request is answered while"),
        (second[1], "    brokerURL: http://b\n", "14: routes[1].brokerURL: a paid request is answered while"),
        (second[1], "    asyncTTL: 1h\n", "14: routes[1].asyncTTL: a paid request is answered while"),
        (
            second[1],
            "    asyncVisibility: public\n",
            "14: routes[1].asyncVisibility: a paid request is answered",
        ),
        (
            "offerNamespace: shop",
            "offerNamespace: facilitator",
            "15: routes[1].offerNamespace: is where a facilitator's",
        ),
        ("offerName: models", "offerName: Models", "16: routes[1].offerName: \"Models\" is not a DNS label"),
        (second[1], "    payments: [{price: 0}]\n", "14: routes[1].payments[0].price: is zero"),
        (
            second[1],
            "    payments: [{prise: 1, price: 0.002}]\n",
            "14: routes[1].payments[0].prise: unknown field; did you mean price?",
        ),
        (second[1], "    payments: {}\n", "14: routes[1].payments: must be a list, not a map"),
    ] {
        let pricing = parse(&with(from, to));
        let told = told(&pricing);
        assert_eq!(told.len(), 1, "{to}: {told:#?}");
        assert!(told[0].starts_with(&format!("pricing.yaml:{says}")), "{to}: {}", told[0]);
        assert_eq!(pricing.routes.len(), 1, "{to}");
    }
}

#[test]
fn a_fault_of_the_file_is_told_once_and_the_routes_that_need_it_say_so() {
    for (from, to, says, sold) in [
        (
            "wallet: \"0x2222222222222222222222222222222222222222\"",
            "wallet: \"0x22\"",
            "1: wallet: \"0x22\" is not an address",
            1,
        ),
        ("chain: base-sepolia", "chain: sepolia", "2: chain: unknown chain", 1),
        ("chain: base-sepolia", "chian: base-sepolia", "2: chian: unknown field; did you mean chain?", 1),
        (
            "verifyOnly: false",
            "verifyonly: false",
            "4: verifyonly: unknown field; did you mean verifyOnly?",
            2,
        ),
        ("verifyOnly: false", "verifyOnly: 'no'", "4: verifyOnly: must be true or false", 2),
    ] {
        let pricing = parse(&with(from, to));
        let told = told(&pricing);
        assert!(told[0].starts_with(&format!("pricing.yaml:{says}")), "{told:#?}");
        assert_eq!((told.len(), pricing.routes.len()), (3 - sold, sold), "{told:#?}");
        assert!(told[1..].iter().all(|fault| fault.starts_with("pricing.yaml:6: routes[0].")), "{told:#?}");
    }
    for (text, says) in [
        ("", "pricing.yaml:1: is empty"),
        ("# nothing\n", "pricing.yaml:1: is empty"),
        ("routes: {}\n", "pricing.yaml:1: routes: must be a list, not a map"),
        ("- a\n", "pricing.yaml:1: must be a map, not a list"),
        ("routes: []\n---\nroutes: []\n", "pricing.yaml:3: a second document begins here"),
        ("wallet: [\n", "pricing.yaml:"),
    ] {
        let told = told(&parse(text));
        assert!(told.len() == 1 && told[0].starts_with(says), "{text:?}: {told:?}");
    }
    assert_eq!(told(&parse("routes: []\n")), [""; 0]);
    assert_eq!(told(&parse("wallet: \"\"\nroutes:\n")), [""; 0]);
}

#[test]
fn no_fault_and_no_debug_output_shows_a_credential() {
    const SECRET: &str = "hush-7c1f";
    for auth in [
        format!("upstreamAuth: 'Bearer {SECRET}'"),
        format!("upstreamAuth: \"Bearer {SECRET}\\n\\u0001x\""),
        format!("upstreamAuth: [{SECRET}]"),
        format!("upstreamAuth: {{{SECRET}: x}}"),
        format!("upstreamAuth: Bearer {SECRET}: x"),
        format!("upstreamAuth: *{SECRET}"),
        format!("upstreamAuth: 'Bearer {SECRET}"),
        format!("upstreamAuth: \"Bearer \\q{SECRET}\""),
        format!("upstreamAuth: @{SECRET}"),
        format!("upstreamAuth: !{SECRET} x"),
        "upstreamAuth: 771244".to_owned(),
        format!("upstreamURL: http://me:{SECRET}@x/"),
    ] {
        let pricing = parse(&with("    network: base\n", &format!("    {auth}\n")));
        let shown = format!("{:?} {pricing:?}", told(&pricing));
        assert!(!shown.contains("hush") && !shown.contains("771244"), "{auth}: {shown}");
    }
    let offer = only(&format!("{{pattern: /a, price: 1, upstreamAuth: ' Bearer {SECRET} '}}"));
    assert_eq!(offer.upstream.authorization.as_deref(), Some("Bearer hush-7c1f"));
    let refused = told(&parse(&with("    network: base\n", "    upstreamAuth: 771244\n")));
    assert_eq!(
        refused,
        ["pricing.yaml:14: routes[1].upstreamAuth: must be a text, not a number; put it in quotes"]
    );
}

#[test]
fn a_file_of_some_thousand_routes_is_read() {
    let routes: String = (0..3_000)
        .map(|n| format!("  - {{pattern: /r{n}/*, price: '0.01', upstreamURL: 'http://127.0.0.1:9'}}\n"))
        .collect();
    let pricing = parse(&format!(
        "wallet: '0x2222222222222222222222222222222222222222'\nchain: base\nroutes:\n{routes}"
    ));
    assert_eq!((told(&pricing).len(), pricing.routes.len()), (0, 3_000));
}

#[test]
fn the_example_of_the_operators_page_is_read_as_the_page_shows_it() {
    let page = include_str!("../../../docs/pricing.md");
    let example =
        page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let pricing = parse(example);
    assert_eq!(told(&pricing), [""; 0]);
    assert_eq!(pricing.routes.len(), 3);
    for route in &pricing.routes {
        assert!(page.contains(&format!("  {}\n", route.offer.id)), "{}", route.offer.id);
    }
}
