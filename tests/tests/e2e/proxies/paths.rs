//! No spelling of a path gets past the price, whatever the proxy makes of it.

use super::Street;
use crate::gate_paths::{NESTED, PAID, TARGETS};
use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use obol_core::{RequestPath, WireVersion};
use obol_tests::{ProxyKind, Upstream, fetch, get, paid, raw};

async fn no_spelling_of_a_path_reaches_the_service_unpaid(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let mut wrong = Vec::new();
    let mut asked_to_pay = 0;
    for &(target, at_the_gate) in TARGETS {
        let head = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
        let answers = raw(street.proxy.address, head.as_bytes()).await?;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        // Proxies refuse, or clean up, some spellings by themselves.
        let as_expected = match statuses.as_slice() {
            [] => at_the_gate == 400,
            // nginx would choose by the host that such a target names, and tell us the header's.
            [402] => kind != ProxyKind::Nginx || !target.contains("://"),
            [301] => target == "/services",
            [status] => (400..500).contains(status),
            _ => false,
        };
        asked_to_pay += usize::from(statuses == [402] && at_the_gate == 402);
        if !as_expected || street.service.count() > 0 {
            wrong.push(format!("{target}: {statuses:?}, {at_the_gate} at the gate"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    // Where all is refused, nothing is tested.
    ensure!(asked_to_pay > 10, "only {asked_to_pay} targets came to the gate");
    assert_eq!(street.service.count(), 0);
    street.shop.close().await
}

async fn a_payment_for_a_cheap_offer_opens_no_spelling_of_a_dear_one(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let customer = street.customer(WireVersion::V2);
    let cheap = customer.challenge(PAID).await?;
    for (rest, _) in NESTED {
        let (_, payment) = customer.pay(&cheap)?;
        let head = format!(
            "GET {PAID}{rest} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}: {}\r\n\r\n",
            street.proxy.address, payment.name, payment.value
        );
        let answers = raw(street.proxy.address, head.as_bytes()).await?;
        ensure!(matches!(answers.as_slice(), [answer] if answer.status >= 400), "{rest}: {answers:?}");
        assert_eq!(street.service.count(), 0, "{rest}");
    }
    street.shop.close().await
}

async fn what_was_paid_for_arrives_as_it_was_judged(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let customer = street.customer(WireVersion::V2);
    for target in [
        "/services/paid",
        "/services/paid/",
        "/services/p%61id/a%20b/%F0%9F%99%82?q=//a/../b;c",
        "/services/paid/premium",
        "/services/paid/premium/%6dodel/x?y=%2f",
        "/services/paid2?x",
    ] {
        let (_, payment) = customer.payment(target).await?;
        let answered = fetch(street.proxy.address, paid(get(target), &payment)).await?;
        assert_eq!(answered.status, StatusCode::OK, "{target}");
        let came = street.service.heard().pop().context("the service was not asked")?.target;
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        if kind == ProxyKind::Traefik {
            // It decodes letters, and writes `;` as `&`, before it asks.
            assert_eq!(came.query().map(str::to_owned), query.map(|query| query.replace(';', "&")));
            let decoded = |path: &str| RequestPath::parse(path).map(|path| path.decoded().to_owned());
            assert_eq!(decoded(came.path())?, decoded(path)?);
        } else {
            assert_eq!((came.path(), came.query()), (path, query));
        }
    }
    assert_eq!(street.service.count(), 6);
    street.shop.close().await
}

with_each_proxy! {
    no_spelling_of_a_path_reaches_the_service_unpaid
    a_payment_for_a_cheap_offer_opens_no_spelling_of_a_dear_one
    what_was_paid_for_arrives_as_it_was_judged
}
