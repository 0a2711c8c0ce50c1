use crate::{
    Buyer, CounterOptions, Customer, FacilitatorServer, Manner, Meddler, Others, SellerOptions, Shop,
    ShopOptions, Upstream,
};
use alloy_primitives::B256;
use anyhow::Result;
use obol_core::{Offer, WireVersion};
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
        let (chain, facilitator, meddler) = set(manner).await?;
        let urls = vec![meddler.url()];
        Self::begin(chain, facilitator, meddler, Others { urls, sees }).await
    }

    /// With a second facilitator, which is honest and less preferred.
    pub async fn open_with_second(manner: Manner) -> Result<(Self, Meddler)> {
        let (chain, facilitator, meddler) = set(manner).await?;
        let second = Meddler::start(facilitator.address, Manner::Honest).await?;
        let urls = vec![meddler.url(), second.url()];
        Ok((Self::begin(chain, facilitator, meddler, Others { urls, sees: true }).await?, second))
    }

    async fn begin(
        chain: Devchain,
        facilitator: FacilitatorServer,
        meddler: Meddler,
        others: Others,
    ) -> Result<Self> {
        let shop = Shop::open_on(chain, options(others)).await?;
        let upstream = Upstream::hello().await?;
        shop.sell(AT, &upstream)?;
        Ok(Self { shop, meddler, facilitator, upstream })
    }

    /// Restarts the shop, with or without an endpoint.
    pub async fn reopen(self, sees: bool) -> Result<Self> {
        let Self { shop, meddler, facilitator, upstream } = self;
        let shop = shop.reopen(options(Others { urls: vec![meddler.url()], sees })).await?;
        shop.sell(AT, &upstream)?;
        Ok(Self { shop, meddler, facilitator, upstream })
    }

    pub fn customer(&self, buyer: usize) -> Customer {
        Customer::new(Buyer::of(self.shop.chain.buyers()[buyer]), self.shop.address, WireVersion::V2)
    }

    /// As this shop has them.
    pub fn options(&self) -> ShopOptions {
        options(Others { urls: vec![self.meddler.url()], sees: true })
    }

    /// What it sells.
    pub fn offer(&self) -> Offer {
        self.shop.offer(AT, &self.upstream)
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

async fn set(manner: Manner) -> Result<(Devchain, FacilitatorServer, Meddler)> {
    let chain = Devchain::start(Options { mining: Mining::Automine, ..Options::default() }).await?;
    let facilitator = FacilitatorServer::start(&chain, CounterOptions::default()).await?;
    let meddler = Meddler::start(facilitator.address, manner).await?;
    Ok((chain, facilitator, meddler))
}

/// Waits for some seconds at most, so that a facilitator that hangs is found out soon.
fn options(others: Others) -> ShopOptions {
    let mut seller = SellerOptions::default();
    seller.timing.settle_budget = Duration::from_secs(4);
    ShopOptions { seller, others: Some(others), ..ShopOptions::default() }
}
