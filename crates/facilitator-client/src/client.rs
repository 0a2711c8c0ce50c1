use crate::Url;
use alloy_primitives::{Address, Bytes};
use bytes::BytesMut;
use obol_core::{ChainId, Registry};
use obol_wire::{CheckAnswer, SettleAnswer, SupportAnswer};
use reqwest::{
    Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use std::{fmt, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// Why a question brought no answer. What was asked may have been done all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("no answer: {0}")]
    NoAnswer(&'static str),
    #[error("HTTP {0}, and no answer in it")]
    Status(u16),
    /// It has something against this question, and says nothing about the payment.
    #[error("HTTP {0}: it does not take the question")]
    Rejected(u16),
    /// Nothing was done: it is asked too often.
    #[error("HTTP 429: it is asked too often")]
    Busy,
    #[error("the answer has more than {MOST} bytes")]
    TooLong,
    #[error("the answer is not what was asked for: {0}")]
    Malformed(String),
}

/// Why a facilitator cannot be asked at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("no TLS or HTTP client can be built: {0}")]
    Build(String),
    #[error("its token is no header value; it is one line of printable ASCII")]
    Token,
}

/// An answer is some hundred bytes.
const MOST: usize = 64 * 1024;

/// How long a connection may take: what is not reached by then is not reached.
const CONNECT: Duration = Duration::from_secs(3);

/// How long an answer may take that moves no money.
const CHECK: Duration = Duration::from_secs(5);

/// One facilitator. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    registry: Arc<Registry>,
    /// How long it may take to settle.
    settle: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.url).finish()
    }
}

impl Client {
    /// `settle` bounds the answer to [`Self::settle`]; facilitators wait for a block with it.
    pub fn new(
        url: Url,
        token: Option<&Zeroizing<String>>,
        registry: Arc<Registry>,
        settle: Duration,
    ) -> Result<Self, ClientError> {
        // The client panics without one; an error means that the process has one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| ClientError::Build(error.to_string()))?;
        let authorization = token.map(|token| bearer(token)).transpose()?;
        Ok(Self { http, url, authorization, registry, settle })
    }

    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the payment in `question` is good.
    pub async fn verify(&self, question: &Bytes, payer: Address) -> Result<CheckAnswer, AskError> {
        let (status, body) = self.post("/verify", question, CHECK).await?;
        sound(status)?;
        let answer = CheckAnswer::read(&body, payer).map_err(|error| unread(status, error.to_string()))?;
        match answer {
            CheckAnswer::Good => good(status, answer),
            CheckAnswer::Refused(_) => Ok(answer),
        }
    }

    /// Has the payment in `question` settled, on `chain`, for `payer`.
    pub async fn settle(
        &self,
        question: &Bytes,
        chain: ChainId,
        payer: Address,
    ) -> Result<SettleAnswer, AskError> {
        obol_stop::reach("facilitator.settle.before");
        let answer = self.post("/settle", question, self.settle).await;
        obol_stop::reach("facilitator.settle.after");
        let (status, body) = answer?;
        sound(status)?;
        let answer = SettleAnswer::read(&body, chain, payer, &self.registry)
            .map_err(|error| unread(status, error.to_string()))?;
        match answer {
            SettleAnswer::Settled(_) => good(status, answer),
            SettleAnswer::Pending(_) | SettleAnswer::Refused(_) | SettleAnswer::Doubtful(_) => Ok(answer),
        }
    }

    /// What it says that it settles.
    pub async fn supported(&self) -> Result<SupportAnswer, AskError> {
        let request = self.http.get(self.url.at("/supported")).timeout(CHECK);
        let (status, body) = self.send(request).await?;
        SupportAnswer::read(&body, &self.registry).map_err(|error| unread(status, error.to_string()))
    }

    async fn post(&self, path: &str, body: &Bytes, timeout: Duration) -> Result<(u16, Bytes), AskError> {
        let request = self.http.post(self.url.at(path)).timeout(timeout);
        let json = HeaderValue::from_static("application/json");
        self.send(request.header(CONTENT_TYPE, json).body(body.0.clone())).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Bytes), AskError> {
        let request = match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        };
        let response = request.send().await.map_err(|error| lost(&error))?;
        let status = response.status().as_u16();
        Ok((status, read(response).await?))
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let text = Zeroizing::new(format!("Bearer {token}"));
    let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

async fn read(mut response: Response) -> Result<Bytes, AskError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
        if body.len() + chunk.len() > MOST {
            return Err(AskError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze().into())
}

fn lost(error: &reqwest::Error) -> AskError {
    AskError::NoAnswer(match error {
        error if error.is_timeout() => "timed out",
        error if error.is_connect() => "cannot connect",
        _ => "the connection broke",
    })
}

/// Whatever the body says, it is none where something broke.
const fn sound(status: u16) -> Result<(), AskError> {
    match status {
        429 => Err(AskError::Busy),
        500.. => Err(AskError::Status(status)),
        _ => Ok(()),
    }
}

/// Good news with a status that says otherwise is none.
fn good<A>(status: u16, answer: A) -> Result<A, AskError> {
    match status {
        200..300 => Ok(answer),
        _ => Err(unread(status, String::new())),
    }
}

/// A page of a proxy's, say, or an answer to something else.
fn unread(status: u16, error: String) -> AskError {
    match status {
        200..300 => AskError::Malformed(error),
        400 | 402 | 406 | 409 | 411..=428 | 431 => AskError::Rejected(status),
        _ => AskError::Status(status),
    }
}
