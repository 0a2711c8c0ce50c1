//! What a caller may ask for, and how often.

use crate::Caller;
use alloy_primitives::Address;
use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};
use obol_core::{Reason, Refusal, Requirement};
use std::{collections::HashSet, net::IpAddr, num::NonZeroU32, time::Duration};

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

/// What may be settled here, beside that the asset has to be known.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// The only accounts that may be paid; any if not given.
    pub payees: Option<HashSet<Address>>,
}

impl Allowed {
    pub(crate) fn check(&self, requirement: &Requirement) -> Result<(), Refusal> {
        match &self.payees {
            Some(payees) if !payees.contains(&requirement.pay_to) => {
                let detail = format!("{} is no payee that this facilitator settles for", requirement.pay_to);
                Err(Refusal::new(Reason::RecipientMismatch, detail))
            }
            Some(_) | None => Ok(()),
        }
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
