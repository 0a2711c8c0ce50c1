//! What the demo runs: upstream, offer, seller; and its two purchases.

use super::{
    DemoArgs,
    buyer::{Bought, Buyer},
    prometheus,
    report::{Document, PaymentLine, Urls},
    say, upstream,
};
use crate::{
    endpoint::Endpoint,
    exit::Failure,
    ledger::{EarningView, Settled, agree},
    seller::{Seller, Setup, process_name},
    verifier::{bind, local},
};
use obol_core::{PaymentKey, Registry, TransferMethod};
use obol_devchain::{CHAIN, Devchain, Prometheus};
use obol_evm::{Key, Rpc};
use obol_facilitator::{ChainSetup, GasCeilings, Timing};
use obol_ledger::{Clock, Ledger, Place};
use obol_verifier::{ForwardAuth, Limits, TrustedProxies};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinHandle;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long the offer may take from its file to the gate.
const LOADING: Duration = Duration::from_secs(10);

/// How often ledger and chain are compared for Prometheus.
const RECONCILE: Duration = Duration::from_secs(10);

const SERVICE: &str = "/services/demo-hello/";

pub(super) struct Stage {
    seller: Seller,
    upstream: JoinHandle<()>,
    ledger: Ledger,
    registry: Arc<Registry>,
    endpoint: Endpoint,
    http: reqwest::Client,
    base: String,
    metrics: SocketAddr,
    prometheus: Option<Prometheus>,
    rpc_url: String,
    ledger_path: PathBuf,
    offers: PathBuf,
}

impl Stage {
    pub(super) async fn set(chain: &Devchain, args: &DemoArgs) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("obol-demo-")
            .tempdir()
            .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}")))?
            // The ledger in it is shown to the user, who may want to look at it later.
            .keep();
        let listener = bind("upstream", ANY_PORT).await?;
        let upstream_address = local(&listener)?;
        let upstream = tokio::spawn(upstream::serve(listener));
        let offers = folder.join("offers");
        write_offer(&offers, upstream_address, chain)?;
        let ledger_path = args.ledger.clone().unwrap_or_else(|| folder.join("ledger.db"));
        let ledger = Ledger::open(&Place::File(&ledger_path), Clock::System, process_name())
            .map_err(|error| Failure::config(format!("--ledger: {error}")))?;
        let registry = Arc::new(Registry::built_in());
        let endpoint = Endpoint {
            chain: Arc::clone(registry.chain_by_id(CHAIN).map_err(Failure::failed)?),
            rpc: Rpc::new(chain.url(), crate::endpoint::CALL_TIMEOUT).map_err(Failure::failed)?,
        };
        let listener = bind("--listen", args.listen.unwrap_or(ANY_PORT)).await?;
        let base = format!("http://{}", local(&listener)?);
        say(&format!("A verifier at {base}, which sells demo-hello at 0.01 USDC per request"));
        let admin = bind("admin", ANY_PORT).await?;
        let metrics = local(&admin)?;
        let http = reqwest::Client::builder().no_proxy().build().map_err(Failure::failed)?;
        let seller = Seller::start(Setup {
            registry: Arc::clone(&registry),
            endpoints: vec![endpoint.clone()],
            chains: vec![ChainSetup {
                chain: Arc::clone(&endpoint.chain),
                rpc: endpoint.rpc.clone(),
                settler: Key::from_bytes(chain.settler().key).map_err(Failure::failed)?,
                gas: GasCeilings::default(),
                factories: Vec::new(),
            }],
            remotes: Vec::new(),
            ledger: ledger.clone(),
            offers: offers.clone(),
            pricing: None,
            listener,
            admin,
            trusted: TrustedProxies::default(),
            forward_auth: ForwardAuth::default(),
            timing: Timing { reconcile: Some(RECONCILE), ..Timing::default() },
            payees: None,
            max_sales: 1_024,
            limits: Limits { grace: Duration::from_secs(2), ..Limits::default() },
        })?;
        let prometheus = prometheus::start(&folder, metrics).await;
        let stage = Self {
            seller,
            upstream,
            ledger,
            registry,
            endpoint,
            http,
            base,
            metrics,
            prometheus,
            rpc_url: chain.url().to_owned(),
            ledger_path,
            offers,
        };
        stage.until_ready().await?;
        Ok(stage)
    }

    async fn until_ready(&self) -> Result<(), Failure> {
        let url = format!("{}/readyz", self.base);
        let ready = async {
            while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LOADING, ready).await.map_err(|_| {
            Failure::failed(format!("{url} did not become ready within {} s", LOADING.as_secs()))
        })
    }

    /// Two purchases, and what ledger and chain say of them.
    pub(super) async fn perform(&self, chain: &Devchain) -> Result<Document, Failure> {
        let account = *chain.buyers().first().ok_or_else(|| Failure::failed("the chain has no buyers"))?;
        let buyer = Buyer { account, registry: &self.registry, http: self.http.clone() };
        let mut payments = Vec::new();
        for path in [SERVICE.to_owned(), format!("{SERVICE}again")] {
            say(&format!("A buyer pays for GET {path}"));
            let bought = buyer.buy(&self.base, &path).await?;
            let line = self.line(account.address, bought).await?;
            say(&format!(
                "  {} in {} at {}",
                line.in_words(),
                line.transaction,
                crate::output::time(line.block_timestamp)
            ));
            payments.push(line);
        }
        say("Ledger against chain");
        let (_, settled) = agree(&self.ledger, &self.endpoint).await?;
        let earnings = self.ledger.earnings().await?;
        let recorded = match &self.prometheus {
            Some(running) => {
                say("Prometheus against ledger");
                let payments = earnings.iter().map(|earning| earning.payments).sum();
                let recorded = prometheus::recorded(running, payments).await;
                if recorded.is_empty() || recorded.iter().any(|line| line.value != payments.to_string()) {
                    say(&format!(
                        "  it has not recorded {payments} payments in time; look at {}",
                        running.url()
                    ));
                }
                recorded
            }
            None => Vec::new(),
        };
        Ok(Document {
            chain: CHAIN.into(),
            payments,
            earnings: earnings.iter().map(|earning| EarningView::new(earning, &self.registry)).collect(),
            recorded,
            reconciled: settled == Settled::Yes,
            urls: Urls {
                rpc: self.rpc_url.clone(),
                verifier: self.base.clone(),
                service: format!("{}{SERVICE}", self.base),
                prometheus: self.prometheus.as_ref().map(Prometheus::url),
                metrics: vec![format!("http://{}/metrics", self.metrics)],
            },
            ledger: self.ledger_path.display().to_string(),
            offers: self.offers.display().to_string(),
        })
    }

    async fn line(&self, payer: alloy_primitives::Address, bought: Bought) -> Result<PaymentLine, Failure> {
        let asset = self.registry.default_asset(CHAIN).map_err(Failure::failed)?;
        let key = PaymentKey {
            chain: CHAIN,
            asset: asset.address,
            method: TransferMethod::Eip3009,
            payer,
            nonce: bought.nonce,
        };
        let record = self.ledger.payment_by_key(key).await?;
        let record =
            record.ok_or_else(|| Failure::failed("the ledger does not know a payment that was served"))?;
        let inclusion = record.inclusion.filter(|at| at.tx == bought.transaction);
        let inclusion = inclusion.ok_or_else(|| Failure::failed("the receipt is not the ledger's"))?;
        Ok(PaymentLine {
            request: format!("GET {}", bought.path),
            status: bought.status,
            amount: bought.amount.into(),
            asset: bought.asset.into(),
            payer: bought.payer.into(),
            pay_to: bought.pay_to.into(),
            transaction: bought.transaction.into(),
            block_timestamp: inclusion.block_time,
            ledger_state: record.state().into(),
            body: bought.body,
            human: format!("{} {}", bought.amount.to_decimal(asset.decimals), asset.symbol),
        })
    }

    pub(super) async fn strike(self) {
        if let Some(prometheus) = self.prometheus {
            prometheus.stop().await;
        }
        self.seller.stop().await;
        self.upstream.abort();
    }
}

fn write_offer(offers: &Path, upstream: SocketAddr, chain: &Devchain) -> Result<(), Failure> {
    let manifest = format!(
        "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata:\n  name: demo-hello\n  namespace: demo\n\
         spec:\n  type: http\n  upstream:\n    url: http://{upstream}\n  payment:\n    network: base-sepolia\n    \
         payTo: \"{}\"\n    price:\n      perRequest: \"0.01\"\n",
        chain.seller().address.to_checksum(None)
    );
    std::fs::create_dir_all(offers)
        .and_then(|()| std::fs::write(offers.join("demo-hello.yaml"), manifest))
        .map_err(|error| Failure::failed(format!("cannot write the offer in {}: {error}", offers.display())))
}
