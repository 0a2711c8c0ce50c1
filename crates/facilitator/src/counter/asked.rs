//! How often each payment was found good for somebody who meant to serve for it.
//!
//! A seller asks once for each request that it would serve. When it has asked twice about a payment,
//! a second question to settle it may be the second request's, and not the first one's again: then
//! success is not told again, or both would be served.

use obol_core::PaymentKey;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Payments of one generation. The last two are kept in mind: what anybody can fill has a bound.
const GENERATION: usize = 50_000;

/// How often, by payment and caller.
type Times = HashMap<(PaymentKey, Box<str>), u32>;

#[derive(Debug, Default)]
struct Generations {
    young: Times,
    old: Times,
}

#[derive(Debug, Default)]
pub(super) struct AskedFor(Mutex<Generations>);

impl AskedFor {
    pub(super) fn note(&self, key: PaymentKey, caller: &str) {
        let mut known = self.lock();
        if known.young.len() >= GENERATION {
            known.old = std::mem::take(&mut known.young);
        }
        let id = (key, caller.into());
        let before = known.old.remove(&id).unwrap_or(0);
        let times = known.young.entry(id).or_insert(before);
        *times = times.saturating_add(1);
    }

    /// Whether more than one request may be served for it.
    pub(super) fn is_ambiguous(&self, key: PaymentKey, caller: &str) -> bool {
        let known = self.lock();
        let id = (key, caller.into());
        known.young.get(&id).or_else(|| known.old.get(&id)).is_some_and(|times| *times > 1)
    }

    /// One request is not served for it. Others that were asked for may still be.
    pub(super) fn withdraw(&self, key: PaymentKey, caller: &str) {
        let mut known = self.lock();
        let id = (key, caller.into());
        let Generations { young, old } = &mut *known;
        if let Some(times) = young.get_mut(&id).or_else(|| old.get_mut(&id)) {
            *times = times.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        // A generation that is lost by half is as if it were older.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256, U256};
    use obol_core::{ChainId, TransferMethod};

    fn key(nonce: u64) -> PaymentKey {
        PaymentKey {
            chain: ChainId::new(84532),
            asset: Address::ZERO,
            method: TransferMethod::Eip3009,
            payer: Address::ZERO,
            nonce: B256::from(U256::from(nonce)),
        }
    }

    #[test]
    fn the_second_question_of_a_caller_about_a_payment_makes_it_ambiguous() {
        let asked = AskedFor::default();
        assert!(!asked.is_ambiguous(key(1), "a"));
        for (nonce, caller) in [(1, "a"), (2, "a"), (1, "b")] {
            asked.note(key(nonce), caller);
        }
        assert!(!asked.is_ambiguous(key(1), "a"));
        asked.note(key(1), "a");
        let all =
            [(1, "a"), (2, "a"), (1, "b")].map(|(nonce, caller)| asked.is_ambiguous(key(nonce), caller));
        assert_eq!(all, [true, false, false]);
        asked.withdraw(key(1), "a");
        assert!(!asked.is_ambiguous(key(1), "a"));
    }

    #[test]
    fn a_request_that_is_refused_takes_no_other_ones_question_with_it() {
        let asked = AskedFor::default();
        (0..3).for_each(|_| asked.note(key(1), "a"));
        asked.withdraw(key(1), "a");
        assert!(asked.is_ambiguous(key(1), "a"));
        (0..3).for_each(|_| asked.withdraw(key(1), "a"));
        asked.note(key(1), "a");
        assert!(!asked.is_ambiguous(key(1), "a"));
    }

    #[test]
    fn two_generations_are_kept_and_no_more() {
        let asked = AskedFor::default();
        let twice = |nonce| (0..2).for_each(|_| asked.note(key(nonce), "a"));
        twice(0);
        let generation = GENERATION as u64;
        for nonce in 1..=generation {
            asked.note(key(nonce), "a");
        }
        assert!(asked.is_ambiguous(key(0), "a"));
        for nonce in generation + 1..=2 * generation {
            asked.note(key(nonce), "a");
        }
        assert!(!asked.is_ambiguous(key(0), "a"));
        let known = asked.lock();
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
    }
}
