//! The way of a request up to its payment: match, challenge, decode.

mod doors;

use crate::{
    answer, asked,
    body::GateBody,
    catalog::{Catalog, Listed},
    cors,
    door::Door,
    drain::{self, drain},
    forward_auth::{self, ForwardAuth},
    held_page::HeldPage,
    meters::{Meters, Scraper, Unwritten},
    note::Note,
    plain,
    receipts::{self, Receipts},
    sale::Sale,
    trust::{Outside, TrustedProxies},
    upstream::{self, UpstreamClient, is_sold},
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, Ready, ready},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use obol_core::{Reason, Refusal, Registry, RequestPath, WireVersion};
use obol_facilitator::Facilitator;
use obol_ledger::Ledger;
use obol_serve::Trouble;
use obol_wire::{Claim, Money};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use tokio::sync::{Semaphore, oneshot, watch};

const X_PAYMENT: HeaderName = HeaderName::from_static(obol_wire::header::X_PAYMENT);
const SUNSET: HeaderName = HeaderName::from_static("sunset");
const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static(obol_wire::header::PAYMENT_SIGNATURE);

/// What a gate is made of.
#[derive(Debug)]
pub struct Parts {
    pub catalog: Arc<Catalog>,
    pub registry: Arc<Registry>,
    pub ledger: Ledger,
    pub facilitator: Arc<Facilitator>,
    pub trusted: TrustedProxies,
    pub forward_auth: ForwardAuth,
    /// Paid requests that may be between their payment and their response at once. Each may
    /// hold a connection to an upstream.
    pub max_sales: usize,
}

/// More sales than a process has file descriptors for.
const MAX_SALES: usize = 1_000_000;

/// The charging reverse proxy. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) ledger: Ledger,
    pub(crate) facilitator: Arc<Facilitator>,
    pub(crate) upstream: UpstreamClient,
    pub(crate) forward_auth: ForwardAuth,
    pub(crate) meters: Arc<Meters>,
    scraper: Scraper,
    trusted: TrustedProxies,
    /// Of proxies that ask wrongly.
    proxies: Trouble,
    receipts: Receipts,
    sales: Arc<Semaphore>,
    max_sales: usize,
    retired: AtomicBool,
    /// Whether sales have to end now.
    closing: watch::Sender<bool>,
}

impl Shared {
    /// Ends when the process is about to, which leaves a sale time for its answer.
    pub(crate) async fn closes(&self) {
        // The sender lives as long as this.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

impl Gate {
    /// Fails when the machine's certificate store cannot be read.
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        let max_sales = parts.max_sales.min(MAX_SALES);
        let shared = Shared {
            meters: Arc::clone(parts.catalog.meters()),
            catalog: parts.catalog,
            registry: parts.registry,
            ledger: parts.ledger,
            facilitator: parts.facilitator,
            upstream: UpstreamClient::new()?,
            forward_auth: parts.forward_auth,
            scraper: Scraper::default(),
            trusted: parts.trusted,
            proxies: Trouble::default(),
            receipts: Receipts::default(),
            sales: Arc::new(Semaphore::new(max_sales)),
            max_sales,
            retired: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn is_ready(&self) -> bool {
        self.shared.catalog.is_loaded() && !self.shared.retired.load(Ordering::Relaxed)
    }

    /// Says that it is not ready from now on, so that no more buyers are sent here.
    pub fn retire(&self) {
        self.shared.retired.store(true, Ordering::Relaxed);
    }

    /// Has the sales give up that still wait, for their upstream or for the chain.
    pub(crate) fn close_sales(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Waits until what became of finished sales is in the ledger.
    pub(crate) async fn finish_notes(&self) {
        self.shared.ledger.all_ended().await;
    }

    /// Waits for the sales that are on their way, also those whose buyer has left.
    pub async fn finish_sales(&self) {
        let all = u32::try_from(self.shared.max_sales).unwrap_or(u32::MAX);
        // An error would mean that somebody has closed the semaphore: nobody does.
        let _ = self.shared.sales.acquire_many(all).await;
    }

    /// What each chain's settler can do at the moment, as JSON for programs.
    pub(crate) fn status(&self) -> String {
        let settlers: serde_json::Map<_, _> = self
            .shared
            .facilitator
            .states()
            .map(|(chain, state)| (chain.to_string(), state.as_str().into()))
            .collect();
        let on_their_way = self.shared.max_sales - self.shared.sales.available_permits();
        let mut status =
            serde_json::json!({"ready": self.is_ready(), "settlers": settlers, "sales": on_their_way})
                .to_string();
        status.push('\n');
        status
    }

    /// What Prometheus is told; none when nothing is counted.
    pub(crate) async fn metrics(&self) -> Option<Result<HeldPage, Unwritten>> {
        let Shared { meters, scraper, catalog, ledger, facilitator, .. } = &*self.shared;
        if !catalog.counts() {
            return None;
        }
        Some(scraper.page(meters, catalog, ledger, facilitator).await)
    }

    /// Answers one request that came over a connection from `peer`.
    pub(crate) fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Answering {
        let door = match request.uri().path() {
            forward_auth::VERIFY => Door::ForwardAuth,
            forward_auth::AUTH_REQUEST => Door::AuthRequest,
            forward_auth::RENDER => return self.render(request, peer),
            path if path.starts_with(receipts::PREFIX) => return self.receipt(request),
            _ => return self.admit(Door::Gate, request, peer),
        };
        self.ask(door, request, peer)
    }

    /// Most requests to a gate that anybody can reach are unpaid: what they take is answered at
    /// once, without a future that has to be moved and polled.
    fn admit(&self, door: Door, request: Request<Incoming>, peer: IpAddr) -> Answering {
        let outside = self.shared.trusted.outside(peer, request.headers());
        let listed = match self.listed(&request, &outside) {
            Ok(listed) => listed,
            Err(refusal) => return drained(request, self.refuse_at(door, &refusal, WireVersion::V2)),
        };
        if door == Door::Gate && listed.offer.upstream.base.is_none() {
            return drained(request, self.refuse_at(door, &upstream::NOT_HERE, WireVersion::V2));
        }
        // A proxy would pass leave for the question on as leave for the request.
        if door == Door::Gate
            && let Some(answer) = cors::preflight(request.method(), request.headers())
        {
            return at_once(answer);
        }
        let around =
            Around { origin: request.headers().get(header::ORIGIN).cloned(), sunset: listed.sunset.clone() };
        match admit(&listed, &request) {
            Ok(claim) => {
                let gate = self.clone();
                let sold = async move { gate.charge(door, listed, claim, request, outside).await };
                Either::Right(sold.map(move |response| around.put(response)).boxed())
            }
            Err((refusal, version)) => {
                self.count_unsold(&listed, &refusal, request.headers());
                let response = refuse(door, &listed, &refusal, version, &request, &outside);
                drained(request, around.put(response))
            }
        }
    }

    fn listed(&self, request: &Request<Incoming>, outside: &Outside) -> Result<Arc<Listed>, Refusal> {
        let uri = request.uri();
        if !is_sold(request.method()) {
            return Err(Reason::MethodNotAllowed.into());
        }
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(Refusal::new(
                Reason::RequestRefused,
                "the request line holds a whole address; send the path and a Host header",
            ));
        }
        plain::check(request.version(), request.headers())?;
        let path = RequestPath::parse(uri.path())?;
        let snapshot = self.shared.catalog.snapshot().ok_or(Reason::NotReady)?;
        let listed = snapshot.find(outside.host.as_deref(), &path).ok_or(Reason::NoRoute)?;
        Ok(Arc::clone(listed))
    }

    /// The sale goes on in a task of its own: a client that leaves must not stop the money path
    /// between two of its steps.
    async fn charge(
        &self,
        door: Door,
        listed: Arc<Listed>,
        claim: Claim,
        request: Request<Incoming>,
        outside: Outside,
    ) -> Response<GateBody> {
        let version = claim.version();
        let Ok(permit) = Arc::clone(&self.shared.sales).try_acquire_owned() else {
            listed.tally().requested();
            listed.tally().failed(Reason::Overloaded);
            drain(request).await;
            return self.refuse_at(door, &Reason::Overloaded.into(), version);
        };
        let (reply, response) = oneshot::channel();
        let counted = Arc::clone(&listed);
        let sale = Sale::new(Arc::clone(&self.shared), door, listed, version, outside, &request);
        tokio::spawn(sale.run(claim, request, reply, permit));
        response.await.unwrap_or_else(|_| {
            // The task panicked. Its payment, if it held one, is given back when its hold ends.
            counted.tally().failed(Reason::LedgerUnavailable);
            self.refuse_at(door, &Reason::LedgerUnavailable.into(), version)
        })
    }

    /// A request that is refused without a word about an offer.
    fn refuse_at(&self, door: Door, refusal: &Refusal, version: WireVersion) -> Response<GateBody> {
        self.shared.meters.refused(refusal.reason);
        let money = Money::default();
        door.refuse(|| Note::of(refusal, version, money), || answer::refuse(refusal, version, money))
    }

    /// A request that does not become a sale.
    fn count_unsold(&self, listed: &Listed, refusal: &Refusal, headers: &HeaderMap) {
        let tally = listed.tally();
        tally.requested();
        self.shared.meters.refused(refusal.reason);
        if refusal.reason == Reason::PaymentRequired {
            tally.required();
        } else if headers.contains_key(X_PAYMENT) || headers.contains_key(PAYMENT_SIGNATURE) {
            tally.failed(refusal.reason);
        }
    }
}

/// The gate's answer: at once, or when it is known.
pub(crate) type Answering = Either<Ready<Response<GateBody>>, BoxFuture<'static, Response<GateBody>>>;

pub(crate) fn at_once(response: Response<GateBody>) -> Answering {
    Either::Left(ready(response))
}

/// The response, as soon as the request's body is out of its way.
fn drained(request: Request<Incoming>, response: Response<GateBody>) -> Answering {
    if drain::is_due(&request) {
        return Either::Right(drain(request).map(|()| response).boxed());
    }
    at_once(response)
}

/// What every answer to a request has around it.
struct Around {
    origin: Option<HeaderValue>,
    sunset: Option<HeaderValue>,
}

impl Around {
    fn put(self, mut response: Response<GateBody>) -> Response<GateBody> {
        cors::expose(response.headers_mut(), self.origin.as_ref());
        if let Some(sunset) = self.sunset {
            response.headers_mut().insert(SUNSET, sunset);
        }
        response
    }
}

/// A request that is not sold to.
fn refuse(
    door: Door,
    listed: &Listed,
    refusal: &Refusal,
    version: WireVersion,
    request: &Request<Incoming>,
    outside: &Outside,
) -> Response<GateBody> {
    if refusal.reason != Reason::PaymentRequired {
        tracing::debug!(offer = %listed.offer.id, %refusal, "a request is refused");
    }
    let posted = || match refusal.reason {
        Reason::PaymentRequired => listed.challenges.unpaid(outside, request),
        _ => listed.challenges.refused(&asked::url(outside, request), refusal, version),
    };
    let money = Money::default();
    door.refuse(
        || Note::of(refusal, version, money),
        || answer::refuse_on_offer(refusal, version, money, request.headers(), posted),
    )
}

/// The payment of a request that may be served for one; with a refusal comes the version that
/// its client is to be answered in.
fn admit(listed: &Listed, request: &Request<Incoming>) -> Result<Claim, (Refusal, WireVersion)> {
    let headers = request.headers();
    let refuse = |refusal| (refusal, WireVersion::V2);
    if listed.offer.paused {
        return Err(refuse(Reason::OfferPaused.into()));
    }
    if listed.offer.is_drained(SystemTime::now()) {
        return Err(refuse(Reason::OfferDrained.into()));
    }
    if asks_for_upgrade(headers) {
        return Err(refuse(Reason::UpgradeRefused.into()));
    }
    let v1 = single(headers, &X_PAYMENT).map_err(refuse)?;
    let v2 = single(headers, &PAYMENT_SIGNATURE).map_err(refuse)?;
    let version = if v2.is_none() && v1.is_some() { WireVersion::V1 } else { WireVersion::V2 };
    match obol_wire::decode(v1, v2) {
        Ok(Some(claim)) => Ok(claim),
        Ok(None) => Err((Reason::PaymentRequired.into(), version)),
        Err(refusal) => Err((refusal, version)),
    }
}

/// Some HTTP clients offer `h2c` with every request; it may be ignored.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().any(|protocol| protocol.as_bytes() != b"h2c")
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::new(Reason::ConflictingPayments, format!("{name} came more than once")));
    }
    Ok(first.map(|value| value.as_bytes()))
}
