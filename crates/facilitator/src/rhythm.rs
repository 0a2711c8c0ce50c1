//! When ledger and chain are compared: seldom, since all of the chain's history is read for it, by one
//! of the processes that ask the same endpoint, and soon where something is wrong.

use obol_ledger::{Comparison, Timestamp};
use std::time::Duration;

/// A seller that starts catches up with the chain first.
const FIRST: Duration = Duration::from_secs(60);

/// How soon it is looked again after a difference: people look at it by then.
const DIFFERS: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    pub(crate) every: Duration,
    /// When this process began.
    pub(crate) started: Timestamp,
}

impl Rhythm {
    /// How long a process waits after its start.
    pub(crate) fn first(self) -> Duration {
        self.every.min(FIRST)
    }

    /// How long it waits after so many failures: an endpoint that has enough of it is not asked each minute.
    pub(crate) fn after(self, failures: u32) -> Duration {
        FIRST.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(self.every)
    }

    /// How long the last comparison is good for yet; nothing when it is time for the next. `mine` is the
    /// time of the last one that this process has made.
    pub(crate) fn rest(self, last: &Comparison, mine: Option<Timestamp>, now: Timestamp) -> Duration {
        // Who starts compares: what a crash has left is seen soon.
        if mine.is_none() && last.at <= self.started {
            return Duration::ZERO;
        }
        let period = if last.found.payments > 0 { self.every.min(DIFFERS) } else { self.every };
        // Who made the last one makes the next, if it still runs; the others find its result.
        let period = if mine == Some(last.at) { period } else { period.saturating_add(period / 8) };
        // Of a clock that is ahead nothing can be told.
        let age = u64::try_from(now.0.saturating_sub(last.at.0)).map(Duration::from_millis);
        age.map_or(Duration::ZERO, |age| period.saturating_sub(age))
    }

    /// How long to sleep through such a rest: somebody else may find a difference meanwhile.
    pub(crate) fn sleep(self, rest: Duration) -> Duration {
        rest.min(DIFFERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use obol_ledger::Found;

    const HOUR: u64 = 3_600;
    const STARTED: i64 = 1_000_000;

    fn rhythm(every: u64) -> Rhythm {
        Rhythm { every: Duration::from_secs(every), started: Timestamp(STARTED * 1_000) }
    }

    fn rest(payments: u64, at: i64, mine: Option<i64>, now: i64) -> u64 {
        let time = |seconds: i64| Timestamp((STARTED + seconds) * 1_000);
        let last = Comparison { at: time(at), found: Found { payments, ..Found::default() } };
        rhythm(6 * HOUR).rest(&last, mine.map(time), time(now)).as_secs()
    }

    #[test]
    fn who_starts_compares_unless_another_has_since() {
        assert_eq!(rest(0, -10, None, 60), 0);
        assert_eq!(rest(0, 0, None, 60), 0);
        assert_eq!(rest(0, 30, None, 60), 6 * HOUR + 6 * HOUR / 8 - 30);
    }

    #[test]
    fn who_has_compared_is_the_first_to_do_it_again() {
        assert_eq!(rest(0, 100, Some(100), 160), 6 * HOUR - 60);
        assert_eq!(rest(0, 100, Some(100), 100 + 6 * 3_600), 0);
        assert_eq!(rest(0, 100, Some(90), 100 + 6 * 3_600), 6 * HOUR / 8);
        assert_eq!(rest(0, 100, Some(90), 100 + 6 * 3_600 + 6 * 3_600 / 8), 0);
    }

    #[test]
    fn after_a_difference_it_is_soon_looked_again() {
        assert_eq!(rest(1, 100, Some(100), 100), 600);
        assert_eq!(rest(1, 100, None, 100), 675);
        assert_eq!(rest(1, 100, Some(100), 700), 0);
    }

    #[test]
    fn a_comparison_of_the_future_is_good_for_nothing() {
        assert_eq!(rest(0, 100, Some(100), 99), 0);
    }

    #[test]
    fn pauses_grow_with_failures_up_to_the_period() {
        let minutes: Vec<_> =
            (1..=10).map(|failures| rhythm(6 * HOUR).after(failures).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360]);
        assert_eq!(rhythm(6 * HOUR).after(u32::MAX).as_secs(), 6 * HOUR);
        assert_eq!(rhythm(1).after(1).as_secs(), 1);
        assert_eq!((rhythm(6 * HOUR).first().as_secs(), rhythm(1).first().as_secs()), (60, 1));
    }

    #[test]
    fn nobody_sleeps_through_what_another_finds() {
        assert_eq!(rhythm(6 * HOUR).sleep(Duration::from_secs(6 * HOUR)).as_secs(), 600);
        assert_eq!(rhythm(6 * HOUR).sleep(Duration::from_secs(5)).as_secs(), 5);
    }
}
