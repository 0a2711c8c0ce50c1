//! What a facilitator has against payments, told now and then.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Between two lines of one reason.
const PAUSE: Duration = Duration::from_secs(60);

/// Reasons that are told apart: a facilitator may make up any number.
const MOST: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: HashMap<String, Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// How many have come since.
    since: u32,
}

impl Complaints {
    /// Counts one, and gives how many there are to tell of, if it is time.
    pub(super) fn count(&mut self, reason: &str) -> Option<u32> {
        let now = Instant::now();
        let known = self.told.contains_key(reason);
        let reason = if known || self.told.len() < MOST { reason } else { "other" };
        let Some(told) = self.told.get_mut(reason) else {
            self.told.insert(reason.to_owned(), Told { at: now, since: 0 });
            return Some(1);
        };
        told.since = told.since.saturating_add(1);
        if now.duration_since(told.at) < PAUSE {
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_at_once_and_then_not_for_a_minute() {
        let mut complaints = Complaints::default();
        assert_eq!(
            ["a", "b", "a", "a"].map(|reason| complaints.count(reason)),
            [Some(1), Some(1), None, None]
        );
        let told = complaints.told.get_mut("a").expect("known");
        told.at = told.at.checked_sub(PAUSE).expect("a minute ago");
        assert_eq!(complaints.count("a"), Some(3));
        assert_eq!(complaints.count("a"), None);
    }

    #[test]
    fn made_up_reasons_neither_fill_the_memory_nor_the_log() {
        let mut complaints = Complaints::default();
        let told = (0..1000).filter(|number| complaints.count(&number.to_string()).is_some()).count();
        assert_eq!((told, complaints.told.len()), (MOST + 1, MOST + 1));
    }
}
