use crate::{Upstream, fetch, reply, request, upstream::Reply};
use alloy_primitives::B256;
use anyhow::Result;
use http_body_util::BodyExt;
use hyper::{Request, StatusCode, body::Incoming};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

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

    pub fn refuses(reason: &str) -> Self {
        let answer = json!({"success": false, "errorReason": reason, "transaction": "", "network": ""});
        Self::Says(StatusCode::OK, answer.to_string())
    }
}

/// Stands at the socket between a shop and a facilitator, and does to its answers what facilitators
/// have been seen to do. Questions other than to settle are passed on.
pub struct Meddler {
    server: Upstream,
    manner: Arc<Mutex<Manner>>,
    settled: Arc<Mutex<Vec<String>>>,
}

impl Meddler {
    pub async fn start(facilitator: SocketAddr, manner: Manner) -> Result<Self> {
        let manner = Arc::new(Mutex::new(manner));
        let settled = Arc::<Mutex<Vec<String>>>::default();
        let (inner, heard) = (Arc::clone(&manner), Arc::clone(&settled));
        let server = Upstream::start(move |question| {
            let (manner, heard) = (Arc::clone(&inner), Arc::clone(&heard));
            async move {
                match meddle(facilitator, &manner, &heard, question).await {
                    Ok(reply) => reply,
                    Err(error) => reply(StatusCode::BAD_GATEWAY, error.to_string()),
                }
            }
        })
        .await?;
        Ok(Self { server, manner, settled })
    }

    pub fn url(&self) -> String {
        self.server.base().to_owned()
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// The questions to settle that came, in order.
    pub fn asked(&self) -> Vec<String> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn meddle(
    facilitator: SocketAddr,
    manner: &Mutex<Manner>,
    heard: &Mutex<Vec<String>>,
    question: Request<Incoming>,
) -> Result<Reply> {
    let (head, body) = question.into_parts();
    let body = body.collect().await?.to_bytes();
    let settle = head.uri.path() == "/settle";
    let manner = match settle {
        true => manner.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        false => Manner::Honest,
    };
    if settle {
        let text = String::from_utf8(body.to_vec())?;
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
    let mut passed_on = request(head.method, head.uri.path(), body);
    passed_on.headers_mut().insert("content-type", "application/json".parse()?);
    match manner {
        Manner::Honest => {
            let answered = fetch(facilitator, passed_on).await?;
            Ok(reply(answered.status, answered.body))
        }
        Manner::SettlesAndFails(status) => {
            fetch(facilitator, passed_on).await?;
            Ok(reply(status, "Internal Server Error"))
        }
        Manner::SettlesAndHangs => {
            fetch(facilitator, passed_on).await?;
            std::future::pending().await
        }
        Manner::Hangs => std::future::pending().await,
        Manner::Says(status, text) => Ok(reply(status, text)),
    }
}
