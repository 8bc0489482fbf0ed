//! Durations in buckets of fixed bounds.
//!
//! Called once for each request and try. An observation is two atomic additions: no float, no loop on a shared value.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus::proto;

/// A histogram with `N` bounded buckets.
pub(super) struct Histogram<const N: usize> {
    /// Upper bounds in nanoseconds, ascending; each belongs to its bucket.
    bounds: &'static [u64; N],
    buckets: [AtomicU64; N],
    beyond: AtomicU64,
    /// Nanoseconds. It may wrap after centuries of summed-up time, which reads as a counter's restart.
    sum: AtomicU64,
}

/// Bounds of whole requests: OpenTelemetry's for HTTP servers, with 1 and 2.5 ms in front for near upstreams.
pub(super) const REQUEST: [u64; 16] = [
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Bounds of our own part of a request, 50 µs to 10 ms.
pub(super) const OVERHEAD: [u64; 8] =
    [50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000];

// === impl Histogram ===

impl<const N: usize> Histogram<N> {
    pub(super) fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            buckets: [const { AtomicU64::new(0) }; N],
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < nanos);
        self.buckets.get(bucket).unwrap_or(&self.beyond).fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
    }

    pub(super) fn collect(&self) -> proto::Histogram {
        let mut count = 0;
        let buckets = self.bounds.iter().zip(&self.buckets).map(|(bound, bucket)| {
            count += bucket.load(Relaxed);
            let mut cumulative = proto::Bucket::default();
            cumulative.set_upper_bound(seconds(*bound));
            cumulative.set_cumulative_count(count);
            cumulative
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count + self.beyond.load(Relaxed));
        histogram.set_sample_sum(seconds(self.sum.load(Relaxed)));
        histogram
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_a_bound_belongs_to_it() {
        let histogram = Histogram::new(&REQUEST);
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        histogram.observe(Duration::MAX);
        let collected = histogram.collect();
        let cumulative: Vec<_> =
            collected.get_bucket().iter().map(|bucket| bucket.cumulative_count()).collect();
        assert_eq!(cumulative[..2], [2, 3]);
        assert_eq!(cumulative[14..], [3, 4]);
        assert_eq!(collected.get_sample_count(), 6);
    }

    #[test]
    fn bounds_ascend_and_read_as_written() {
        assert!(REQUEST.is_sorted() && OVERHEAD.is_sorted());
        let bounds: Vec<_> = REQUEST.iter().map(|nanos| seconds(*nanos).to_string()).collect();
        assert_eq!(bounds[..4], ["0.001", "0.0025", "0.005", "0.01"]);
        assert_eq!(seconds(OVERHEAD[0]).to_string(), "0.00005");
    }

    #[test]
    fn the_sum_is_in_seconds() {
        let histogram = Histogram::new(&OVERHEAD);
        histogram.observe(Duration::from_millis(1500));
        histogram.observe(Duration::from_millis(250));
        assert_eq!(histogram.collect().get_sample_sum(), 1.75);
    }
}
