//! Requests that HTTP parsers read differently are read once, and never past the price.

use anyhow::Result;
use hyper::StatusCode;
use obol_core::WireVersion;
use obol_tests::{Buyer, Customer, Shop, ShopOptions, Upstream, fetch, get, raw};

const AT: &str = "/services/paid";

/// What is sent, and the statuses of all answers on the connection.
const REQUESTS: &[(&str, &str, &[u16])] = &[
    ("HTTP/1.0", "GET /services/paid HTTP/1.0\r\n\r\n", &[402]),
    (
        "HTTP/1.0 that asks to stay",
        "GET /services/paid HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
        &[402],
    ),
    ("HTTP/0.9", "GET /services/paid\r\n\r\n", &[400]),
    ("HTTP/2 without agreement", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]),
    ("an unknown version", "GET /services/paid HTTP/1.2\r\nHost: a\r\n\r\n", &[400]),
    (
        "two in a row",
        "GET /services/paid HTTP/1.1\r\nHost: a\r\n\r\nGET /free HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[402, 404],
    ),
    (
        "one hidden in another's body",
        "POST /free HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 40\r\n\r\n\
         GET /services/paid HTTP/1.1\r\nHost: a\r\n\r\n",
        &[404],
    ),
    // Nothing that follows one of these on its connection is answered.
    ("no Host", "GET /services/paid HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("two Hosts", "GET /services/paid HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET / HTTP/1.1\r\n\r\n", &[400]),
    ("two equal Hosts", "GET /services/paid HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", &[400]),
    (
        "two lengths",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
        &[400],
    ),
    (
        "the same length twice",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\
         Content-Length: 1\r\n\r\nx",
        &[402],
    ),
    ("a list of lengths", "POST /services/paid HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", &[400]),
    ("a signed length", "POST /services/paid HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", &[400]),
    ("a negative length", "POST /services/paid HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx", &[400]),
    (
        "a length beyond 64 bits",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        &[400],
    ),
    (
        // Read as chunked, and nothing after it on this connection is believed.
        "a length, then chunked",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /services/paid HTTP/1.1\r\nHost: a\r\n\r\n",
        &[402],
    ),
    (
        "chunked, then a length",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n\
         0\r\n\r\nGET /services/paid HTTP/1.1\r\nHost: a\r\n\r\n",
        &[402],
    ),
    (
        "chunked in HTTP/1.0",
        "POST /services/paid HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "chunked not last",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "an unknown coding",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "a coding under chunked",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "chunked twice",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "a chunk size that is none",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         zz\r\nxx\r\n0\r\n\r\n",
        &[402],
    ),
    (
        "a chunk size beyond 64 bits",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         fffffffffffffffff\r\n",
        &[402],
    ),
    ("a folded line", "GET /services/paid HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", &[400]),
    ("a first line that is folded", "GET /services/paid HTTP/1.1\r\n Host: a\r\n\r\n", &[400]),
    ("a space before the colon", "GET /services/paid HTTP/1.1\r\nHost : a\r\n\r\n", &[400]),
    ("a space in a name", "GET /services/paid HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n", &[400]),
    ("a name with a NUL", "GET /services/paid HTTP/1.1\r\nHost: a\r\nX\0A: b\r\n\r\n", &[400]),
    ("a value with a NUL", "GET /services/paid HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n", &[400]),
    ("a value with a lone CR", "GET /services/paid HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n", &[400]),
    ("a line without a name", "GET /services/paid HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", &[400]),
    ("a line without a colon", "GET /services/paid HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n", &[400]),
    ("lines that end with LF alone", "GET /services/paid HTTP/1.1\nHost: a\nConnection: close\n\n", &[402]),
    (
        "empty lines first",
        "\r\n\r\nGET /services/paid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        &[402],
    ),
    (
        "a WebSocket",
        "GET /services/paid HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        &[426],
    ),
    (
        "an upgrade that may be ignored",
        "GET /services/paid HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n",
        &[402],
    ),
    (
        "an upgrade in HTTP/1.0",
        "GET /services/paid HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        &[426],
    ),
    (
        // Refused before its body is asked for.
        "a body that waits to be asked for",
        "POST /services/paid HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Content-Length: 1000000\r\n\r\n",
        &[402],
    ),
    ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{1}\r\n\r\n", &[400]),
    ("nothing that is HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n", &[400]),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_framing_of_a_request_reaches_the_upstream_unpaid() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let mut wrong = Vec::new();
    for &(what, sent, expected) in REQUESTS {
        let statuses: Vec<_> = raw(shop.address, sent.as_bytes()).await?.iter().map(|r| r.status).collect();
        if statuses != expected {
            wrong.push(format!("{what}: {statuses:?}, not {expected:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(upstream.count(), 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_hidden_in_a_paid_ones_body_or_behind_it_is_not_paid_by_it() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let customer = Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2);
    let hidden = "GET /services/paid/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut served = 0;
    for (head, body, expected) in [
        (format!("Content-Length: {}\r\nConnection: close", hidden.len()), hidden.to_owned(), &[200][..]),
        (
            "Content-Length: 0".to_owned(),
            hidden.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
            &[200, 402],
        ),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(), format!("0\r\n\r\n{hidden}"), &[200]),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4".to_owned(), format!("0\r\n\r\n{hidden}"), &[200]),
    ] {
        let (_, payment) = customer.payment(AT).await?;
        let sent = format!(
            "POST {AT} HTTP/1.1\r\nHost: a\r\n{}: {}\r\n{head}\r\n\r\n{body}",
            payment.name, payment.value
        );
        let statuses: Vec<_> = raw(shop.address, sent.as_bytes()).await?.iter().map(|r| r.status).collect();
        assert_eq!(statuses, expected, "{head}");
        served += 1;
        assert_eq!(upstream.count(), served, "{head}");
        let heard = &upstream.heard()[served - 1];
        assert_eq!(heard.target, "/", "{head}");
        let framed = [heard.header("content-length"), heard.header("transfer-encoding")];
        assert_eq!(framed.iter().flatten().count(), 1, "{head}: {framed:?}");
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_ten_megabytes_is_refused_and_the_gate_goes_on() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let large = "A".repeat(10 * 1024 * 1024);
    let many = "X-A: b\r\n".repeat(5_000);
    for head in [format!("PAYMENT-SIGNATURE: {large}\r\n"), format!("{large}: x\r\n"), many] {
        let sent = format!("GET {AT} HTTP/1.1\r\nHost: a\r\n{head}\r\n");
        let statuses: Vec<_> = raw(shop.address, sent.as_bytes()).await?.iter().map(|r| r.status).collect();
        // The gate does not read on: its answer may be lost to a reset.
        assert!(matches!(statuses.as_slice(), [] | [431 | 400]), "{statuses:?}");
        assert_eq!(fetch(shop.address, get(AT)).await?.status, StatusCode::PAYMENT_REQUIRED);
    }
    assert_eq!(upstream.count(), 0);
    shop.close().await
}
