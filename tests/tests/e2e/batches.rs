//! One bad payment costs the others of its batch nothing.

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use obol_core::Payment;
use obol_devchain::{
    Mining,
    fault::{Fault, Rule},
};
use obol_ledger::{Delivery, State};
use obol_tests::{Rig, SellerOptions, Stranger, contracts, until};

const PAYMENTS: usize = 50;

/// Somewhere in the middle, and its payer pays nothing else: fewer buyers come before it.
const BAD: usize = 20;

/// What happens to the bad payment after it was verified.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    FundsGone,
    Cancelled,
    CodeThatBurns,
    Blacklisted,
    SettledByAStranger,
}

impl Trouble {
    /// Makes it so, before all else in the next block.
    async fn happen(self, rig: &Rig, bad: &Payment) -> Result<()> {
        let (chain, stranger) = (&rig.chain, Stranger::on(&rig.chain).eager());
        let payer = bad.authorization.from;
        let transaction = match self {
            Self::FundsGone => {
                let account = *chain.buyers().iter().find(|buyer| buyer.address == payer).expect("a buyer");
                let all = chain.usdc_balance(payer).await?;
                Stranger::with(chain, account).eager().give(chain.accounts()[39].address, all).await?
            }
            Self::Cancelled => {
                let asset = &rig.seller.requirement.asset;
                stranger.cancel(asset, &rig.buyer(BAD), bad.authorization.nonce).await?
            }
            Self::CodeThatBurns => return Ok(chain.set_code(payer, &contracts::burning()).await?),
            Self::Blacklisted => chain.blacklist(payer).await?,
            Self::SettledByAStranger => stranger.settle(bad).await?,
        };
        chain.mine(1).await?;
        stranger.done(transaction).await?;
        // Cancellations count when they are final.
        Ok(chain.mine(3).await?)
    }

    /// How the bad payment ends, and a word of the reason.
    const fn end(self) -> (State, &'static str) {
        match self {
            Self::FundsGone => (State::Due, "exceeds balance"),
            Self::Cancelled => (State::Failed, "cancelled"),
            Self::CodeThatBurns => (State::Due, "signature"),
            Self::Blacklisted => (State::Due, "blacklisted"),
            Self::SettledByAStranger => (State::Included, ""),
        }
    }
}

struct Fifty {
    rig: Rig,
    payments: Vec<Payment>,
}

impl Fifty {
    async fn verified() -> Result<Self> {
        let rig = Rig::start(Mining::Manual, SellerOptions::default()).await?;
        // The bad one's payer is nobody else's.
        let payments: Vec<_> = (0..PAYMENTS).map(|n| rig.pay(if n > BAD { n % BAD } else { n })).collect();
        Ok(Self { rig, payments })
    }

    fn bad(&self) -> &Payment {
        &self.payments[BAD]
    }

    fn good(&self) -> impl Iterator<Item = &Payment> {
        self.payments.iter().enumerate().filter(|(n, _)| *n != BAD).map(|(_, payment)| payment)
    }

    /// All are verified, `first` happens, then all are delivered on trust: they are due at once.
    async fn owed(&self, first: Option<Trouble>) -> Result<()> {
        let seller = &self.rig.seller;
        let held = try_join_all(self.payments.iter().map(|payment| seller.grant(payment))).await?;
        if let Some(trouble) = first {
            trouble.happen(&self.rig, self.bad()).await?;
        }
        // Nothing is sent before all are due, so that they travel together.
        self.rig.rpc.set_rules([Rule::of(Fault::Status(503)).on(["eth_getTransactionCount"])]);
        try_join_all(held.into_iter().map(|held| seller.trust(held))).await?;
        self.rig.rpc.heal();
        Ok(())
    }

    async fn all_good_are(&self, state: State) -> Result<()> {
        until(format!("the good ones are {state}"), async || {
            for payment in self.good() {
                if self.rig.record(payment).await?.state() != state {
                    self.rig.chain.mine(1).await?;
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Checks the bad one's end, the gas, and that ledger and chain agree.
    async fn close(self, trouble: Trouble, gas: u64) -> Result<()> {
        let (state, word) = trouble.end();
        until(format!("{trouble:?} ends"), async || {
            let record = self.rig.record(self.bad()).await?;
            let said = record.reason.as_deref().unwrap_or_default().contains(word);
            let ended = record.state() == state || state == State::Included && record.state().is_paid();
            Ok((ended && said).then_some(()))
        })
        .await?;
        let record = self.rig.record(self.bad()).await?;
        ensure!(record.delivery == Delivery::Done, "{record:?}");
        let spent = self.rig.spent().await?;
        let used: u64 = spent.iter().map(|spent| spent.gas_used.to::<u64>()).sum();
        println!("{trouble:?}: {used} gas in {} transactions", spent.len());
        assert!(used <= gas, "{trouble:?}: {used} gas is more than {gas}: {spent:?}");
        let agreement = self.rig.close().await?;
        match state {
            State::Included => agreement.assert(PAYMENTS, &[]),
            state => agreement.assert(PAYMENTS - 1, &[(state, 1)]),
        }
        Ok(())
    }
}

/// Gas that fifty good payments take in one transaction.
const ALL_GOOD: u64 = 50_000 * PAYMENTS as u64;

async fn goes_bad_before_it_is_sent(trouble: Trouble) -> Result<()> {
    let fifty = Fifty::verified().await?;
    fifty.owed(Some(trouble)).await?;
    fifty.all_good_are(State::Settled).await?;
    fifty.close(trouble, ALL_GOOD).await
}

/// The transaction is out when the payment goes bad, and mined after that.
async fn goes_bad_in_the_pool(trouble: Trouble, gas: u64) -> Result<()> {
    let fifty = Fifty::verified().await?;
    fifty.owed(None).await?;
    let rig = &fifty.rig;
    until("all are submitted", async || {
        let owed = rig.seller.ledger.owed(obol_devchain::CHAIN).await?;
        Ok(owed.iter().all(|record| record.state() == State::Submitted).then_some(()))
    })
    .await?;
    trouble.happen(rig, fifty.bad()).await?;
    fifty.all_good_are(State::Settled).await?;
    fifty.close(trouble, gas).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_whose_funds_are_gone_before_sending_costs_forty_nine_others_nothing() -> Result<()> {
    goes_bad_before_it_is_sent(Trouble::FundsGone).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_cancelled_before_sending_costs_forty_nine_others_nothing() -> Result<()> {
    goes_bad_before_it_is_sent(Trouble::Cancelled).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_who_got_burning_code_before_sending_costs_forty_nine_others_nothing() -> Result<()> {
    goes_bad_before_it_is_sent(Trouble::CodeThatBurns).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_blacklisted_before_sending_costs_forty_nine_others_nothing() -> Result<()> {
    goes_bad_before_it_is_sent(Trouble::Blacklisted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_settled_by_a_stranger_before_sending_costs_forty_nine_others_nothing() -> Result<()> {
    goes_bad_before_it_is_sent(Trouble::SettledByAStranger).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_goes_bad_in_the_pool_fails_alone() -> Result<()> {
    use Trouble::{Blacklisted, Cancelled, FundsGone, SettledByAStranger};
    for trouble in [FundsGone, Cancelled, Blacklisted, SettledByAStranger] {
        goes_bad_in_the_pool(trouble, ALL_GOOD).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_appears_in_the_pool_burns_one_transactions_gas_at_most() -> Result<()> {
    // The ceiling of the transaction that it travelled in, and what the others take after that.
    let ceiling = 60_000 + 120_000 * PAYMENTS as u64;
    goes_bad_in_the_pool(Trouble::CodeThatBurns, ceiling + 2 * ALL_GOOD).await
}
