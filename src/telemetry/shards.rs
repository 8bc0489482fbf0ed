//! Counts of which each thread has its own, so that no two threads write to the same place for each request.
//!
//! Called on the request path by whatever counts there; whoever reads adds the shards up. Never locks, and allocates only
//! when a thread counts for the first time.

use std::{
    cell::Cell,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// A `T` for each thread, made when the thread first asks. What nobody counts with costs no more than its empty places.
#[derive(Debug)]
pub(crate) struct Shards<T>([OnceLock<Shard<T>>; SHARDS]);

/// A thread's own, for as long as this is held: also the count of those who hold it is the thread's own.
#[derive(Debug, Default)]
pub(crate) struct Shard<T>(Arc<Apart<T>>);

/// In cache lines that nothing else is in.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Apart<T>(T);

/// More threads than this share them, which costs them time but no counts: adding stays atomic.
pub(crate) const SHARDS: usize = 16;

// Tells threads apart and nothing else: no gateway could keep it, since its threads are not its own to number.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
}

// === impl Shards ===

impl<T: Default> Shards<T> {
    /// The calling thread's own.
    pub(crate) fn own(&self) -> &Shard<T> {
        #[expect(clippy::indexing_slicing, reason = "the number is below that of the shards")]
        let shard = &self.0[own_shard()];
        shard.get_or_init(Shard::default)
    }

    /// All that were ever counted with.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).map(|shard| &**shard)
    }

    /// Adds up what `count` reads. What one thread counts up and another down comes out right, since it wraps.
    pub(crate) fn sum(&self, count: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(count).fold(0, u64::wrapping_add)
    }
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; SHARDS])
    }
}

// === impl Shard ===

impl<T> Clone for Shard<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Shard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

/// The number of the calling thread's shard. The first sixteen threads that ask share none.
pub(crate) fn own_shard() -> usize {
    SHARD.with(|shard| {
        shard.get().unwrap_or_else(|| {
            let number = THREADS.fetch_add(1, Relaxed) % SHARDS;
            shard.set(Some(number));
            number
        })
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Barrier, atomic::AtomicU64},
        thread,
    };

    use super::*;

    #[test]
    fn threads_count_apart_and_nothing_is_lost() {
        let (counts, barrier) = (Shards::<AtomicU64>::default(), Barrier::new(40));
        let count = || {
            barrier.wait();
            for _ in 0..1000 {
                counts.own().fetch_add(1, Relaxed);
            }
        };
        thread::scope(|scope| {
            (0..40).for_each(|_| drop(scope.spawn(count)));
        });
        assert_eq!(counts.iter().count(), SHARDS);
        assert_eq!(counts.sum(|count| count.load(Relaxed)), 40_000);
    }

    #[test]
    fn a_thread_stays_with_its_shard_which_has_its_cache_lines_to_itself() {
        let counts = Shards::<AtomicU64>::default();
        let own = || std::ptr::from_ref::<AtomicU64>(counts.own()).addr();
        assert_eq!((own(), own() % 64), (own(), 0));
        assert_eq!(counts.iter().count(), 1);
        assert_eq!(size_of::<Apart<AtomicU64>>(), 64);
    }

    #[test]
    fn what_one_thread_counts_up_and_another_down_comes_out_right() {
        let counts = Shards::<AtomicU64>::default();
        counts.own().fetch_add(2, Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| counts.own().fetch_sub(1, Relaxed));
        });
        assert_eq!(counts.sum(|count| count.load(Relaxed)), 1);
    }
}
