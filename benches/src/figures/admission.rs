//! From a payment's header to its durable row and event, by the processor's time.

use crate::{
    figure::{Figure, Wanted},
    measure::{Turns, cpu_time, rate},
    peer::Peer,
    stage::{self, Payer},
};
use alloy_primitives::B256;
use anyhow::{Context, Result, bail};
use obol_core::{Charge, Offer, Payment, Registry};
use obol_evm::typed;
use obol_facilitator::{Facilitator, Terms, Timing};
use obol_ledger::{Clock, Ledger, Place, Reservation};
use secp256k1::{
    Message,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::task::JoinSet;

const ROUNDS: usize = 7;
const PAYMENTS: usize = 3_000;
/// Requests at once: what shares reads of the chain and commits.
const TASKS: usize = 256;
/// Payments of one payer, over all rounds.
const PER_PAYER: usize = 4;

/// What the gate has at hand when a request comes.
struct Gate {
    registry: Registry,
    offer: Offer,
    facilitator: Facilitator,
    ledger: Ledger,
}

impl Gate {
    async fn admit(&self, header: &[u8]) -> Result<()> {
        let claim = obol_wire::decode(None, Some(header))?.context("a header is a payment")?;
        let (requirement, payment) = claim.select(&self.offer.accepts, &self.registry)?;
        let terms = Terms { requirement, header_timeout: self.offer.upstream.header_timeout };
        let verified = self.facilitator.verify(&payment, terms).await?;
        let new =
            verified.new_payment(&payment, self.offer.id.clone(), stage::origin(payment.authorization.nonce));
        match self.ledger.reserve(new, stage::HOLD).await? {
            Reservation::Granted(_) => Ok(()),
            other => bail!("not granted: {other:?}"),
        }
    }

    /// Admits all, some at once; tells how many for each second of this process's CPU time.
    async fn admit_all(self: &Arc<Self>, headers: Vec<String>) -> Result<f64> {
        let headers: Arc<[String]> = headers.into();
        let next = Arc::new(AtomicUsize::new(0));
        let begun = cpu_time();
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (gate, headers, next) = (Arc::clone(self), Arc::clone(&headers), Arc::clone(&next));
            tasks.spawn(async move {
                while let Some(header) = headers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    gate.admit(header.as_bytes()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(rate(headers.len(), cpu_time() - begun))
    }
}

/// Signatures with what they sign.
pub(super) struct Signed {
    digest: B256,
    compact: [u8; 64],
    id: RecoveryId,
}

impl Signed {
    pub(super) fn of(payment: &Payment) -> Result<Self> {
        let (rs, v) = payment.signature.split_at_checked(64).context("65 bytes")?;
        Ok(Self {
            digest: typed::digest(&stage::requirement()?.asset, &payment.authorization),
            compact: rs.try_into()?,
            id: if v == [27] { RecoveryId::Zero } else { RecoveryId::One },
        })
    }
}

pub(super) fn recover_all(signed: &[Signed]) -> Result<f64> {
    let begun = cpu_time();
    for Signed { digest, compact, id } in signed {
        let signature = RecoverableSignature::from_compact(black_box(compact), *id)?;
        black_box(signature.recover(Message::from_digest(digest.0))?);
    }
    Ok(rate(signed.len(), cpu_time() - begun))
}

/// A round's payments: their headers, and their bare signatures.
fn sign(payer: &Payer, round: usize) -> Result<(Vec<String>, Vec<Signed>)> {
    let mut headers = Vec::with_capacity(PAYMENTS);
    let mut signed = Vec::with_capacity(PAYMENTS);
    for number in round * PAYMENTS..(round + 1) * PAYMENTS {
        let key = stage::key("admission", number / PER_PAYER)?;
        let payment = payer.pay(&key, "admission", number);
        headers.push(payer.header(&payment));
        signed.push(Signed::of(&payment)?);
    }
    Ok((headers, signed))
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let chain = Peer::start(["chain"])?;
    let folder = stage::folder()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let turns = runtime.block_on(async {
        let ledger = Ledger::open(&Place::File(&folder.path().join("ledger.db")), Clock::System, "bench")?;
        let setup = stage::chain_setup(&chain.url(), stage::key("settler", 0)?)?;
        let gate = Arc::new(Gate {
            registry: Registry::built_in(),
            offer: stage::offer("bench", stage::OFFER_PATH, "http://127.0.0.1:1", Charge::BeforeBody)?,
            facilitator: Facilitator::start(&ledger, vec![setup], Vec::new(), Timing::default()),
            ledger,
        });
        let payer = Payer::new()?;
        let mut turns = Turns::default();
        for round in 0..=ROUNDS {
            let (headers, signed) = sign(&payer, round)?;
            let (ours, reference) = (gate.admit_all(headers).await?, recover_all(&signed)?);
            // The first round warms up.
            if round > 0 {
                turns.add(ours, reference);
            }
        }
        anyhow::Ok(turns)
    })?;
    let (ours, reference) = turns.medians();
    Ok(vec![Figure {
        bench: "admission",
        unit: "admissions per second of CPU, header to durable row",
        ours,
        reference,
        reference_name: "bare secp256k1 recovery per second of CPU".to_owned(),
        wanted: Wanted::RatioAtLeast(0.5),
    }])
}
