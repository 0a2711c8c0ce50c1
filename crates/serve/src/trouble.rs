//! Saying once that something fails, however many requests meet it and however often it works in
//! between.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long something has to work before it is said to: what fails now and then would otherwise be
/// said twice each time.
const CALM: Duration = Duration::from_secs(60);

/// Whether something fails at the moment.
#[derive(Debug, Default)]
pub struct Trouble {
    failing: AtomicBool,
    /// When it last failed.
    last: Mutex<Option<Instant>>,
}

impl Trouble {
    /// Says it when it worked before.
    pub fn fails(&self, say: impl FnOnce()) {
        self.fails_at(Instant::now(), say);
    }

    /// Says it when it failed before, and not for a while.
    pub fn works(&self, say: impl FnOnce()) {
        // The common case takes no lock, and reads no clock.
        if self.failing.load(Ordering::Relaxed) {
            self.works_at(Instant::now(), say);
        }
    }

    fn fails_at(&self, now: Instant, say: impl FnOnce()) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        if !self.failing.swap(true, Ordering::Relaxed) {
            say();
        }
    }

    fn works_at(&self, now: Instant, say: impl FnOnce()) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let calm = last.is_none_or(|last| now.saturating_duration_since(last) >= CALM);
        if calm && self.failing.swap(false, Ordering::Relaxed) {
            say();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_now_and_then_is_said_once_and_its_end_when_it_has_lasted() {
        let (trouble, mut said) = (Trouble::default(), Vec::new());
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        trouble.works(|| said.push("works"));
        for second in 0..100 {
            trouble.fails_at(at(2 * second), || said.push("fails"));
            trouble.works_at(at(2 * second + 1), || said.push("works"));
        }
        assert_eq!(said, ["fails"]);
        trouble.works_at(at(257), || said.push("works"));
        assert_eq!(said, ["fails"]);
        trouble.works_at(at(258), || said.push("works"));
        trouble.works_at(at(259), || said.push("works"));
        trouble.fails_at(at(260), || said.push("fails"));
        assert_eq!(said, ["fails", "works", "fails"]);
    }
}
