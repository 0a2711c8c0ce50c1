//! How often a caller may ask.

use crate::Caller;
use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};
use std::{net::IpAddr, num::NonZeroU32, time::Duration};

/// Questions for each second, and as many at once, of one caller; unknown ones are counted by their
/// address.
#[derive(Debug)]
pub struct Rate {
    limiter: DefaultKeyedRateLimiter<Asker>,
    clock: DefaultClock,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    Known(Caller),
    Unknown(IpAddr),
}

/// Askers that are kept in mind; beyond that those are forgotten that have not asked for long.
const KEPT: usize = 10_000;

impl Rate {
    pub fn per_second(questions: NonZeroU32) -> Self {
        Self {
            limiter: DefaultKeyedRateLimiter::keyed(Quota::per_second(questions)),
            clock: DefaultClock::default(),
        }
    }

    /// How long to wait, when it was too often.
    pub(crate) fn check(&self, asker: &Asker) -> Result<(), Duration> {
        if self.limiter.len() > KEPT {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(asker).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_asker_has_a_rate_of_its_own() {
        let rate = Rate::per_second(NonZeroU32::new(2).expect("two"));
        let asker = |last| Asker::Unknown(IpAddr::from([127, 0, 0, last]));
        assert!(rate.check(&asker(1)).is_ok() && rate.check(&asker(1)).is_ok());
        let wait = rate.check(&asker(1)).expect_err("the third");
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500), "{wait:?}");
        assert!(rate.check(&asker(2)).is_ok());
    }
}
