use crate::{Buyer, Customer, Shop, ShopOptions, Upstream, fetch, get, requirement};
use anyhow::{Result, ensure};
use base64::{Engine, engine::general_purpose};
use hyper::{HeaderMap, StatusCode, header::HeaderValue};
use obol_core::{Payment, Reason, Requirement, WireVersion};
use obol_wire::{
    PaymentHeader, Sale,
    header::{PAYMENT_SIGNATURE as V2, X_PAYMENT as V1},
};
use serde_json::{Value, json};

const AT: &str = "/services/paid";

/// A shop, and a payment for it that would be good, in both versions.
pub struct PaymentStage {
    pub shop: Shop,
    pub upstream: Upstream,
    pub buyer: Buyer,
    pub requirement: Requirement,
    pub payment: Payment,
    pub v1: (Customer, Sale),
    pub v2: (Customer, Sale),
}

impl PaymentStage {
    pub async fn open() -> Result<Self> {
        let shop = Shop::open(ShopOptions::default()).await?;
        let upstream = Upstream::hello().await?;
        shop.sell(AT, &upstream)?;
        let buyer = Buyer::of(shop.chain.buyers()[0]);
        let v1 = Customer::new(buyer.clone(), shop.address, WireVersion::V1);
        let v2 = Customer::new(buyer.clone(), shop.address, WireVersion::V2);
        let (v1, v2) = ((v1.clone(), v1.challenge(AT).await?), (v2.clone(), v2.challenge(AT).await?));
        let requirement = requirement(&v2.1.offered[0]);
        let payment = buyer.pay(&requirement);
        Ok(Self { shop, upstream, buyer, requirement, payment, v1, v2 })
    }

    pub fn header(&self, version: WireVersion, payment: &Payment) -> Result<PaymentHeader> {
        let (customer, sale) = match version {
            WireVersion::V1 => &self.v1,
            WireVersion::V2 => &self.v2,
        };
        customer.header(sale, payment)
    }

    /// The JSON of the good payment's header.
    pub fn text(&self, version: WireVersion) -> Result<String> {
        let header = self.header(version, &self.payment)?;
        Ok(String::from_utf8(general_purpose::STANDARD.decode(header.value)?)?)
    }

    /// The good payment with a value in it replaced, each step of the path being a key.
    pub fn with(&self, version: WireVersion, path: &str, value: Value) -> Result<String> {
        let mut json: Value = serde_json::from_str(&self.text(version)?)?;
        *json.pointer_mut(path).expect("a field of a payment") = value;
        Ok(json.to_string())
    }

    /// Sends these headers; they have to be refused for that reason.
    pub async fn refused(
        &self,
        headers: &[(&'static str, String)],
        reason: Reason,
        what: &str,
    ) -> Result<()> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value)?);
        }
        let old = headers.iter().all(|(name, _)| *name == V1) && headers.len() == 1;
        let version = if old { WireVersion::V1 } else { WireVersion::V2 };
        let mut request = get(AT);
        *request.headers_mut() = map;
        let answered = fetch(self.shop.address, request).await?;
        let refused = || format!("{what}: not {reason:?}, but {answered:?}");
        ensure!(answered.status == StatusCode::PAYMENT_REQUIRED, refused());
        let body = answered.json()?;
        let says = [&body["reason"], &body["error"], &answered.challenge()?["error"]].map(Value::to_string);
        let codes = [WireVersion::V2, version, WireVersion::V2]
            .map(|version| json!(reason.code(version)).to_string());
        ensure!(says == codes, "{what}: {says:?}, not {codes:?}: {}", body["detail"]);
        ensure!(body["hint"] == reason.hint() && body["paymentSettled"] == false, refused());
        Ok(())
    }

    pub async fn text_refused(&self, version: WireVersion, json: &str, reason: Reason) -> Result<()> {
        let name = if version == WireVersion::V1 { V1 } else { V2 };
        self.refused(&[(name, general_purpose::STANDARD.encode(json))], reason, json).await
    }

    /// Nothing of what was refused is anywhere.
    pub async fn close(self) -> Result<()> {
        assert_eq!(self.upstream.count(), 0);
        assert_eq!(self.shop.payments().await?, []);
        self.shop.close().await
    }
}
