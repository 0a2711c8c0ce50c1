//! Saying once that something fails, however many requests meet it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether something fails at the moment.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    failing: AtomicBool,
}

impl Trouble {
    /// Says it when it worked before.
    pub(crate) fn fails(&self, say: impl FnOnce()) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            say();
        }
    }

    /// Says it when it failed before.
    pub(crate) fn works(&self, say: impl FnOnce()) {
        // The common case writes nothing that other cores read.
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            say();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_said_once() {
        let (trouble, mut said) = (Trouble::default(), Vec::new());
        trouble.works(|| said.push("works"));
        trouble.fails(|| said.push("fails"));
        trouble.fails(|| said.push("fails"));
        trouble.works(|| said.push("works"));
        trouble.works(|| said.push("works"));
        trouble.fails(|| said.push("fails"));
        assert_eq!(said, ["fails", "works", "fails"]);
    }
}
