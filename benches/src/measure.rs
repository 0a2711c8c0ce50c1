//! Turns, medians and processor time.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The median of an unsorted sample; zero of an empty one.
pub(crate) fn median(sample: &[f64]) -> f64 {
    quantile(sample, 0.5)
}

/// The nearest-rank quantile of an unsorted sample; zero of an empty one.
pub(crate) fn quantile(sample: &[f64], at: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (at * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Measurements of ours and of the reference, made in turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    ours: Vec<f64>,
    reference: Vec<f64>,
}

impl Turns {
    pub(crate) fn add(&mut self, ours: f64, reference: f64) {
        self.ours.push(ours);
        self.reference.push(reference);
    }

    /// The median of each.
    pub(crate) fn medians(&self) -> (f64, f64) {
        (median(&self.ours), median(&self.reference))
    }
}

/// Processor time that this process has used, by all its threads.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// So many a second.
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
