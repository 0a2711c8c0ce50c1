use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds in milliseconds: from a local look-up to a settlement that outlasts its request.
const BOUNDS: [u64; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 15_000, 60_000];

/// How long something took, since the process started.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Each counts what is in it alone; the last one what is longer than every bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In microseconds.
    sum: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < took);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Upper bounds in milliseconds, none for the last, and how many were not longer.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        let mut so_far = 0;
        bounds.zip(&self.buckets).map(move |(bound, bucket)| {
            so_far += bucket.load(Ordering::Relaxed);
            (bound, so_far)
        })
    }

    /// In microseconds.
    pub(crate) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}
