//! A leader whose endpoint fails gives its lease back, so that another process on the ledger may settle
//! that sees. It takes no payments until it is known that somebody can.

use std::time::{Duration, Instant};

/// How long a process keeps the lead whose endpoint fails.
pub(super) const BLIND: Duration = Duration::from_secs(5);

/// Who leads for so long is not blind: it would have given the lead away, unless its endpoint answers and
/// takes no transactions.
const TRUSTED: Duration = BLIND.saturating_mul(2);

/// How long the lead is left to others at least.
const PAUSE: Duration = Duration::from_secs(2);

/// What is left to others, since the last tick as leader that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yielding {
    /// It is not taken back before.
    until: Instant,
    /// The lease of another, and when it was first seen.
    other: Option<(i64, Instant)>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Wait,
    /// Nobody has taken the lead.
    TryAgain,
    /// Another leads, and sees.
    Follow,
}

impl Yielding {
    /// The lead is given away now: not for so briefly that who looks for it as often as `idle` would not find
    /// it, and not for so long that payments expire when nobody wants it.
    pub(super) fn new(idle: Duration, now: Instant) -> Self {
        Self { until: now + PAUSE.max(idle * 3), other: None }
    }

    /// `epoch` is of the lease that is in force.
    pub(super) fn turn(&mut self, epoch: Option<i64>, now: Instant) -> Turn {
        let Some(epoch) = epoch else {
            self.other = None;
            return if now < self.until { Turn::Wait } else { Turn::TryAgain };
        };
        let (known, since) = *self.other.get_or_insert((epoch, now));
        if known != epoch {
            self.other = Some((epoch, now));
            return Turn::Wait;
        }
        if now.duration_since(since) < TRUSTED { Turn::Wait } else { Turn::Follow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_millis(250);
    #[test]
    fn it_is_taken_back_when_nobody_has_it_and_the_pause_is_over() {
        let now = Instant::now();
        let mut yielding = Yielding::new(IDLE, now);
        assert_eq!(yielding.turn(None, now), Turn::Wait);
        assert_eq!(yielding.turn(None, now + PAUSE), Turn::TryAgain);
        // Where others look for it more seldom.
        let mut yielding = Yielding::new(PAUSE, now);
        assert_eq!(yielding.turn(None, now + PAUSE * 2), Turn::Wait);
        assert_eq!(yielding.turn(None, now + PAUSE * 3), Turn::TryAgain);
    }

    #[test]
    fn another_is_followed_when_it_has_led_for_longer_than_who_is_blind_would() {
        let now = Instant::now();
        let mut yielding = Yielding::new(IDLE, now);
        assert_eq!(yielding.turn(Some(7), now), Turn::Wait);
        assert_eq!(yielding.turn(Some(7), now + BLIND), Turn::Wait);
        // It gave the lead away, and a third one has it.
        assert_eq!(yielding.turn(Some(9), now + BLIND * 2), Turn::Wait);
        assert_eq!(yielding.turn(Some(9), now + BLIND * 3), Turn::Wait);
        assert_eq!(yielding.turn(Some(9), now + BLIND * 4), Turn::Follow);
    }
}
