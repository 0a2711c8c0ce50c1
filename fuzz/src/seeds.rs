//! What mutation begins with: the vectors of the published packages, and texts in which each part
//! of a grammar occurs.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

#[derive(Deserialize)]
struct Published {
    challenge_v2_header: String,
    challenge_v1_body: String,
    payment_v2_header: String,
    payment_v1_header: String,
    receipt_settled: String,
    receipt_pending: String,
    receipt_failed_v1: String,
}

fn published() -> Published {
    serde_json::from_str(include_str!("../../crates/wire/testdata/published.json")).expect("the vectors")
}

/// Each header, and the JSON in it.
fn opened(headers: impl IntoIterator<Item = String>) -> Vec<Vec<u8>> {
    let json = |header: &str| STANDARD.decode(header).expect("base64");
    headers.into_iter().flat_map(|header| [json(&header), header.into_bytes()]).collect()
}

fn lines(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn payments() -> Vec<Vec<u8>> {
    opened([published().payment_v1_header, published().payment_v2_header])
}

pub fn challenges() -> Vec<Vec<u8>> {
    let mut seeds = opened([published().challenge_v2_header]);
    seeds.push(published().challenge_v1_body.into_bytes());
    seeds
}

pub fn receipts() -> Vec<Vec<u8>> {
    let Published { receipt_settled, receipt_pending, receipt_failed_v1, .. } = published();
    opened([receipt_settled, receipt_pending, receipt_failed_v1])
}

/// What published servers send about the published payments.
pub fn facilitations() -> Vec<Vec<u8>> {
    let question = |version, payment: &str, requirement: &str| {
        let payment = String::from_utf8(STANDARD.decode(payment).expect("base64")).expect("text");
        let text = format!(
            r#"{{"x402Version":{version},"paymentPayload":{payment},"paymentRequirements":{{"scheme":"exact",{requirement},
            "asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
            "maxTimeoutSeconds":300,"extra":{{"name":"USDC","version":"2"}}}}}}"#
        );
        text.into_bytes()
    };
    let Published { payment_v1_header, payment_v2_header, .. } = published();
    let declared = String::from_utf8(STANDARD.decode(&payment_v2_header).expect("base64")).expect("text").replacen(
        '{',
        r#"{"extensions":{"bazaar":{"info":{"input":{"type":"http","method":"GET"}},"schema":{"type":"object"},
        "routeTemplate":"/users/:id"}},"#,
        1,
    );
    vec![
        question(2, &STANDARD.encode(declared), r#""network":"eip155:84532","amount":"10000""#),
        question(1, &payment_v1_header, r#""network":"base-sepolia","maxAmountRequired":"10000""#),
        question(2, &payment_v2_header, r#""network":"eip155:84532","amount":"10000""#),
    ]
}

/// What facilitators answer.
pub fn answers() -> Vec<Vec<u8>> {
    const PAYER: &str = "0x2222222222222222222222222222222222222222";
    const HASH: &str = "0x3333333333333333333333333333333333333333333333333333333333333333";
    let settled = format!(
        r#"{{"success":true,"transaction":"{HASH}","network":"eip155:84532","payer":"{PAYER}","amount":"10000"}}"#
    );
    let pending = format!(r#"{{"success":false,"errorReason":"settlement_pending","transaction":"{HASH}"}}"#);
    let mut seeds = lines(&[
        r#"{"isValid":true,"payer":"0x2222222222222222222222222222222222222222"}"#,
        r#"{"isValid":false,"invalidReason":"insufficient_funds","invalidMessage":"too\u0000 little"}"#,
        r#"{"success":false,"errorReason":"insufficient_funds","errorMessage":"x","transaction":"","network":"base"}"#,
        r#"{"kinds":[{"x402Version":2,"scheme":"exact","network":"eip155:84532"}],"extensions":[],"signers":{}}"#,
        "<!doctype html>",
    ]);
    seeds.extend([settled.into_bytes(), pending.into_bytes()]);
    seeds
}

pub fn paths() -> Vec<Vec<u8>> {
    lines(&[
        "/",
        "/services/demo-hello/x.json",
        "/services/demo%2Dhello/a%20b/%F0%9F%99%82",
        "/a:b@c,d=e+f!$&'()*/c..d/...",
        "/a/%2e%2E/b",
        "/a%2fb",
        "/a%252e%252e/b",
        "/a;x=1/b?c#d",
        "//a//",
    ])
}

pub fn routes() -> Vec<Vec<u8>> {
    lines(&[
        "shop.example\n/services/demo/a/b\n/services\n/services/demo\n/services/demo/a/b\n/services\n/",
        "SHOP.example:8080\n/A/Premium/x\n/a\n/a/premium\n/A/premium/",
        "[::1]:80\n/a%20b/c\n/a\n/\n/a/b/c/d/e/f",
        "shop.example.\n/x\n/\n/\n/x\n/x",
    ])
}

pub fn patterns() -> Vec<Vec<u8>> {
    lines(&[
        "/v1/m/chat\n/v1/*/chat\n/v1/*/chat/*\n/*/*\n/v2/*",
        "/a/b/c\n/a/b\n/a/*\n/a/b/*\n/a/*/c",
        "/A/b./c/\n/a/b\n/a/b/c\n/*",
        "/\n/\n/*\n/*/x",
        "/models/x/info\n/models\n/models/*/info\n/*/*/info\n/*/x/*",
    ])
}

pub fn networks() -> Vec<Vec<u8>> {
    lines(&["10.0.0.0/8", "192.168.1.7", "fd00::/8", "::ffff:10.0.0.1", "0.0.0.0/0", "::/0", "10.0.0.0/33"])
}

pub fn amounts() -> Vec<Vec<u8>> {
    let mut seeds = lines(&[
        "\u{6}0.01",
        "\u{6}1000000.000001",
        "\u{0}12",
        "\u{12}0.000000000000000001",
        "\u{6}0.0000001",
        "\u{6}115792089237316195423570985008687907853269984665640564039457584007913129639935",
    ]);
    seeds.push([&[6], [0xff; 64].as_slice()].concat());
    seeds.push([&[77], [0x01; 64].as_slice()].concat());
    seeds
}

pub fn chain_ids() -> Vec<Vec<u8>> {
    lines(&[
        "eip155:84532",
        "EIP155:1",
        "base-sepolia",
        "Ethereum-Mainnet",
        "eip155:0",
        "eip155:018446744073709551616",
    ])
}

pub fn manifests() -> Vec<Vec<u8>> {
    lines(&[
        MANIFEST,
        r#"{"apiVersion":"obol.org/v1alpha1","kind":"PurchaseRequest","metadata":{"name":"x"}}"#,
        "---\n",
        // Lines end with a carriage return, too.
        "kind: ServiceOffer\rmetadata:\r  name: [\r",
    ])
}

pub fn pricing() -> Vec<Vec<u8>> {
    lines(&[PRICING, "routes: []\n", "{wallet: '', chain: base}\n", "# nothing\n"])
}

const PRICING: &str = r#"# static
wallet: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
chain: base-sepolia
facilitatorURL: https://f.example
verifyOnly: true
routes:
  - pattern: /v1/*
    price: 0.01
    upstreamURL: http://127.0.0.1:9000/api
    upstreamAuth: Bearer x
    stripPrefix: /v1
  - {pattern: /v1/models, price: "0.002", hostname: shop.example, offerNamespace: shop, offerName: models, gate: paid}
  - pattern: /t/*/report
    description: &d a report
    assetSymbol: USDC
    assetDecimals: 6
    maxTimeoutSeconds: 0
    payments: [{price: "1", network: base}, {price: "2", payTo: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"}]
  - {pattern: /, price: 1, perMTok: "2", offerType: http, agentSkills: [a]}
"#;

const MANIFEST: &str = r#"apiVersion: obol.org/v1alpha1
kind: ServiceOffer
metadata:
  name: hello
  namespace: demo
  annotations: {obol.org/paused: "false"}
spec:
  type: http
  description: &d "says hello"
  path: /services/hello
  hostname: shop.example.com
  upstream: {url: "http://127.0.0.1:9000/base", timeoutSeconds: 20, healthPath: /health}
  charge: {optimistic: {perPayer: "0.05", perOffer: 1}}
  onDisconnect: charge
  payments:
    - network: base-sepolia
      payTo: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
      scheme: exact
      maxTimeoutSeconds: 120
      price: {perRequest: 0.01}
      asset: {symbol: USDC, decimals: 6, transferMethod: eip3009, eip712Name: USDC, eip712Version: "2"}
    - network: eip155:8453
      payTo: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
      price: {perRequest: "0.01"}
---
apiVersion: obol.org/v1alpha1
kind: ServiceOffer
metadata: {name: model}
spec:
  type: inference
  model: {name: "qwen3:8b", runtime: ollama}
  registration: {enabled: true, services: [{name: web, endpoint: "https://x.example/"}]}
  upstream: {service: ollama, namespace: llm, port: 11434}
  payment: {network: base, payTo: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", price: {perRequest: "0.5"}}
"#;

pub fn signatures() -> Vec<Vec<u8>> {
    let mut ecdsa = [0x11; 65];
    ecdsa[64] = 28;
    let mut wrapped = Vec::new();
    // Factory, the places of the two byte strings, then each with its length in words of 32.
    for word in [0x4e, 0x60, 0xa0, 4, 0xdead_beef, 3, 0x0101_0101] {
        wrapped.extend_from_slice(&[0; 28]);
        wrapped.extend_from_slice(&u32::to_be_bytes(word));
    }
    wrapped.extend((0..16).flat_map(|_| [0x64, 0x92]));
    vec![ecdsa.to_vec(), vec![1; 130], wrapped]
}

pub fn events() -> Vec<Vec<u8>> {
    vec![
        vec![2, 1, 0, 7, 0, 1, 2, 10, 2, 1, 0, 8, 0, 1, 2, 10],
        vec![2, 1, 0, 7, 2, 1, 0, 8, 0, 1, 2, 10, 0, 1, 3, 20, 4, 1, 0, 9],
        vec![5, 1, 1, 3, 0, 1, 2, 5, 130, 1, 0, 7, 130, 1, 2, 5],
    ]
}

pub fn keystores() -> Vec<Vec<u8>> {
    lines(&[
        include_str!("../../crates/keystore/testdata/wiki-pbkdf2.json"),
        include_str!("../../crates/keystore/testdata/wiki-scrypt.json"),
        include_str!("../../crates/keystore/testdata/cast.json"),
        include_str!("../../crates/keystore/testdata/eth-account.json"),
    ])
}
