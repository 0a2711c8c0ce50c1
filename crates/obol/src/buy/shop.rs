//! Asking a seller.

use super::args::RequestArgs;
use crate::exit::Failure;
use alloy_primitives::{B256, Keccak256};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use obol_core::Registry;
use obol_wire::{PaymentHeader, Sale, header};
use reqwest::{Client, Url, redirect::Policy};
use std::{fs, io::Read, time::Duration};

/// A request, to be sent as often as it takes.
#[derive(Debug)]
pub(super) struct Shop {
    http: Client,
    pub(super) method: Method,
    pub(super) url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Why the body is not all there.
    pub(super) broken: Option<String>,
}

/// Bytes of a body that are taken.
const LONGEST: usize = 256 * 1024 * 1024;

/// Characters of a seller's words that are shown.
const WORDS: usize = 200;

/// Why there is no answer: what lies at the bottom of it.
#[derive(Debug)]
pub(super) struct Unanswered(String);

impl std::fmt::Display for Unanswered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<&reqwest::Error> for Unanswered {
    fn from(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self("no answer in time".to_owned());
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let what = if error.is_connect() { "cannot connect: " } else { "" };
        Self(format!("{what}{cause}"))
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.headers.get(name)
    }

    /// The challenge of a 402.
    pub(super) fn sale(&self, registry: &Registry) -> Result<Sale, Failure> {
        let challenge = self.header(header::PAYMENT_REQUIRED).map(HeaderValue::as_bytes);
        Sale::parse(challenge, &self.body, registry).map_err(Failure::failed)
    }

    /// Whether the payment is refused for good, as far as the seller says: not for a moment, and not
    /// for want of something behind it.
    pub(super) fn is_final(&self) -> bool {
        let said = self.json();
        let retriable = said.as_ref().and_then(|said| said.get("retriable")?.as_bool());
        let client = (400..500).contains(&self.status) && !matches!(self.status, 408 | 409 | 425 | 429);
        client && retriable != Some(true)
    }

    /// Why it is refused, in one word, as far as the seller says.
    pub(super) fn reason(&self) -> String {
        self.said("reason").or_else(|| self.said("error")).unwrap_or_else(|| "no reason is given".to_owned())
    }

    /// The same, with what stands behind it and what can be done.
    pub(super) fn why(&self) -> String {
        let more = ["detail", "hint"].into_iter().filter_map(|field| self.said(field));
        more.fold(self.reason(), |all, more| format!("{all}: {more}"))
    }

    /// It may say anything: a terminal must not obey it.
    fn said(&self, field: &str) -> Option<String> {
        let said = self.json()?;
        let said = said.get(field)?.as_str().filter(|said| !said.is_empty())?;
        Some(said.chars().take(WORDS).collect::<String>().escape_debug().to_string())
    }

    /// Whether the seller says that it charges nothing for this.
    pub(super) fn is_uncharged(&self) -> bool {
        self.header("x-payment-settled").is_some_and(|settled| settled == "false")
    }

    pub(super) fn location(&self) -> Option<String> {
        Some(self.header("location")?.to_str().ok()?.escape_debug().to_string())
    }

    fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl Shop {
    pub(super) fn new(args: &RequestArgs) -> Result<Self, Failure> {
        let url = Url::parse(&args.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
            .ok_or_else(|| Failure::config(format!("{:?} is no http:// or https:// address", args.url)))?;
        let body = args.data.as_deref().map(data).transpose()?.unwrap_or_default();
        let method = match (&args.method, &args.data) {
            (Some(method), _) => Method::from_bytes(method.as_bytes())
                .map_err(|_| Failure::config(format!("--method: {method:?} is no method")))?,
            (None, Some(_)) => Method::POST,
            (None, None) => Method::GET,
        };
        let mut headers = HeaderMap::new();
        for text in &args.header {
            let (name, value) = one_header(text)?;
            headers.append(name, value);
        }
        let http = Client::builder()
            // A payment goes to the address that asked for it, and to no other.
            .redirect(Policy::none())
            // Between two pieces: a long answer may take its time.
            .read_timeout(Duration::from_secs(args.timeout))
            .connect_timeout(Duration::from_secs(args.timeout))
            .build()
            .map_err(|error| Failure::failed(format!("cannot make requests: {error}")))?;
        Ok(Self { http, method, url, headers, body })
    }

    /// Sends it, with a payment or without. Fails when not even the head of an answer comes.
    pub(super) async fn ask(&self, payment: Option<&PaymentHeader>) -> Result<Answer, Unanswered> {
        let mut request =
            self.http.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        if !self.body.is_empty() {
            request = request.body(self.body.clone());
        }
        if let Some(payment) = payment {
            request = request.header(payment.name, &payment.value);
        }
        let mut response = request.send().await.map_err(|error| Unanswered::from(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut answer = Answer { status, headers, body: Vec::new(), broken: None };
        loop {
            match response.chunk().await {
                Ok(None) => return Ok(answer),
                Ok(Some(piece)) if answer.body.len() + piece.len() <= LONGEST => answer.body.extend(piece),
                Ok(Some(_)) => answer.broken = Some(format!("it is longer than {LONGEST} bytes")),
                Err(error) => answer.broken = Some(Unanswered::from(&error).to_string()),
            }
            if answer.broken.is_some() {
                return Ok(answer);
            }
        }
    }

    /// Tells requests apart: what is paid for one is not spent on another.
    pub(super) fn fingerprint(&self) -> B256 {
        let mut hash = Keccak256::new();
        // What no seller sees.
        let mut url = self.url.clone();
        url.set_fragment(None);
        let kind =
            self.headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let parts = [self.method.as_str().as_bytes(), url.as_str().as_bytes(), kind, &self.body];
        for part in parts {
            // Lengths keep two different requests from being one text.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize()
    }
}

fn data(text: &str) -> Result<Bytes, Failure> {
    let Some(file) = text.strip_prefix('@') else { return Ok(text.to_owned().into()) };
    let read = match file {
        "-" => {
            let mut all = Vec::new();
            std::io::stdin().read_to_end(&mut all).map(|_| all)
        }
        file => fs::read(file),
    };
    read.map(Bytes::from).map_err(|error| Failure::config(format!("--data: {file} cannot be read: {error}")))
}

fn one_header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let refused = || Failure::config(format!("--header: {text:?} is not `name: value`"));
    let (name, value) = text.split_once(':').ok_or_else(refused)?;
    let name: HeaderName = name.trim().parse().map_err(|_| refused())?;
    if [header::PAYMENT_SIGNATURE, header::X_PAYMENT].contains(&name.as_str()) {
        return Err(Failure::config(format!("--header: {name} is written by obol itself")));
    }
    Ok((name, value.trim().parse().map_err(|_| refused())?))
}
