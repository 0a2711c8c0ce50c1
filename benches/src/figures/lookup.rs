//! From a request's path to its offer.

use crate::{
    figure::{Figure, Wanted},
    measure::Turns,
    stage,
};
use alloy_primitives::keccak256;
use anyhow::{Context, Result};
use obol_core::{Charge, Offer, RequestPath, Routes};
use std::{hint::black_box, sync::Arc, time::Instant};

const MANY: usize = 10_000;
const FEW: usize = 10;
const LOOKUPS: usize = 100_000;
/// Lookups in a turn: so few that most turns are not interrupted.
const TURN: usize = 500;

/// Routes, and requests for all of them in an order that no cache can foresee.
struct Listing {
    routes: Routes<Arc<Offer>>,
    paths: Vec<String>,
}

impl Listing {
    fn of(offers: usize) -> Result<Self> {
        let path = |number: usize| format!("/services/offer-{number}");
        let all: Result<Vec<_>> = (0..offers)
            .map(|number| {
                let offer = stage::offer(
                    &format!("offer-{number}"),
                    &path(number),
                    "http://127.0.0.1:1",
                    Charge::BeforeBody,
                )?;
                Ok(Arc::new(offer))
            })
            .collect();
        let (routes, conflicts) = Routes::compile(all?);
        anyhow::ensure!(conflicts.is_empty(), "the bench's offers collide");
        let asked = |lookup: usize| {
            let random = keccak256(lookup.to_be_bytes());
            let random = u64::from_be_bytes(*random.first_chunk::<8>().context("32 bytes")?);
            Ok(format!("{}/v1/item", path(usize::try_from(random % offers as u64)?)))
        };
        Ok(Self { routes, paths: (0..LOOKUPS).map(asked).collect::<Result<_>>()? })
    }

    /// Nanoseconds for one of these lookups.
    fn turn(&self, paths: &[String]) -> Result<f64> {
        let begun = Instant::now();
        for path in paths {
            let path = RequestPath::parse(black_box(path))?;
            black_box(self.routes.find(Some("bench.example"), &path).context("no route")?);
        }
        Ok(begun.elapsed().as_secs_f64() * 1e9 / paths.len() as f64)
    }
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let (many, few) = (Listing::of(MANY)?, Listing::of(FEW)?);
    let mut turns = Turns::default();
    for (asked_many, asked_few) in many.paths.chunks(TURN).zip(few.paths.chunks(TURN)) {
        turns.add(many.turn(asked_many)?, few.turn(asked_few)?);
    }
    let (ours, reference) = turns.medians();
    Ok(vec![Figure {
        bench: "match",
        unit: "ns per lookup with 10,000 offers, at random",
        ours,
        reference,
        reference_name: "the same with 10 offers".to_owned(),
        wanted: Wanted::RatioAtMost(1.5),
    }])
}
