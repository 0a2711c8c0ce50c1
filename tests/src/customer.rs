use crate::Buyer;
use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use obol_core::{Payment, Reason, Registry, Requirement, WireVersion};
use obol_wire::{Offered, PaymentHeader, Receipt, Sale, header};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;

/// A program that reads challenges and pays, with a connection of its own for each request.
#[derive(Clone, Debug)]
pub struct Customer {
    pub buyer: Buyer,
    pub shop: SocketAddr,
    pub version: WireVersion,
    registry: Arc<Registry>,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Customer {
    pub fn new(buyer: Buyer, shop: SocketAddr, version: WireVersion) -> Self {
        Self { buyer, shop, version, registry: Arc::new(Registry::built_in()) }
    }

    /// Asks without paying, and reads what the version's own clients read.
    pub async fn challenge(&self, target: &str) -> Result<Sale> {
        let answered = fetch(self.shop, get(target)).await?;
        ensure!(answered.status == StatusCode::PAYMENT_REQUIRED, "{answered:?}");
        let header = match self.version {
            WireVersion::V1 => None,
            WireVersion::V2 => {
                Some(answered.headers.get(header::PAYMENT_REQUIRED).context("no challenge")?.as_bytes())
            }
        };
        let sale = Sale::parse(header, &answered.body, &self.registry)?;
        ensure!(sale.version == self.version, "{sale:?}");
        Ok(sale)
    }

    /// A fresh payment for the first way to pay.
    pub fn pay(&self, sale: &Sale) -> Result<(Payment, PaymentHeader)> {
        let offered = sale.offered.first().context("no way to pay")?;
        let payment = self.buyer.pay(&requirement(offered));
        let header = sale.pay(offered, &payment, &self.registry);
        Ok((payment, header))
    }

    /// Any payment, as this version writes it.
    pub fn header(&self, sale: &Sale, payment: &Payment) -> Result<PaymentHeader> {
        let offered = sale.offered.first().context("no way to pay")?;
        Ok(sale.pay(offered, payment, &self.registry))
    }

    /// A payment for one request at `target`.
    pub async fn payment(&self, target: &str) -> Result<(Payment, PaymentHeader)> {
        self.pay(&self.challenge(target).await?)
    }

    /// The whole exchange for a GET.
    pub async fn buy(&self, target: &str) -> Result<Answered> {
        let (_, header) = self.payment(target).await?;
        fetch(self.shop, paid(get(target), &header)).await
    }

    pub fn receipt(&self, answered: &Answered) -> Result<Receipt> {
        answered.receipt(&self.registry)
    }
}

/// What a buyer has to sign, from nothing but the challenge.
pub fn requirement(offered: &Offered) -> Requirement {
    Requirement {
        asset: Arc::new(offered.asset()),
        pay_to: offered.pay_to,
        amount: offered.amount,
        max_timeout_seconds: offered.max_timeout_seconds,
    }
}

impl Answered {
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The JSON of a 402's `PAYMENT-REQUIRED`.
    pub fn challenge(&self) -> Result<serde_json::Value> {
        let header = self.headers.get(header::PAYMENT_REQUIRED).context("no challenge")?;
        Ok(serde_json::from_slice(&STANDARD.decode(header)?)?)
    }

    /// The receipt, which has to be the same under the names of both versions.
    pub fn receipt(&self, registry: &Registry) -> Result<Receipt> {
        let new = self.headers.get(header::PAYMENT_RESPONSE).context("no receipt")?;
        ensure!(self.headers.get(header::X_PAYMENT_RESPONSE) == Some(new), "{:?}", self.headers);
        Ok(Receipt::decode(new.as_bytes(), registry)?)
    }

    /// Fails unless this is a refusal for that reason, with its published status.
    pub fn expect_refusal(&self, reason: Reason) -> Result<serde_json::Value> {
        let body = self.json()?;
        ensure!(self.status.as_u16() == reason.status(), "{reason}: {self:?}");
        ensure!(body["reason"] == reason.code(WireVersion::V2), "{reason}: {body}");
        Ok(body)
    }
}

pub fn get(target: &str) -> Request<Full<Bytes>> {
    request(Method::GET, target, Bytes::new())
}

/// With a body, or with an empty one, which GET does not announce.
pub fn request(method: Method, target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.into()));
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().expect("a test's target is a URI");
    request
}

pub fn paid<B>(mut request: Request<B>, payment: &PaymentHeader) -> Request<B> {
    let value = payment.value.parse().expect("base64 is a header's value");
    request.headers_mut().insert(payment.name, value);
    request
}

/// Sends on a connection of its own, which lives as long as the response's body. Dropping the
/// future, or the response, is a client that leaves.
pub async fn send<B>(to: SocketAddr, mut request: Request<B>) -> Result<Response<Incoming>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let host = to.to_string().parse()?;
    request.headers_mut().entry("host").or_insert(host);
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is also seen by the response; it ends when the sender and the body are gone.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// Sends and reads the whole response.
pub async fn fetch<B>(to: SocketAddr, request: Request<B>) -> Result<Answered>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let (head, body) = send(to, request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answered { status: head.status, headers: head.headers, body })
}

/// As [`fetch`], and again while the response to an earlier request with the same payment is
/// being sent: its end is written down a moment after its last byte.
pub async fn fetch_after<B>(to: SocketAddr, make: impl Fn() -> Request<B>) -> Result<Answered>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    crate::until("another answer than 409", async || {
        let answered = fetch(to, make()).await?;
        Ok((answered.status != StatusCode::CONFLICT).then_some(answered))
    })
    .await
}
