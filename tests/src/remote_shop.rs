use crate::{
    Buyer, CounterOptions, Customer, FacilitatorServer, Manner, Meddler, Others, SellerOptions, Shop,
    ShopOptions, Upstream,
};
use alloy_primitives::B256;
use anyhow::Result;
use obol_core::{Amount, Charge, Exposure, Offer, WireVersion};
use obol_devchain::{Devchain, Mining, Options};
use std::time::Duration;

/// A shop in whose place a facilitator settles, with somebody between the two who can meddle.
pub struct RemoteShop {
    pub shop: Shop,
    pub meddler: Meddler,
    facilitator: FacilitatorServer,
    upstream: Upstream,
}

/// Where it sells.
pub const AT: &str = "/services/paid";

impl RemoteShop {
    /// `sees` is whether the shop has an endpoint of the chain.
    pub async fn open(sees: bool, manner: Manner) -> Result<Self> {
        Self::open_as(manner, |options| others(options).sees = sees).await
    }

    /// Set up as `shape` makes it; without others it settles by itself.
    pub async fn open_as(manner: Manner, shape: impl FnOnce(&mut ShopOptions)) -> Result<Self> {
        Self::open_on(chain().await?, manner, shape).await
    }

    /// As [`Self::open_as`], on a chain that runs already.
    pub async fn open_on(
        chain: Devchain,
        manner: Manner,
        shape: impl FnOnce(&mut ShopOptions),
    ) -> Result<Self> {
        let (facilitator, meddler) = set(&chain, manner).await?;
        let mut options = options(vec![meddler.url()]);
        shape(&mut options);
        Self::begin(chain, facilitator, meddler, options).await
    }

    /// With a second facilitator, which is honest and less preferred.
    pub async fn open_with_second(manner: Manner) -> Result<(Self, Meddler)> {
        let chain = chain().await?;
        let (facilitator, meddler) = set(&chain, manner).await?;
        let second = Meddler::start(facilitator.address, Manner::Honest).await?;
        let options = options(vec![meddler.url(), second.url()]);
        Ok((Self::begin(chain, facilitator, meddler, options).await?, second))
    }

    async fn begin(
        chain: Devchain,
        facilitator: FacilitatorServer,
        meddler: Meddler,
        options: ShopOptions,
    ) -> Result<Self> {
        let shop = Shop::open_on(chain, options).await?;
        let upstream = Upstream::hello().await?;
        shop.sell(AT, &upstream)?;
        Ok(Self { shop, meddler, facilitator, upstream })
    }

    /// Restarts the shop, with or without an endpoint.
    pub async fn reopen(self, sees: bool) -> Result<Self> {
        self.reopen_as(|options| others(options).sees = sees).await
    }

    /// Restarts the shop, set up as `shape` makes it.
    pub async fn reopen_as(self, shape: impl FnOnce(&mut ShopOptions)) -> Result<Self> {
        let Self { shop, meddler, facilitator, upstream } = self;
        let mut options = options(vec![meddler.url()]);
        shape(&mut options);
        let shop = shop.reopen(options).await?;
        shop.sell(AT, &upstream)?;
        Ok(Self { shop, meddler, facilitator, upstream })
    }

    /// Restarts the shop with another facilitator, and returns the one that it had.
    pub async fn reopen_with_another(mut self, manner: Manner) -> Result<(Self, Meddler)> {
        let another = Meddler::start(self.facilitator.address, manner).await?;
        let before = std::mem::replace(&mut self.meddler, another);
        Ok((self.reopen(true).await?, before))
    }

    /// Lets the chain's time pass beyond the validity of every payment so far.
    pub async fn outlive(&self) -> Result<()> {
        self.shop.chain.increase_time(Duration::from_secs(700)).await?;
        self.shop.chain.mine(4).await?;
        Ok(())
    }

    pub fn customer(&self, buyer: usize) -> Customer {
        Customer::new(Buyer::of(self.shop.chain.buyers()[buyer]), self.shop.address, WireVersion::V2)
    }

    /// As this shop has them.
    pub fn options(&self) -> ShopOptions {
        options(vec![self.meddler.url()])
    }

    /// What it sells.
    pub fn offer(&self) -> Offer {
        self.shop.offer(AT, &self.upstream)
    }

    /// What it sells is delivered before it is settled, from now on.
    pub fn trust_everybody(&self) -> Result<()> {
        let much = Amount::from(1_000_000);
        let charge = Charge::Optimistic(Exposure { per_payer: much, per_offer: much });
        self.shop.publish(&[Offer { charge, ..self.offer() }])
    }

    /// How often the service was asked.
    pub fn served(&self) -> usize {
        self.upstream.count()
    }

    /// The transactions that paid the seller.
    pub async fn transfers(&self) -> Result<Vec<B256>> {
        let seller = self.shop.chain.seller().address;
        let transfers = self.shop.chain.transfer_events(0).await?;
        let ours = transfers.into_iter().filter(|transfer| transfer.to == seller);
        Ok(ours.map(|transfer| transfer.transaction).collect())
    }

    /// Stops, after checking that the ledger and the chain tell the same story.
    pub async fn close(self) -> Result<()> {
        self.facilitator.stop().await?;
        self.shop.close().await
    }

    /// Stops where they are not to: something was only claimed.
    pub async fn abandon(self) -> Result<()> {
        self.facilitator.stop().await?;
        self.shop.abandon().await
    }
}

/// The facilitators in these options, which are those of a [`RemoteShop`].
pub fn others(options: &mut ShopOptions) -> &mut Others {
    options.others.as_mut().expect("a remote shop has others")
}

async fn chain() -> Result<Devchain> {
    Ok(Devchain::start(Options { mining: Mining::Automine, ..Options::default() }).await?)
}

async fn set(chain: &Devchain, manner: Manner) -> Result<(FacilitatorServer, Meddler)> {
    let facilitator = FacilitatorServer::start(chain, CounterOptions::default()).await?;
    let meddler = Meddler::start(facilitator.address, manner).await?;
    Ok((facilitator, meddler))
}

/// Sees, and waits for some seconds at most, so that a facilitator that hangs is found out soon.
fn options(urls: Vec<String>) -> ShopOptions {
    let mut seller = SellerOptions::default();
    seller.timing.settle_budget = Duration::from_secs(4);
    ShopOptions { seller, others: Some(Others { urls, sees: true }), ..ShopOptions::default() }
}
