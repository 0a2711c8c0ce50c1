use alloy_primitives::U256;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Counts events since the process started.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Adds up atomic units since the process started. For what happens once for each settlement: it
/// takes a lock.
#[derive(Debug, Default)]
pub struct Units(Mutex<U256>);

impl Units {
    /// Stands still at the largest sum, which no asset has.
    pub fn add(&self, units: U256) {
        let mut sum = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = sum.saturating_add(units);
    }

    pub fn get(&self) -> U256 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
