//! What an operator is told of facilitators and of the chain behind them.

use alloy_primitives::B256;
use anyhow::Result;
use futures_util::future::try_join_all;
use hyper::StatusCode;
use obol_core::Reason;
use obol_devchain::{
    Devchain, Mining, Options,
    fault::{Fault, FaultyRpc, Rule},
};
use obol_facilitator::SettlerState;
use obol_tests::{AT, Checking, Manner, RemoteShop, Upstream, others, until};

fn state(remote: &RemoteShop) -> Option<SettlerState> {
    remote.shop.settler_states().map(|(_, state)| state).next()
}

async fn until_it_is(remote: &RemoteShop, wanted: SettlerState) -> Result<()> {
    until(format!("{wanted:?}"), async || Ok((state(remote) == Some(wanted)).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_refuses_everybody_is_down_before_anybody_pays() -> Result<()> {
    let closed = Upstream::answering(StatusCode::UNAUTHORIZED, "who are you?").await?;
    let url = closed.base().to_owned();
    let remote = RemoteShop::open_as(Manner::Honest, |options| others(options).urls = vec![url]).await?;
    until_it_is(&remote, SettlerState::FacilitatorDown).await?;
    // Longer than the first pause.
    until("asked again", async || Ok((closed.count() >= 3).then_some(()))).await?;
    assert_eq!(state(&remote), Some(SettlerState::FacilitatorDown));
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::FacilitatorUnavailable)?;
    let remote = remote.reopen(true).await?;
    until_it_is(&remote, SettlerState::Leading).await?;
    assert_eq!(remote.customer(0).buy(AT).await?.status, StatusCode::OK);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_failed_is_down_until_it_answers_a_payment_and_keeps_none_away() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Honest).await?;
    remote.meddler.check(Checking::Says(StatusCode::BAD_GATEWAY, String::new()));
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::FacilitatorUnavailable)?;
    assert_eq!(state(&remote), Some(SettlerState::FacilitatorDown));
    let shown = remote.meddler.shown().len();
    until("asked about a payment again", async || {
        remote.customer(1).buy(AT).await?.expect_refusal(Reason::FacilitatorUnavailable)?;
        assert_eq!(state(&remote), Some(SettlerState::FacilitatorDown));
        Ok((remote.meddler.shown().len() > shown).then_some(()))
    })
    .await?;
    remote.meddler.check(Checking::Honest);
    until("sold", async || {
        let sold = remote.customer(2).buy(AT).await?;
        Ok((sold.status == StatusCode::OK).then_some(()))
    })
    .await?;
    assert_eq!(state(&remote), Some(SettlerState::Leading));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_sold_by_the_next_one_while_that_is_being_tried() -> Result<()> {
    let (remote, second) = RemoteShop::open_with_second(Manner::Honest).await?;
    let broken = || Checking::Says(StatusCode::BAD_GATEWAY, String::new());
    remote.meddler.check(broken());
    second.check(broken());
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::FacilitatorUnavailable)?;
    // The preferred one stays broken; the second one's first answer is awaited by all.
    second.check(Checking::Waits);
    let waiting = second.shown().len();
    until("the second is tried", async || {
        let left_alone = async {
            let asked = remote.customer(1).buy(&format!("{AT}/tried")).await?;
            match asked.status {
                StatusCode::OK => std::future::pending().await,
                _ => anyhow::Ok(()),
            }
        };
        let tried = async {
            until("shown", async || Ok((second.shown().len() > waiting).then_some(()))).await?;
            let sales = (0..10).map(|number| {
                let customer = remote.customer(number % 4);
                async move { customer.buy(&format!("{AT}/{number}")).await }
            });
            let answer = async {
                until("all", async || Ok((second.shown().len() == waiting + 11).then_some(()))).await?;
                second.check(Checking::Honest);
                anyhow::Ok(())
            };
            let (sold, ()) = tokio::try_join!(try_join_all(sales), answer)?;
            assert!(sold.iter().all(|sold| sold.status == StatusCode::OK), "{sold:?}");
            anyhow::Ok(())
        };
        tokio::select! {
            done = tried => done.map(Some),
            refused = left_alone => refused.map(|()| None),
        }
    })
    .await?;
    remote.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_whose_promises_come_to_nothing_is_down_and_one_that_nobody_can_check_is_not()
-> Result<()> {
    let chain = Devchain::start(Options { mining: Mining::Automine, ..Options::default() }).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let through = |options: &mut obol_tests::ShopOptions| options.rpc = Some(rpc.url().to_owned());
    let remote = RemoteShop::open_on(chain, Manner::promises(B256::repeat_byte(0x77)), through).await?;
    rpc.set_rules([Rule::of(Fault::Status(503)).on(["eth_getTransactionReceipt"])]);
    // When the second waits no more, the first one's transaction has been looked for in vain.
    for number in 0..2 {
        remote.customer(number).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    }
    assert_eq!(state(&remote), Some(SettlerState::Leading));
    rpc.heal();
    remote.customer(2).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    until_it_is(&remote, SettlerState::FacilitatorDown).await?;
    remote.meddler.behave(Manner::Honest);
    // Nobody is kept away, and the next one shows that it settles.
    assert_eq!(remote.customer(3).buy(AT).await?.status, StatusCode::OK);
    assert_eq!(state(&remote), Some(SettlerState::Leading));
    remote.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_shows_is_no_answer_of_a_facilitator_that_hangs() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Says(StatusCode::BAD_GATEWAY, String::new())).await?;
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    assert_eq!(state(&remote), Some(SettlerState::FacilitatorDown));
    remote.meddler.behave(Manner::SettlesAndHangs);
    remote.shop.until_payment(|record| record.state().is_paid()).await?;
    assert_eq!(state(&remote), Some(SettlerState::FacilitatorDown));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_cannot_be_watched_is_told_and_nobody_waits_for_it() -> Result<()> {
    let chain = Devchain::start(Options { mining: Mining::Automine, ..Options::default() }).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let through = |options: &mut obol_tests::ShopOptions| options.rpc = Some(rpc.url().to_owned());
    let remote = RemoteShop::open_on(chain, Manner::Honest, through).await?;
    until_it_is(&remote, SettlerState::Leading).await?;
    rpc.set(Fault::Status(503));
    until_it_is(&remote, SettlerState::RpcDown).await?;
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::ChainUnavailable)?;
    assert!(remote.meddler.shown().is_empty());
    rpc.heal();
    until_it_is(&remote, SettlerState::Leading).await?;
    assert_eq!(remote.customer(0).buy(AT).await?.status, StatusCode::OK);
    remote.close().await
}
