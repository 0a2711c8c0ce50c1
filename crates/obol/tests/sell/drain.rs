//! `obol sell drain`, at a verifier that runs.

use crate::{stand::Stand, static_routes::hello};
use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use obol_core::Reason;
use obol_tests::{Answered, fetch, get, paid};
use std::fs;

const AT: &str = "/services/hello";

fn sunset(answered: &Answered) -> Option<String> {
    answered.header("sunset").map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_drains_says_so_at_both_doors_ends_by_the_clock_and_is_resumed() -> Result<()> {
    let stand = Stand::open(&[], hello).await?;
    let file = stand.desk.path().join("offers/hello.yaml");
    let written = fs::read_to_string(&file)?;
    let sell = async |args: &[&str]| stand.obol(&[&["sell"], args, &["--offers", "offers"]].concat()).await;
    assert_eq!(sunset(&fetch(stand.address, get(AT)).await?), None);

    let said = sell(&["drain", "hello"]).await?;
    ensure!(said.starts_with("default/hello is sold until 20"), "{said}");
    let draining = stand.until_asked(AT, |answered| sunset(answered).is_some()).await?;
    let until = sunset(&draining).context("a date")?;
    ensure!(draining.status == StatusCode::PAYMENT_REQUIRED && until.ends_with(" GMT"), "{draining:?}");
    let customer = stand.customer();
    let (_, header) = customer.payment(AT).await?;
    for answered in [
        fetch(stand.address, paid(get(AT), &header)).await?,
        stand.ask(AT, Some(&customer.payment(AT).await?.1)).await?,
    ] {
        assert_eq!(
            (answered.status, sunset(&answered)),
            (StatusCode::OK, Some(until.clone())),
            "{answered:?}"
        );
    }
    assert_eq!(sunset(&stand.ask(AT, None).await?), Some(until));
    let listed = sell(&["list"]).await?;
    ensure!(listed.contains("default/hello  draining until 20"), "{listed}");

    sell(&["drain", "hello", "--grace", "0s"]).await?;
    stand.until_asked(AT, |answered| answered.status == StatusCode::GONE).await?;
    let (asked, count) = (stand.upstream.count(), customer.payment(AT).await);
    ensure!(count.is_err(), "no challenge is left to pay");
    for answered in [
        fetch(stand.address, get(AT)).await?,
        fetch(stand.address, paid(get(AT), &header)).await?,
        stand.ask(AT, None).await?,
    ] {
        answered.expect_refusal(Reason::OfferDrained)?;
        ensure!(answered.header("payment-required").is_none(), "{answered:?}");
    }
    assert_eq!(stand.upstream.count(), asked);
    let status = sell(&["status", "hello"]).await?;
    ensure!(status.starts_with("default/hello  drained\n"), "{status}");

    sell(&["resume", "hello"]).await?;
    stand.until_asked(AT, |answered| answered.status == StatusCode::PAYMENT_REQUIRED).await?;
    assert_eq!(fs::read_to_string(&file)?, written);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_drain_end_together_and_what_cannot_drain_says_why() -> Result<()> {
    let stand = Stand::open(&[], hello).await?;
    let desk = &stand.desk;
    desk.done(&["pause", "hello"])?;
    desk.done(&["drain", "hello", "--grace", "30m"])?;
    assert_eq!(desk.listed()?["offers"][0]["state"], "paused");
    desk.done(&["resume", "hello"])?;
    let listed = desk.listed()?;
    assert_eq!(
        (&listed["offers"][0]["state"], listed["offers"][0]["sunset"].is_null()),
        (&"selling".into(), true)
    );
    ensure!(desk.done(&["resume", "hello"])?.contains("is sold already"));
    desk.refused(&["drain", "hello", "--grace", "1d"], "--grace: \"1d\" is not a span of time such as 1h")?;
    desk.refused(&["drain", "nobody"], "no offer \"nobody\"")?;
    fs::write(
        desk.path().join("pricing.yaml"),
        format!(
            "wallet: \"{}\"\nchain: base\nroutes: [{{pattern: /a, price: 1, offerName: a}}]\n",
            crate::PAY_TO
        ),
    )?;
    for verb in ["drain", "pause", "resume", "delete"] {
        desk.refused(
            &[verb, "a", "--pricing", "pricing.yaml"],
            "pricing/a is a static route; change it in pricing.yaml:3",
        )?;
    }
    Ok(())
}
