//! Counts that requests add to: by an enum's variants, and by method and status code.
//!
//! Called once or twice for each request. Adding never locks, and allocates only when a status is new.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use http::Method;

/// One count for each variant of an enum.
pub(super) struct Counts<const N: usize>([AtomicU64; N]);

/// Counts by method and status code.
///
/// Almost all requests share a few pairs of them, so a short list that is looked through beats a table of thousands.
/// It only grows, and holds at most one entry for each known method and code.
#[derive(Default)]
pub(super) struct StatusCounts {
    keys: [AtomicU32; BLOCK],
    counts: [AtomicU64; BLOCK],
    next: OnceLock<Box<Self>>,
}

/// The keys of a block fill one cache line.
const BLOCK: usize = 16;

/// What stands for a method or a code that is not a known one.
const OTHER: &str = "_OTHER";

/// The methods that get a label of their own (RFC 9110, RFC 5789).
const METHODS: [&str; 10] =
    [OTHER, "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

// === impl Counts ===

impl<const N: usize> Counts<N> {
    pub(super) fn add(&self, index: usize) {
        if let Some(count) = self.0.get(index) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|count| count.load(Relaxed) == 0)
    }

    pub(super) fn load(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |count| count.load(Relaxed))
    }
}

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

// === impl StatusCounts ===

impl StatusCounts {
    pub(super) fn add(&self, method: &Method, code: u16) {
        let key = key(method, code);
        let mut block = self;
        loop {
            if let Some(count) = block.find(key) {
                count.fetch_add(1, Relaxed);
                return;
            }
            block = block.next.get_or_init(Box::default);
        }
    }

    /// Calls `each` with the labels of every pair that any of them has counted so far, and how often they all did.
    pub(super) fn for_each<'a>(
        all: impl Iterator<Item = &'a Self>,
        mut each: impl FnMut((&str, &str), u64),
    ) {
        let mut totals = BTreeMap::new();
        for Self { keys, counts, .. } in all.flat_map(Self::blocks) {
            for (key, count) in keys.iter().zip(counts) {
                *totals.entry(key.load(Relaxed)).or_insert(0) += count.load(Relaxed);
            }
        }
        // A key is claimed a moment before its first count.
        for (key, count) in totals.into_iter().filter(|(_, count)| *count > 0) {
            let (method, code) = labels(key);
            each((method, &code), count);
        }
    }

    fn blocks(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |block| block.next.get().map(|next| &**next))
    }

    /// The count of `key`, whose place is claimed if it is new; `None` when this block is full of others.
    fn find(&self, key: u32) -> Option<&AtomicU64> {
        self.keys.iter().zip(&self.counts).find_map(|(slot, count)| {
            let held = match slot.load(Relaxed) {
                0 => slot
                    .compare_exchange(0, key, Relaxed, Relaxed)
                    .map_or_else(|held| held, |_| key),
                held => held,
            };
            (held == key).then_some(count)
        })
    }
}

/// Never 0, which marks a free place.
fn key(method: &Method, code: u16) -> u32 {
    let method = match *method {
        Method::CONNECT => 1,
        Method::DELETE => 2,
        Method::GET => 3,
        Method::HEAD => 4,
        Method::OPTIONS => 5,
        Method::PATCH => 6,
        Method::POST => 7,
        Method::PUT => 8,
        Method::TRACE => 9,
        _ => 0,
    };
    let code = if (100..600).contains(&code) { code } else { 0 };
    (method << 16 | u32::from(code)) + 1
}

fn labels(key: u32) -> (&'static str, String) {
    let key = key.saturating_sub(1);
    let method = METHODS.get((key >> 16) as usize).copied().unwrap_or(OTHER);
    let code = match key & 0xffff {
        0 => OTHER.into(),
        code => code.to_string(),
    };
    (method, code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(counts: &StatusCounts) -> BTreeMap<(String, String), u64> {
        let mut all = BTreeMap::new();
        StatusCounts::for_each([counts].into_iter(), |(method, code), count| {
            let before = all.insert((method.to_owned(), code.to_owned()), count);
            assert_eq!(before, None, "{method} {code} stands twice");
        });
        all
    }

    #[test]
    fn every_known_method_and_code_is_counted_apart() {
        let counts = StatusCounts::default();
        for method in &METHODS[1..] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            for code in 100..600 {
                counts.add(&method, code);
                counts.add(&method, code);
            }
        }
        let all = counted(&counts);
        assert_eq!(all.len(), 9 * 500);
        assert!(all.values().all(|count| *count == 2));
        assert_eq!(all[&("PATCH".into(), "207".into())], 2);
    }

    #[test]
    fn invented_methods_and_codes_share_one_count() {
        let counts = StatusCounts::default();
        for i in 0..1000_u16 {
            let method = Method::from_bytes(format!("X{i}").as_bytes()).unwrap();
            counts.add(&method, 600 + i);
            counts.add(&method, i % 100);
        }
        counts.add(&Method::GET, u16::MAX);
        let all = counted(&counts);
        assert_eq!(all.len(), 2);
        assert_eq!(all[&(OTHER.into(), OTHER.into())], 2000);
        assert_eq!(all[&("GET".into(), OTHER.into())], 1);
    }

    #[test]
    fn threads_that_meet_a_new_pair_together_lose_no_count() {
        let counts = StatusCounts::default();
        let count_all = || (100..600).for_each(|code| counts.add(&Method::GET, code));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(count_all);
            }
        });
        let all = counted(&counts);
        assert_eq!(all.len(), 500);
        assert!(all.values().all(|count| *count == 4));
    }
}
