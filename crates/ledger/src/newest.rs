//! The newest of what may be taken back.

use std::collections::BTreeSet;

/// So many are known one by one: more are not taken back at once, but for a chain that is lost.
const KNOWN: usize = 128;

/// Block times of payments, of which the newest is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newest {
    /// Time and payment.
    known: BTreeSet<(i64, i64)>,
    /// The newest of those that are not known one by one.
    before: Option<i64>,
}

impl Newest {
    pub(crate) fn add(&mut self, payment: i64, at: i64) {
        self.known.insert((at, payment));
        if self.known.len() > KNOWN
            && let Some((at, _)) = self.known.pop_first()
        {
            self.before = self.before.max(Some(at));
        }
    }

    pub(crate) fn take_back(&mut self, payment: i64) {
        self.known.retain(|(_, known)| *known != payment);
    }

    pub(crate) fn get(&self) -> Option<i64> {
        self.known.last().map(|(at, _)| *at).max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_the_newest_no_more() {
        let mut newest = Newest::default();
        assert_eq!(newest.get(), None);
        newest.add(1, 10);
        newest.add(2, 30);
        newest.add(3, 20);
        assert_eq!(newest.get(), Some(30));
        newest.take_back(2);
        assert_eq!(newest.get(), Some(20));
        newest.add(2, 15);
        assert_eq!(newest.get(), Some(20));
        newest.take_back(3);
        newest.take_back(1);
        newest.take_back(2);
        assert_eq!(newest.get(), None);
    }

    #[test]
    fn of_many_a_few_are_kept_and_the_time_of_the_others() {
        let mut newest = Newest::default();
        for number in 0..1_000 {
            newest.add(number, number);
        }
        assert_eq!((newest.get(), newest.known.len()), (Some(999), KNOWN));
        for number in 0..1_000 {
            newest.take_back(number);
        }
        assert_eq!(newest.get(), Some(999 - KNOWN as i64));
        newest.add(7, 7);
        assert_eq!(newest.get(), Some(999 - KNOWN as i64), "what comes back is older");
    }
}
