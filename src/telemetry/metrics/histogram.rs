//! Durations in buckets of fixed bounds.
//!
//! Called once for each request and try. An observation is two atomic additions: no float, no loop on a shared value.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds in nanoseconds, ascending; each belongs to its bucket.
pub(super) type Bounds<const N: usize> = [u64; N];

/// What was observed: a count for each of `N` bounds, and for what is beyond them.
pub(super) struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    beyond: AtomicU64,
    /// Nanoseconds. It may wrap after centuries of summed-up time, which reads as a counter's restart.
    sum: AtomicU64,
}

/// What several histograms of the same bounds come to.
#[derive(Debug, PartialEq)]
pub(super) struct Total<const N: usize> {
    /// Of each bound: how many were not beyond it.
    pub(super) cumulative: [u64; N],
    pub(super) count: u64,
    /// Seconds.
    pub(super) sum: f64,
}

/// Bounds of whole requests: OpenTelemetry's for HTTP servers, with 1 and 2.5 ms in front for near upstreams.
pub(super) const REQUEST: Bounds<16> = [
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
pub(super) const OVERHEAD: Bounds<8> =
    [50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000];

// === impl Histogram ===

impl<const N: usize> Histogram<N> {
    /// Counts a duration. The bounds are always the same for one histogram.
    pub(super) fn observe(&self, bounds: &Bounds<N>, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bounds.partition_point(|bound| *bound < nanos);
        self.buckets.get(bucket).unwrap_or(&self.beyond).fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; N],
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }
}

// === impl Total ===

impl<const N: usize> Total<N> {
    pub(super) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram<N>>) -> Self {
        let (mut buckets, mut beyond, mut nanos) = ([0; N], 0, 0_u64);
        for histogram in histograms {
            for (total, bucket) in buckets.iter_mut().zip(&histogram.buckets) {
                *total += bucket.load(Relaxed);
            }
            beyond += histogram.beyond.load(Relaxed);
            nanos = nanos.wrapping_add(histogram.sum.load(Relaxed));
        }
        let mut buckets = buckets.into_iter();
        let mut count = 0;
        let cumulative = array::from_fn(|_| {
            count += buckets.next().unwrap_or_default();
            count
        });
        Self { cumulative, count: count + beyond, sum: seconds(nanos) }
    }
}

pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_on_a_bound_belongs_to_it() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
            histogram.observe(&REQUEST, Duration::from_micros(micros));
        }
        histogram.observe(&REQUEST, Duration::MAX);
        let total = Total::of([&histogram].into_iter());
        assert_eq!(total.cumulative[..2], [2, 3]);
        assert_eq!(total.cumulative[14..], [3, 4]);
        assert_eq!(total.count, 6);
    }

    #[test]
    fn bounds_ascend_and_read_as_written() {
        assert!(REQUEST.is_sorted() && OVERHEAD.is_sorted());
        let bounds: Vec<_> = REQUEST.iter().map(|nanos| seconds(*nanos).to_string()).collect();
        assert_eq!(bounds[..4], ["0.001", "0.0025", "0.005", "0.01"]);
        assert_eq!(seconds(OVERHEAD[0]).to_string(), "0.00005");
    }

    #[test]
    fn several_are_added_up_and_the_sum_is_in_seconds() {
        let histograms: [Histogram<8>; 2] = Default::default();
        histograms[0].observe(&OVERHEAD, Duration::from_millis(1500));
        histograms[1].observe(&OVERHEAD, Duration::from_millis(250));
        histograms[1].observe(&OVERHEAD, Duration::from_micros(60));
        let total = Total::of(histograms.iter());
        assert_eq!(total, Total { cumulative: [0, 1, 1, 1, 1, 1, 1, 1], count: 3, sum: 1.75006 });
    }
}
