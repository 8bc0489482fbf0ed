//! The buckets of one rate limit: a table of fixed size, in sets of seven.
//!
//! [`RateLimit`](super::RateLimit) asks it for each request, through governor's GCRA. It never grows, and never forgets
//! a bucket that is not full again: forgetting one would hand its owner a fresh burst.
//!
//! A bucket is one number, its theoretical arrival time (TAT): full while that is not later than now. A caller whose key
//! is in its set reads two cache lines and writes its own number. A key that is new to its set takes the set's lock,
//! for a few stores; then it takes an empty bucket or the one that has been full for longest. When all seven are
//! in use, the set's overflow bucket is shared by all who found no place.

use std::{
    cell::Cell,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

use governor::{nanos::Nanos, state::StateStore};
use parking_lot::Mutex;

use super::Key;

/// The table; clones share it.
#[derive(Clone)]
pub(super) struct Buckets {
    pages: Arc<[Page]>,
    sets: usize,
    /// How many buckets the sets have too much.
    surplus: usize,
    stripes: Arc<[Stripe]>,
}

/// One question to the limiter, with the time it is asked at: governor asks its clock, which knows no callers.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Call {
    key: Key,
    /// Nanoseconds since the limiter was made.
    now: u64,
    /// Whether a yes is paid for.
    pay: bool,
    /// How far the bucket's TAT lies ahead of `now` after a yes.
    pub(super) owed: Cell<u64>,
}

/// Some sets, made when one of them is first asked: a limit that nobody meets takes next to nothing.
type Page = OnceLock<Box<[Set]>>;

/// What has happened to a share of the sets.
#[derive(Default)]
#[repr(align(64))]
struct Stripe {
    keys: AtomicU64,
    evictions: AtomicU64,
    crowded: AtomicU64,
}

/// Seven buckets, two cache lines: who owns them and the lock to change that; how full they are.
#[repr(C, align(64))]
struct Set {
    owners: [AtomicU64; WAYS],
    entry: Mutex<()>,
    tats: [AtomicU64; WAYS],
    /// The TAT that whoever is not in the set starts from: never earlier than that of any bucket that left it.
    overflow: AtomicU64,
}

/// A bucket of a set. Its TAT only ever grows, whoever owns it: a compare-and-swap of it that succeeds proves that it
/// has not changed hands since it was read.
#[derive(Clone, Copy)]
struct Bucket<'a> {
    owner: &'a AtomicU64,
    tat: &'a AtomicU64,
}

const WAYS: usize = 7;

/// So many sets are a page: 4 KiB.
const PAGE: usize = 32;

/// So many sets count together, lest all who enter write to one place.
const STRIPES: usize = 16;

/// No key, which [`Key`] never is.
const NOBODY: u64 = 0;

/// A bucket that is changing hands, or that does not exist.
const TAKEN: u64 = u64::MAX;

// === impl Buckets ===

impl Buckets {
    /// Exactly `capacity` buckets, at 18 bytes each once they are asked.
    pub(super) fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS);
        let surplus = sets * WAYS - capacity;
        Self {
            pages: (0..sets.div_ceil(PAGE)).map(|_| Page::new()).collect(),
            sets,
            surplus,
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
        }
    }

    /// How many buckets have an owner, full ones included.
    pub(super) fn keys(&self) -> u64 {
        self.sum(|stripe| &stripe.keys)
    }

    /// How many full buckets have been given to another key.
    pub(super) fn evictions(&self) -> u64 {
        self.sum(|stripe| &stripe.evictions)
    }

    /// How many requests an overflow bucket has decided, for want of a free one.
    pub(super) fn crowded(&self) -> u64 {
        self.sum(|stripe| &stripe.crowded)
    }

    fn sum(&self, count: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.stripes.iter().map(|stripe| count(stripe).load(Relaxed)).sum()
    }

    /// The set of a key, by its upper bits.
    fn place(&self, key: Key) -> Option<(&Set, &Stripe)> {
        let index = ((u128::from(key.0.get()) * self.sets as u128) >> 64) as usize;
        let page = self.pages.get(index / PAGE)?.get_or_init(|| self.page(index / PAGE));
        Some((page.get(index % PAGE)?, self.stripes.get(index % STRIPES)?))
    }

    /// What the last set would have too much is missing evenly from all.
    fn page(&self, page: usize) -> Box<[Set]> {
        let Self { sets, surplus, .. } = *self;
        (page * PAGE..sets.min((page + 1) * PAGE))
            .map(|set| Set::without(surplus * (set + 1) / sets - surplus * set / sets))
            .collect()
    }
}

impl StateStore for Buckets {
    type Key = Call;

    fn measure_and_replace<T, F, E>(&self, call: &Call, gcra: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Some((set, stripe)) = self.place(call.key) else {
            // No such set can be. Were there one, its bucket would be empty for ever.
            return gcra(Some(Nanos::new(u64::MAX))).map(|(verdict, _)| verdict);
        };
        match set.ask_own(call, &gcra) {
            Some(verdict) => verdict,
            None if call.pay => set.enter(call, &gcra, stripe),
            None => call.ask(set.overflow.load(Relaxed), &gcra).map(|(verdict, _)| verdict),
        }
    }
}

// === impl Call ===

impl Call {
    /// Asks, and pays if the answer is yes.
    pub(super) fn take(key: Key, now: u64) -> Self {
        Self { key, now, pay: true, owed: Cell::new(0) }
    }

    /// Asks only.
    pub(super) fn peek(key: Key, now: u64) -> Self {
        Self { pay: false, ..Self::take(key, now) }
    }

    /// What governor says of a bucket, and the bucket's next TAT if it is a yes.
    ///
    /// governor's clock stands at zero: it sees each TAT as the time from `now` until then.
    fn ask<T, E>(
        &self,
        tat: u64,
        gcra: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> Result<(T, u64), E> {
        let (verdict, owed) = gcra(Some(Nanos::new(tat.saturating_sub(self.now))))?;
        self.owed.set(owed.as_u64());
        Ok((verdict, self.now.saturating_add(owed.as_u64())))
    }
}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

// === impl Set ===

impl Set {
    /// A set of which some buckets do not exist.
    fn without(surplus: usize) -> Self {
        Self {
            owners: std::array::from_fn(|_| AtomicU64::new(NOBODY)),
            entry: Mutex::new(()),
            tats: std::array::from_fn(|way| AtomicU64::new(if way < surplus { TAKEN } else { 0 })),
            overflow: AtomicU64::new(0),
        }
    }

    fn buckets(&self) -> impl Iterator<Item = Bucket<'_>> {
        self.owners.iter().zip(&self.tats).map(|(owner, tat)| Bucket { owner, tat })
    }

    /// Asks the key's own bucket, if it has one that is not just changing hands.
    fn ask_own<T, E>(
        &self,
        call: &Call,
        gcra: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    ) -> Option<Result<T, E>> {
        let key = call.key.0.get();
        let bucket = self.buckets().find(|bucket| bucket.owner.load(Acquire) == key)?;
        loop {
            let tat = bucket.tat.load(Acquire);
            if tat == TAKEN || bucket.owner.load(Relaxed) != key {
                return None;
            }
            let (verdict, next) = match call.ask(tat, &gcra) {
                Ok(yes) => yes,
                Err(no) => return Some(Err(no)),
            };
            if !call.pay || bucket.tat.compare_exchange_weak(tat, next, AcqRel, Relaxed).is_ok() {
                return Some(Ok(verdict));
            }
        }
    }

    /// Asks for a key that has no bucket here, and gives it one, if one is free, when the answer is yes.
    #[cold]
    fn enter<T, E>(
        &self,
        call: &Call,
        gcra: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
        stripe: &Stripe,
    ) -> Result<T, E> {
        let _entry = self.entry.lock();
        // Another request of the same key may have been quicker.
        if let Some(verdict) = self.ask_own(call, &gcra) {
            return verdict;
        }
        let crowded = || {
            stripe.crowded.fetch_add(1, Relaxed);
        };
        let shared = call.ask(self.overflow.load(Relaxed), &gcra);
        let (verdict, next) = shared.inspect_err(|_| crowded())?;
        let Some((bucket, last)) = self.vacate(call.now) else {
            self.overflow.store(next, Relaxed);
            crowded();
            return Ok(verdict);
        };
        let former = bucket.owner.swap(call.key.0.get(), Release);
        bucket.tat.store(next, Release);
        if former == NOBODY {
            stripe.keys.fetch_add(1, Relaxed);
        } else {
            // Its owner may come back with an earlier clock, by which it was not quite full.
            self.overflow.fetch_max(last, Relaxed);
            stripe.evictions.fetch_add(1, Relaxed);
        }
        Ok(verdict)
    }

    /// Takes the bucket that has been full for longest, if one is, with its last TAT. The caller holds the lock.
    fn vacate(&self, now: u64) -> Option<(Bucket<'_>, u64)> {
        // A try is lost only to a request that has just used the bucket.
        (0..WAYS).find_map(|_| {
            let full = self.buckets().map(|bucket| (bucket, bucket.tat.load(Relaxed)));
            let (bucket, tat) = full.filter(|(_, tat)| *tat <= now).min_by_key(|(_, tat)| *tat)?;
            let taken = bucket.tat.compare_exchange(tat, TAKEN, AcqRel, Relaxed);
            taken.is_ok().then_some((bucket, tat))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request each 10 ns, no burst.
    fn gcra(owed: Option<Nanos>) -> Result<((), Nanos), ()> {
        let owed = owed.unwrap().as_u64();
        if owed > 0 { Err(()) } else { Ok(((), Nanos::new(10))) }
    }

    fn take(buckets: &Buckets, key: u64, now: u64) -> bool {
        buckets.measure_and_replace(&Call::take(key.into(), now), gcra).is_ok()
    }

    #[test]
    fn a_bucket_that_changed_hands_while_governor_thought_is_left_alone() {
        let buckets = Buckets::new(1);
        assert!(take(&buckets, 1, 0));
        let mut rival = Cell::new(true);
        let call = Call::take(1.into(), 10);
        let verdict = buckets.measure_and_replace(&call, |owed| {
            // The key's bucket is full again, so another may have it.
            assert!(!rival.take() || take(&buckets, 2, 10));
            gcra(owed)
        });
        assert_eq!((verdict, *rival.get_mut()), (Ok(()), false));
        assert_eq!(
            (buckets.evictions(), buckets.crowded()),
            (1, 1),
            "it went on to the overflow bucket"
        );
        assert!(!take(&buckets, 1, 10));
        assert!(!take(&buckets, 2, 10), "the rival has spent its own bucket, and only that");
        assert!(take(&buckets, 2, 20));
    }

    #[test]
    fn room_is_made_for_those_who_ask() {
        let buckets = Buckets::new(65_536);
        let made = || buckets.pages.iter().filter(|page| page.get().is_some()).count();
        assert_eq!((buckets.pages.len(), made()), (293, 0));
        assert!(take(&buckets, 1, 0) && !take(&buckets, 1, 0));
        assert_eq!(made(), 1);
    }

    #[test]
    fn two_cache_lines_hold_a_set() {
        assert_eq!(size_of::<Set>(), 128);
        assert_eq!(std::mem::offset_of!(Set, tats), 64);
    }
}
