use crate::{Answered, Buyer, SellerOptions, fetch, price, request, till};
use alloy_primitives::Address;
use anyhow::Result;
use hyper::{
    Method,
    header::{self, HeaderValue},
};
use obol_core::{Payment, Registry, Requirement, WireVersion};
use obol_devchain::{Devchain, Mining, Options};
use obol_facilitator::{Counter, Facilitator};
use obol_facilitator_server::{Callers, Discovery, Rate, Server, ServerParts, serve_facilitator};
use obol_ledger::{Clock, Ledger, Place};
use obol_serve::Limits;
use serde_json::{Value, json};
use std::{collections::HashSet, net::SocketAddr, num::NonZeroU32, ops::Deref, sync::Arc};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// How a counter is set up.
#[derive(Clone, Debug)]
pub struct CounterOptions {
    pub seller: SellerOptions,
    pub mining: Mining,
    /// The endpoint that it reads and settles through; the chain itself when `None`.
    pub rpc: Option<String>,
    pub callers: Callers,
    pub rate: NonZeroU32,
    pub discovery: Option<Discovery>,
    pub payees: Option<HashSet<Address>>,
    pub limits: Limits,
}

impl Default for CounterOptions {
    fn default() -> Self {
        Self {
            seller: SellerOptions::default(),
            mining: Mining::default(),
            rpc: None,
            callers: Callers::anybody(),
            rate: NonZeroU32::MAX,
            discovery: None,
            payees: None,
            limits: Limits::default(),
        }
    }
}

/// A facilitator for others on loopback, with a ledger of its own.
pub struct FacilitatorServer {
    pub ledger: Ledger,
    pub address: SocketAddr,
    facilitator: Arc<Facilitator>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl FacilitatorServer {
    /// On a chain that runs, whose settler it uses.
    pub async fn start(chain: &Devchain, options: CounterOptions) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ledger = Ledger::open(&Place::File(&folder.path().join("ledger.db")), Clock::System, "counter")?;
        let setup = till::setup(chain, options.rpc.as_deref(), &options.seller)?;
        let facilitator =
            Arc::new(Facilitator::start(&ledger, vec![setup], Vec::new(), options.seller.timing));
        let server = Server::new(ServerParts {
            counter: Counter::new(Arc::clone(&facilitator), ledger.clone(), options.payees),
            registry: Arc::new(Registry::built_in()),
            callers: options.callers,
            rate: Rate::per_second(options.rate),
            discovery: options.discovery,
            max_requests: 1_000,
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve_facilitator(server, listener, options.limits, stopped));
        Ok(Self { ledger, address, facilitator, stop, server, _folder: folder })
    }

    /// Begins a shutdown: who waits is answered within the grace.
    pub fn begin_stop(&self) {
        // A server that has ended by itself has stopped.
        let _ = self.stop.send(true);
    }

    pub async fn stop(self) -> Result<()> {
        self.begin_stop();
        self.server.await?;
        self.facilitator.stop().await;
        Ok(())
    }
}

/// Such a facilitator, with a chain of its own.
pub struct FacilitatorStage {
    pub chain: Devchain,
    /// 0.01 USDC to the chain's seller.
    pub requirement: Requirement,
    server: FacilitatorServer,
}

impl Deref for FacilitatorStage {
    type Target = FacilitatorServer;

    fn deref(&self) -> &FacilitatorServer {
        &self.server
    }
}

impl FacilitatorStage {
    pub async fn open(options: CounterOptions) -> Result<Self> {
        let chain = Devchain::start(Options { mining: options.mining, ..Options::default() }).await?;
        let server = FacilitatorServer::start(&chain, options).await?;
        let requirement = price(chain.seller());
        Ok(Self { chain, requirement, server })
    }

    pub fn buyer(&self, n: usize) -> Buyer {
        Buyer::of(self.chain.buyers()[n])
    }

    /// What a published server sends about this payment.
    pub fn question(&self, payment: &Payment, version: WireVersion) -> Value {
        question(payment, &self.requirement, version)
    }

    pub async fn post(&self, at: &str, body: &Value) -> Result<Answered> {
        self.post_as(at, body.to_string(), None).await
    }

    pub async fn post_as(&self, at: &str, body: String, token: Option<&str>) -> Result<Answered> {
        let mut request = request(Method::POST, at, body);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse()?);
        }
        fetch(self.address, request).await
    }

    /// Stops, after checking that the ledger and the chain tell the same story.
    pub async fn close(self) -> Result<()> {
        let seller = self.chain.seller().address;
        crate::assert_ledger_equals_chain(&self.chain, &self.ledger, seller).await?;
        self.server.stop().await?;
        self.chain.stop().await;
        Ok(())
    }
}

/// The body of `/verify` and `/settle`, as the packages of this version write it.
pub fn question(payment: &Payment, requirement: &Requirement, version: WireVersion) -> Value {
    let authorization = &payment.authorization;
    let payload = json!({
        "signature": payment.signature,
        "authorization": {
            "from": authorization.from, "to": authorization.to, "value": authorization.value.to_string(),
            "validAfter": authorization.valid_after.to_string(),
            "validBefore": authorization.valid_before.to_string(), "nonce": authorization.nonce,
        },
    });
    let asset = &requirement.asset;
    let extra = json!({"name": asset.domain.name, "version": asset.domain.version});
    match version {
        WireVersion::V1 => json!({
            "x402Version": 1,
            "paymentPayload":
                {"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload},
            "paymentRequirements": {
                "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": requirement.amount.to_string(),
                "resource": "https://shop.example/x", "description": "", "mimeType": "",
                "payTo": requirement.pay_to, "maxTimeoutSeconds": requirement.max_timeout_seconds,
                "asset": asset.address, "extra": extra,
            },
        }),
        WireVersion::V2 => {
            let accepted = json!({
                "scheme": "exact", "network": asset.chain.to_string(), "amount": requirement.amount.to_string(),
                "asset": asset.address, "payTo": requirement.pay_to,
                "maxTimeoutSeconds": requirement.max_timeout_seconds, "extra": extra,
            });
            json!({
                "x402Version": 2,
                "paymentPayload": {
                    "x402Version": 2, "resource": {"url": "https://shop.example/x"}, "accepted": accepted,
                    "payload": payload,
                },
                "paymentRequirements": accepted,
            })
        }
    }
}
