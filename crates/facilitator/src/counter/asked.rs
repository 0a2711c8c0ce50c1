//! How often each payment was found good for somebody who meant to serve for it.
//!
//! A seller asks once for each request that it would serve. When it has asked twice about a payment,
//! a second question to settle it may be the second request's, and not the first one's again: then
//! success is not told again, or both would be served.

use obol_core::PaymentKey;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Payments that are kept in mind; beyond that those are forgotten that were asked about long ago.
const KEPT: usize = 50_000;

/// How long a seller may take between its questions.
const LONG: Duration = Duration::from_secs(15 * 60);

#[derive(Clone, Copy, Debug)]
struct Asked {
    times: u32,
    last: Instant,
}

#[derive(Debug, Default)]
pub(super) struct AskedFor(Mutex<HashMap<PaymentKey, Asked>>);

impl AskedFor {
    pub(super) fn note(&self, key: PaymentKey) {
        self.note_at(key, Instant::now());
    }

    fn note_at(&self, key: PaymentKey, now: Instant) {
        let mut known = self.lock();
        if known.len() >= KEPT {
            known.retain(|_, asked| now.saturating_duration_since(asked.last) < LONG);
        }
        let asked = known.entry(key).or_insert(Asked { times: 0, last: now });
        *asked = Asked { times: asked.times.saturating_add(1), last: now };
    }

    /// Whether more than one request may be served for it.
    pub(super) fn is_ambiguous(&self, key: &PaymentKey) -> bool {
        self.lock().get(key).is_some_and(|asked| asked.times > 1)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PaymentKey, Asked>> {
        // Each change is one entry's.
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
    fn the_second_question_about_a_payment_makes_it_ambiguous() {
        let asked = AskedFor::default();
        assert!(!asked.is_ambiguous(&key(1)));
        asked.note(key(1));
        asked.note(key(2));
        assert!(!asked.is_ambiguous(&key(1)));
        asked.note(key(1));
        assert!(asked.is_ambiguous(&key(1)) && !asked.is_ambiguous(&key(2)));
    }

    #[test]
    fn what_was_asked_long_ago_makes_room() {
        let (asked, now) = (AskedFor::default(), Instant::now());
        for nonce in 0..KEPT as u64 {
            asked.note_at(key(nonce), now);
        }
        asked.note_at(key(0), now + LONG);
        assert_eq!(asked.lock().len(), 1);
    }
}
