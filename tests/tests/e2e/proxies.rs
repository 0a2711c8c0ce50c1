//! Real proxies, with the files of `deploy/proxies/`, ask at /verify and forward by themselves.

/// Each test once for each proxy.
macro_rules! with_each_proxy {
    ($($test:ident)+) => {
        with_each_proxy!(nginx Nginx: $($test)+);
        with_each_proxy!(caddy Caddy: $($test)+);
        with_each_proxy!(traefik Traefik: $($test)+);
    };
    ($name:ident $kind:ident: $($test:ident)+) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() -> anyhow::Result<()> {
                    super::$test(obol_tests::ProxyKind::$kind).await
                }
            )+
        }
    };
}

mod bodies;
mod clients;
mod headers;
mod once;
mod paths;
mod refusals;

use crate::{forward_auth::behind_a_proxy, gate_paths::offers};
use anyhow::Result;
use obol_core::WireVersion;
use obol_tests::{Buyer, Customer, Proxy, ProxyKind, Shop, Upstream};

/// A proxy in front of a service that is sold.
struct Street {
    shop: Shop,
    service: Upstream,
    proxy: Proxy,
}

impl Street {
    /// With the three offers of the path tests; `None` where there is no such proxy to be had.
    async fn open(kind: ProxyKind, service: Upstream) -> Result<Option<Self>> {
        let shop = Shop::open(behind_a_proxy()?).await?;
        shop.publish(&offers(&shop, &service))?;
        Self::before(kind, shop, service).await
    }

    async fn before(kind: ProxyKind, shop: Shop, service: Upstream) -> Result<Option<Self>> {
        let at = service.base().trim_start_matches("http://");
        let proxy = Proxy::start(kind, shop.address, at).await?;
        Ok(proxy.map(|proxy| Self { shop, service, proxy }))
    }

    /// A buyer who knows the proxy's address alone.
    fn customer(&self, version: WireVersion) -> Customer {
        Customer::new(Buyer::of(self.shop.chain.buyers()[0]), self.proxy.address, version)
    }

    fn payer(&self) -> String {
        self.shop.chain.buyers()[0].address.to_checksum(None)
    }
}
