//! The way of a paid request: verify, reserve, forward, settle, reply.
//!
//! Whoever holds the payment when the response is ready sends it; every other end gives the
//! payment back, or leaves it for the same payer to redeem.

mod ended;
mod fetch;
mod passage;
mod paying;
mod recall;

use crate::{
    answer, asked,
    body::{Delivery, GateBody, Leave},
    catalog::Listed,
    door::Door,
    gate::Shared,
    headers,
    trust::Outside,
};
use alloy_primitives::{Address, Bytes};
use ended::Ended;
use fetch::Asked;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use obol_core::{ChainId, Charge, Disconnect, Payment, Reason, Refusal, Requirement, WireVersion};
use obol_facilitator::{Terms, settlement_calls};
use obol_ledger::{
    Held, LedgerError, Origin, Outcome, Owing, PaymentId, PaymentRecord, Reservation, State, held,
};
use obol_wire::{Claim, Money, Receipt};
use paying::Paying;
use recall::Recall;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

/// Between the last step that a hold has to outlive and its end.
const SLACK: Duration = Duration::from_secs(15);

type Reply = oneshot::Sender<Response<GateBody>>;

/// Of a payment that is good and not on the chain, as far as is known.
const VERIFIED: Money = Money { verified: true, settled: false };

/// One paid request on its way.
pub(crate) struct Sale {
    shared: Arc<Shared>,
    door: Door,
    listed: Arc<Listed>,
    version: WireVersion,
    outside: Outside,
    url: String,
    origin: Origin,
    /// For the challenge of a refused payment.
    client_headers: HeaderMap,
}

/// What is paid for.
enum Goods {
    /// The upstream's response.
    Response(Response<Incoming>),
    /// A proxy's leave to forward.
    Passage,
}

/// Goods that may be handed over, and the hold under which they are.
struct Sold {
    goods: Goods,
    payer: Address,
    held: Held<held::Delivering>,
    receipt: Receipt,
}

impl Sale {
    pub(crate) fn new(
        shared: Arc<Shared>,
        door: Door,
        listed: Arc<Listed>,
        version: WireVersion,
        outside: Outside,
        request: &Request<Incoming>,
    ) -> Self {
        let origin = Origin {
            fingerprint: asked::fingerprint(&listed.offer.id, &outside, request),
            client: asked::client(&outside),
        };
        Self {
            shared,
            door,
            listed,
            version,
            url: asked::url(&outside, request),
            origin,
            client_headers: request.headers().clone(),
            outside,
        }
    }

    pub(crate) async fn run(
        self,
        claim: Claim,
        request: Request<Incoming>,
        mut reply: Reply,
        permit: OwnedSemaphorePermit,
    ) {
        let stated = claim.stated();
        let selected = claim.select(&self.listed.offer.accepts, &self.shared.registry);
        let tally = match (&selected, &stated) {
            (Ok((requirement, _)), _) => self.listed.tally_in(&requirement.asset),
            (Err(_), Some(stated)) => self.listed.tally_at(stated.chain, stated.asset),
            (Err(_), None) => self.listed.tally(),
        };
        tally.requested();
        match self.sell(selected, stated, request, &mut reply).await {
            Ok(sold) => self.deliver(sold, reply).await,
            Err(ended) => {
                ended.count(tally);
                // What is left is the client's own pace: it must not keep others from buying.
                drop(permit);
                if let Some(response) = self.answer(ended).await {
                    // A client that has left by now misses a refusal only.
                    drop(reply.send(response));
                }
            }
        }
    }

    async fn sell(
        &self,
        selected: Result<(&Requirement, Payment), Refusal>,
        stated: Option<Payment>,
        request: Request<Incoming>,
        reply: &mut Reply,
    ) -> Result<Sold, Ended> {
        let (reserved, payment) = match selected {
            Ok((requirement, payment)) => (self.reserve(requirement, &payment).await, payment),
            // Paid at terms that the offer had then, perhaps, and not delivered yet.
            Err(refusal) => match stated {
                Some(payment) => (self.recall(&payment, refusal).await, payment),
                None => return Err(Ended::Refused(refusal, request)),
            },
        };
        match reserved {
            Ok(Reservation::Granted(held)) => self.sell_reserved(held, &payment, request, reply).await,
            Ok(Reservation::Entitled(held, paid)) => {
                self.sell_paid(held, &paid, &payment, request, reply).await
            }
            Ok(Reservation::Refused(refusal)) | Err(refusal) => Err(Ended::Refused(refusal, request)),
        }
    }

    async fn reserve(&self, requirement: &Requirement, payment: &Payment) -> Result<Reservation, Refusal> {
        let header_timeout = self.listed.offer.upstream.header_timeout;
        let terms = Terms { requirement, header_timeout };
        let begun = Instant::now();
        let verified = self.shared.facilitator.verify(payment, terms).await;
        self.shared.meters.verify_took(payment.chain, begun.elapsed());
        let verified = match verified {
            Ok(verified) => verified,
            Err(refusal) => return self.recall(payment, refusal).await,
        };
        let new = verified.new_payment(payment, self.listed.offer.id.clone(), self.origin);
        let question = new.question.clone();
        match self.shared.ledger.reserve(new, self.hold()).await.map_err(unrecorded)? {
            Reservation::Granted(held) => self.confirm(held, payment, question.as_ref()).await,
            other => Ok(other),
        }
    }

    /// Has a facilitator look at a payment that is this client's by now.
    async fn confirm(
        &self,
        held: Held<held::Reserved>,
        payment: &Payment,
        question: Option<&Bytes>,
    ) -> Result<Reservation, Refusal> {
        match self.shared.facilitator.confirm(payment, question).await {
            Ok(()) => Ok(Reservation::Granted(held)),
            Err(refusal) => {
                if let Err(lost) =
                    self.shared.ledger.release(held, refusal.to_string()).await.map_err(unrecorded)?
                {
                    tracing::warn!(%lost, offer = %self.listed.offer.id, "a release came too late");
                }
                Err(refusal)
            }
        }
    }

    /// A payment that cannot be verified may be one that was paid already.
    async fn recall(&self, payment: &Payment, refusal: Refusal) -> Result<Reservation, Refusal> {
        let ledger = &self.shared.ledger;
        let calls = || settlement_calls(payment);
        let recalled = match Recall::after(refusal.reason) {
            Recall::Payment => ledger.recall(payment.key(), calls(), self.origin, self.hold()).await,
            Recall::Payer => ledger.recall_payer(payment.key(), calls(), self.origin, self.hold()).await,
            Recall::Nothing => Ok(None),
        };
        recalled.map_err(unrecorded)?.ok_or(refusal)
    }

    fn hold(&self) -> Duration {
        self.listed.offer.upstream.header_timeout + self.shared.facilitator.timing().settle_budget + SLACK
    }

    async fn sell_reserved(
        &self,
        held: Held<held::Reserved>,
        payment: &Payment,
        request: Request<Incoming>,
        reply: &mut Reply,
    ) -> Result<Sold, Ended> {
        let ledger = &self.shared.ledger;
        if self.door != Door::Gate && self.shared.forward_auth.verify_only {
            return Err(self.waive(held, payment).await);
        }
        let ended = match self.fetch(payment, request, reply).await {
            Asked::Succeeded(goods) => return self.owe(held, payment, goods, reply).await,
            Asked::Refused(response) => {
                (format!("the upstream answered {}", response.status()), Ended::Upstream(response, VERIFIED))
            }
            Asked::Failed(refusal) => (refusal.to_string(), Ended::Failed(refusal, VERIFIED)),
            Asked::ClientLeft => ("the client left before the upstream answered".to_owned(), Ended::Left),
        };
        let (why, ended) = ended;
        if let Err(lost) = ledger.release(held, why).await.map_err(Ended::unrecorded(VERIFIED))? {
            tracing::warn!(%lost, offer = %self.listed.offer.id, "a release came too late");
        }
        Err(ended)
    }

    /// The upstream did its part: from here the money is owed.
    async fn owe(
        &self,
        held: Held<held::Reserved>,
        payment: &Payment,
        goods: Goods,
        reply: &mut Reply,
    ) -> Result<Sold, Ended> {
        let exposure = match (&goods, self.listed.offer.charge) {
            // Nothing is delivered to a client that has left.
            (Goods::Response(_), Charge::Optimistic(exposure)) if !reply.is_closed() => Some(exposure),
            // A proxy lets nothing pass before it is paid for: it cannot be told to stop.
            (Goods::Response(_) | Goods::Passage, Charge::Optimistic(_) | Charge::BeforeBody) => None,
        };
        let owing = self.shared.ledger.owe(held, exposure).await.map_err(Ended::unrecorded(VERIFIED))?;
        self.shared.facilitator.wake(payment.chain);
        match owing {
            Ok(Owing::SettleFirst(owed)) => self.settle(owed, payment.into(), goods, reply).await,
            Ok(Owing::Deliver(held)) => {
                let paying = Paying::from(payment);
                Ok(Sold { goods, payer: paying.payer, held, receipt: paying.pending(None, self.version) })
            }
            Err(lost) => {
                let detail = format!("the service took longer than the payment was held: {lost}");
                Err(Ended::Failed(Refusal::new(Reason::UpstreamTimeout, detail), money(lost.0)))
            }
        }
    }

    /// Waits for the money, then commits to send.
    async fn settle(
        &self,
        owed: Held<held::Owed>,
        paying: Paying,
        goods: Goods,
        reply: &mut Reply,
    ) -> Result<Sold, Ended> {
        let ledger = &self.shared.ledger;
        let until = Instant::now() + self.shared.facilitator.timing().settle_budget;
        let id = owed.id();
        let outcome = tokio::select! {
            outcome = self.outcome(id, paying.chain, until) => outcome,
            () = self.client_leaves(reply) => {
                return Err(self.let_go(owed, "the client left before the settlement", Ended::Left).await);
            }
            () = self.shared.closes() => ledger.outcome(id, Instant::now()).await,
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                let ended = Ended::unrecorded(VERIFIED)(error);
                return Err(self.let_go(owed, "the ledger failed during the request", ended).await);
            }
        };
        match outcome {
            // What is charged to a client that has left is still to be delivered to it.
            Outcome::Paid(_) | Outcome::Claimed(_) if reply.is_closed() => {
                Err(self.let_go(owed, "the client left before its first byte", Ended::Left).await)
            }
            Outcome::Paid(inclusion) => self.commit(owed, paying.settled(inclusion), paying, goods).await,
            Outcome::Claimed(transaction) => {
                self.commit(owed, paying.claimed(transaction), paying, goods).await
            }
            Outcome::Released(why) => {
                let reason = self.shared.facilitator.gave_back(paying.chain);
                Err(Ended::Failed(Refusal::new(reason, why.unwrap_or_default()), VERIFIED))
            }
            Outcome::Failed(why) => {
                Err(Ended::Failed(Refusal::new(Reason::SettlementFailed, why.unwrap_or_default()), VERIFIED))
            }
            Outcome::Open(_) => {
                let record = ledger
                    .let_go(owed, "the settlement outlasted the request")
                    .await
                    .map_err(Ended::unrecorded(VERIFIED))?;
                if record.state() == State::Released {
                    let detail = "the payment was not submitted in time";
                    return Err(Ended::Failed(Refusal::new(Reason::SettlerUnavailable, detail), VERIFIED));
                }
                let money = money(record.state());
                let transaction = ledger.newest_attempt(id).await.map_err(Ended::unrecorded(money))?;
                Err(Ended::Pending(paying.pending(transaction, self.version), money))
            }
        }
    }

    /// What became of a payment. What was only claimed, in a time without an endpoint, is to be seen
    /// where there is one.
    async fn outcome(&self, id: PaymentId, chain: ChainId, until: Instant) -> Result<Outcome, LedgerError> {
        let ledger = &self.shared.ledger;
        match ledger.outcome(id, until).await? {
            Outcome::Claimed(_) if self.shared.facilitator.sees(chain) => {
                if let Some(record) = ledger.payment(id).await? {
                    let check = self.shared.facilitator.check(&record);
                    let _in_time = tokio::time::timeout_at(until, check).await;
                }
                self.shared.facilitator.wake(chain);
                match ledger.outcome(id, until).await? {
                    Outcome::Claimed(_) => Ok(Outcome::Open(State::Claimed)),
                    outcome => Ok(outcome),
                }
            }
            outcome => Ok(outcome),
        }
    }

    async fn commit(
        &self,
        owed: Held<held::Owed>,
        receipt: Receipt,
        paying: Paying,
        goods: Goods,
    ) -> Result<Sold, Ended> {
        let settled = Money { verified: true, settled: true };
        match self.shared.ledger.start_delivery(owed).await.map_err(Ended::unrecorded(settled))? {
            Ok(held) => Ok(Sold { goods, payer: paying.payer, held, receipt }),
            Err(lost) => {
                tracing::warn!(%lost, offer = %self.listed.offer.id, "a payment was lost before its first byte");
                let transaction = receipt.transaction();
                Err(Ended::Pending(paying.pending(transaction, self.version), money(lost.0)))
            }
        }
    }

    /// Serves what was paid before, without a second settlement.
    async fn sell_paid(
        &self,
        owed: Held<held::Owed>,
        paid: &PaymentRecord,
        payment: &Payment,
        request: Request<Incoming>,
        reply: &mut Reply,
    ) -> Result<Sold, Ended> {
        self.shared.facilitator.wake(paid.key.chain);
        let (why, ended) = match self.fetch(payment, request, reply).await {
            Asked::Succeeded(goods) => return self.settle(owed, paid.into(), goods, reply).await,
            Asked::Refused(response) => (
                format!("the upstream answered {}", response.status()),
                Ended::Upstream(response, money(paid.state())),
            ),
            Asked::Failed(refusal) => (refusal.to_string(), Ended::Failed(refusal, money(paid.state()))),
            Asked::ClientLeft => ("the client left before the upstream answered".to_owned(), Ended::Left),
        };
        Err(self.let_go(owed, why, ended).await)
    }

    /// Ends the hold of a sale that ends so.
    async fn let_go(&self, owed: Held<held::Owed>, why: impl Into<String>, ended: Ended) -> Ended {
        match self.shared.ledger.let_go(owed, why).await {
            Ok(_) => ended,
            Err(error) => Ended::unrecorded(ended.money())(error),
        }
    }

    async fn waive(&self, held: Held<held::Reserved>, payment: &Payment) -> Ended {
        match self.shared.ledger.waive(held).await {
            Ok(Ok(())) => Ended::Waived(payment.authorization.from),
            // It ran out, or a stranger has settled it meanwhile; its payer may come for it.
            Ok(Err(lost)) => Ended::Failed(Refusal::new(Reason::InFlight, lost.to_string()), money(lost.0)),
            Err(error) => Ended::unrecorded(VERIFIED)(error),
        }
    }

    /// Ends when the client has left and that matters; never otherwise.
    async fn client_leaves(&self, reply: &mut Reply) {
        match self.listed.offer.on_disconnect {
            Disconnect::Release => reply.closed().await,
            Disconnect::Charge => std::future::pending().await,
        }
    }

    async fn deliver(&self, sold: Sold, reply: Reply) {
        let Sold { goods, payer, held, receipt } = sold;
        let (version, registry) = (self.version, &self.shared.registry);
        let ledger = self.shared.ledger.clone();
        obol_stop::reach("client.first-byte");
        let response = match goods {
            Goods::Response(response) => {
                let (mut head, body) = response.into_parts();
                head.headers = headers::from_upstream(head.headers);
                answer::give_receipt(&mut head.headers, &receipt, version, registry);
                Response::from_parts(head, GateBody::Upstream(Delivery::new(body, ledger, held)))
            }
            Goods::Passage => {
                let mut passage = self.passage(payer);
                answer::give_receipt(passage.headers_mut(), &receipt, version, registry);
                passage.map(|_| GateBody::Passage(Leave::new(ledger, held)))
            }
        };
        // Refused when the client has left meanwhile.
        if let Err(unsent) = reply.send(response) {
            unsent.into_body().take_back().await;
        }
    }
}

fn money(state: State) -> Money {
    Money { verified: true, settled: state.is_earned() }
}

fn unrecorded(error: LedgerError) -> Refusal {
    tracing::debug!(%error, "the ledger refused a reservation");
    Refusal::from(Reason::LedgerUnavailable)
}
