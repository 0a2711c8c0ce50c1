//! What the client of facilitators takes for an answer, and whom it tells its token, at the socket.

use alloy_primitives::{Address, Bytes};
use anyhow::Result;
use hyper::StatusCode;
use obol_core::Registry;
use obol_devchain::CHAIN;
use obol_facilitator_client::{AskError, Client, Url};
use obol_tests::{Upstream, reply};
use std::{sync::Arc, time::Duration};

/// Good for both questions.
const SETTLED: &str = r#"{"isValid":true,"success":true,
    "transaction":"0x7777777777777777777777777777777777777777777777777777777777777777","network":"eip155:84532"}"#;

fn client(of: &Upstream, token: Option<&str>) -> Result<Client> {
    let token = token.map(|token| token.to_owned().into());
    let registry = Arc::new(Registry::built_in());
    Ok(Client::new(Url::parse(of.base())?, token.as_ref(), registry, Duration::from_secs(5))?)
}

fn question() -> Bytes {
    Bytes::from_static(b"{}")
}

#[tokio::test]
async fn a_facilitator_that_points_elsewhere_is_not_followed() -> Result<()> {
    let elsewhere = Upstream::answering(StatusCode::OK, SETTLED).await?;
    let target = format!("{}/settle", elsewhere.base());
    let facilitator = Upstream::start(move |_| {
        let mut moved = reply(StatusCode::TEMPORARY_REDIRECT, "");
        moved.headers_mut().insert("location", target.parse().expect("an address is a header's value"));
        std::future::ready(moved)
    })
    .await?;
    let client = client(&facilitator, Some("sesame"))?;
    let settled = client.settle(&question(), CHAIN, Address::ZERO).await;
    assert_eq!(settled, Err(AskError::Status(307)));
    let checked = client.verify(&question(), Address::ZERO).await;
    assert_eq!(checked, Err(AskError::Status(307)));
    assert_eq!((facilitator.count(), elsewhere.count()), (2, 0));
    Ok(())
}

#[tokio::test]
async fn an_answer_of_more_than_64_kib_is_none() -> Result<()> {
    let long = Upstream::start(|_| {
        let padding = " ".repeat(64 * 1024);
        std::future::ready(reply(StatusCode::OK, format!("{SETTLED}{padding}")))
    })
    .await?;
    let settled = client(&long, None)?.settle(&question(), CHAIN, Address::ZERO).await;
    assert_eq!(settled, Err(AskError::TooLong));
    Ok(())
}

#[tokio::test]
async fn a_good_answer_is_one_with_a_status_that_says_so() -> Result<()> {
    let statuses = [
        (200, None),
        (202, None),
        (302, Some(AskError::Status(302))),
        (400, Some(AskError::Rejected(400))),
        (402, Some(AskError::Rejected(402))),
        (404, Some(AskError::Status(404))),
        (429, Some(AskError::Busy)),
        (500, Some(AskError::Status(500))),
    ];
    for (status, error) in statuses {
        let facilitator = Upstream::answering(StatusCode::from_u16(status)?, SETTLED).await?;
        let client = client(&facilitator, None)?;
        let settled = client.settle(&question(), CHAIN, Address::ZERO).await;
        assert_eq!(settled.err(), error, "settle, {status}");
        let checked = client.verify(&question(), Address::ZERO).await;
        assert_eq!(checked.err(), error, "verify, {status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_goes_to_its_own_facilitator_alone() -> Result<()> {
    let with = Upstream::answering(StatusCode::OK, SETTLED).await?;
    let without = Upstream::answering(StatusCode::OK, SETTLED).await?;
    for (of, token) in [(&with, Some("sesame")), (&without, None)] {
        client(of, token)?.settle(&question(), CHAIN, Address::ZERO).await?;
    }
    let told =
        |of: &Upstream| of.heard().iter().map(|heard| heard.header("authorization")).collect::<Vec<_>>();
    assert_eq!(told(&with), [Some("Bearer sesame".to_owned())]);
    assert_eq!(told(&without), [None]);
    Ok(())
}
