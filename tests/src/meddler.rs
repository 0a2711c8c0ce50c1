use crate::{Upstream, fetch, reply, request, upstream::Reply};
use alloy_primitives::B256;
use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, body::Incoming};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// How a facilitator treats a question to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Settles, and answers this status.
    SettlesAndFails(StatusCode),
    /// Settles, and never answers.
    SettlesAndHangs,
    /// Never answers, and does nothing.
    Hangs,
    /// Does nothing, and answers with this status and text.
    Says(StatusCode, String),
}

impl Manner {
    pub fn html() -> Self {
        Self::Says(StatusCode::OK, "<!doctype html><title>Bad gateway</title>".to_owned())
    }

    /// Says that it is settled in this transaction.
    pub fn claims(transaction: B256) -> Self {
        let answer = json!({"success": true, "transaction": transaction, "network": "eip155:84532"});
        Self::Says(StatusCode::OK, answer.to_string())
    }

    /// Says that it is about to be settled, in this transaction.
    pub fn promises(transaction: B256) -> Self {
        let answer = json!({"success": false, "errorReason": "settlement_pending", "transaction": transaction, "network": ""});
        Self::Says(StatusCode::OK, answer.to_string())
    }

    pub fn refuses(reason: &str) -> Self {
        let answer = json!({"success": false, "errorReason": reason, "transaction": "", "network": ""});
        Self::Says(StatusCode::OK, answer.to_string())
    }
}

/// How a facilitator treats a question whether a payment is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checking {
    Honest,
    /// Finds everything good.
    Blind,
    /// Answers 400 where the signature is not of 65 bytes.
    Strict,
    /// Answers with this status and text.
    Says(StatusCode, String),
    /// Waits until it is told to do something else, and does that.
    Waits,
}

/// Stands at the socket between a shop and a facilitator, and does to its answers what facilitators
/// have been seen to do.
pub struct Meddler {
    server: Upstream,
    inner: Arc<Inner>,
}

struct Inner {
    facilitator: SocketAddr,
    manner: Mutex<Manner>,
    checking: watch::Sender<Checking>,
    settled: Mutex<Vec<String>>,
    shown: Mutex<Vec<String>>,
}

impl Meddler {
    pub async fn start(facilitator: SocketAddr, manner: Manner) -> Result<Self> {
        let inner = Arc::new(Inner {
            facilitator,
            manner: Mutex::new(manner),
            checking: watch::Sender::new(Checking::Honest),
            settled: Mutex::default(),
            shown: Mutex::default(),
        });
        let shared = Arc::clone(&inner);
        let server = Upstream::start(move |question| {
            let inner = Arc::clone(&shared);
            async move {
                match inner.meddle(question).await {
                    Ok(reply) => reply,
                    Err(error) => reply(StatusCode::BAD_GATEWAY, error.to_string()),
                }
            }
        })
        .await?;
        Ok(Self { server, inner })
    }

    pub fn url(&self) -> String {
        self.server.base().to_owned()
    }

    pub fn behave(&self, manner: Manner) {
        *lock(&self.inner.manner) = manner;
    }

    pub fn check(&self, checking: Checking) {
        self.inner.checking.send_replace(checking);
    }

    /// The questions to settle that came, in order.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.inner.settled).clone()
    }

    /// The questions whether a payment is good that came, in order.
    pub fn shown(&self) -> Vec<String> {
        lock(&self.inner.shown).clone()
    }
}

impl Inner {
    async fn meddle(&self, question: Request<Incoming>) -> Result<Reply> {
        let (head, body) = question.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut passed_on = request(head.method, head.uri.path(), body.clone());
        passed_on.headers_mut().insert("content-type", "application/json".parse()?);
        let text = String::from_utf8(body.to_vec())?;
        match head.uri.path() {
            "/settle" => {
                lock(&self.settled).push(text);
                self.settle(passed_on).await
            }
            "/verify" => {
                lock(&self.shown).push(text.clone());
                self.verify(passed_on, &text).await
            }
            _ => self.pass_on(passed_on).await,
        }
    }

    async fn pass_on(&self, question: Request<Full<Bytes>>) -> Result<Reply> {
        let answered = fetch(self.facilitator, question).await?;
        Ok(reply(answered.status, answered.body))
    }

    async fn verify(&self, question: Request<Full<Bytes>>, text: &str) -> Result<Reply> {
        let mut told = self.checking.subscribe();
        let checking = told.wait_for(|checking| *checking != Checking::Waits).await?.clone();
        match checking {
            Checking::Honest | Checking::Waits => self.pass_on(question).await,
            Checking::Blind => Ok(reply(StatusCode::OK, r#"{"isValid":true}"#)),
            Checking::Strict => {
                let asked: Value = serde_json::from_str(text)?;
                match asked["paymentPayload"]["payload"]["signature"].as_str() {
                    Some(signature) if signature.len() == "0x".len() + 2 * 65 => self.pass_on(question).await,
                    _ => Ok(reply(StatusCode::BAD_REQUEST, r#"{"errorType":"invalid_request"}"#)),
                }
            }
            Checking::Says(status, text) => Ok(reply(status, text)),
        }
    }

    async fn settle(&self, question: Request<Full<Bytes>>) -> Result<Reply> {
        let manner = lock(&self.manner).clone();
        match manner {
            Manner::Honest => self.pass_on(question).await,
            Manner::SettlesAndFails(status) => {
                self.pass_on(question).await?;
                Ok(reply(status, "Internal Server Error"))
            }
            Manner::SettlesAndHangs => {
                self.pass_on(question).await?;
                std::future::pending().await
            }
            Manner::Hangs => std::future::pending().await,
            Manner::Says(status, text) => Ok(reply(status, text)),
        }
    }
}

/// What is locked is set or pushed to as a whole.
fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
