//! Tokens that were verified, so that the next request with the same one costs a hash and a comparison.
//!
//! A table of sets with eight places each. A hit takes no lock and writes nothing but the count of who holds the claims.
//! Only verified tokens come in, the whole token is compared, and the bytes kept are bounded whatever comes in.

use std::{
    array,
    hash::BuildHasher,
    mem::size_of,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use foldhash::quality::RandomState;

use super::Claims;

/// Places of a set. The tags of a set fill one cache line.
const WAYS: usize = 8;

/// Bytes for each place of the table. A common token with its claims takes two to three times as much.
const BYTES_A_PLACE: usize = 1024;

/// Places that one insertion looks at, at most, to make room.
const SWEEP: usize = 256;

pub(super) struct Cache {
    hasher: RandomState,
    sets: Box<[Set]>,
    /// The most bytes that entries take together.
    limit: usize,
    /// Bytes of the entries that are in, and of those about to be.
    used: AtomicUsize,
    /// Where the next sweep for room begins.
    hand: AtomicUsize,
}

/// The hash of a token, of one cache.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

#[repr(align(64))]
struct Set {
    /// Hashes of what was last put in each place: a hint that spares looking there, and nothing more.
    tags: [AtomicU64; WAYS],
    places: [ArcSwapOption<Entry>; WAYS],
}

struct Entry {
    token: Box<[u8]>,
    claims: Arc<Claims>,
    weight: usize,
    /// Asked for since the last sweep came by. What is in use outlives a flood of tokens that are used once.
    recent: AtomicBool,
}

// === impl Cache ===

impl Cache {
    /// A cache of at most `limit` bytes, its empty table not counted (a 64th of it).
    pub(super) fn new(limit: usize) -> Self {
        let sets = (limit / BYTES_A_PLACE / WAYS).next_power_of_two();
        Self {
            hasher: RandomState::default(),
            sets: (0..sets).map(|_| Set::default()).collect(),
            limit,
            used: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    pub(super) fn hash(&self, token: &[u8]) -> Hash {
        Hash(self.hasher.hash_one(token))
    }

    /// The claims of exactly this token.
    pub(super) fn find(&self, token: &[u8], hash: Hash) -> Option<Arc<Claims>> {
        self.set(hash)?.places_of(hash).find_map(|place| {
            let entry = place.load();
            let entry = entry.as_ref().filter(|entry| *entry.token == *token)?;
            // Written only when it changes, or every hit would pull the line away from the other cores.
            if !entry.recent.load(Relaxed) {
                entry.recent.store(true, Relaxed);
            }
            Some(Arc::clone(&entry.claims))
        })
    }

    /// Keeps a verified token, unless it is so large that it would displace many others.
    pub(super) fn insert(&self, token: &[u8], hash: Hash, claims: Arc<Claims>) {
        let weight = size_of::<Entry>() + token.len() + claims.weight();
        let Some(set) = self.set(hash) else { return };
        // Several requests may have verified the same new token at once.
        if weight > self.limit / 16 || self.find(token, hash).is_some() || !self.reserve(weight) {
            return;
        }
        let recent = AtomicBool::new(false);
        let entry = Arc::new(Entry { token: token.into(), claims, weight, recent });
        if let Some((tag, place)) = set.victim(hash) {
            self.release(place.swap(Some(entry)));
            tag.store(hash.0, Relaxed);
        }
    }

    /// Forgets a token.
    pub(super) fn remove(&self, token: &[u8], hash: Hash) {
        for place in self.set(hash).into_iter().flat_map(|set| set.places_of(hash)) {
            if place.load().as_ref().is_some_and(|entry| *entry.token == *token) {
                self.release(place.swap(None));
            }
        }
    }

    /// Forgets every token for which this says so.
    pub(super) fn remove_all(&self, mut ended: impl FnMut(&Claims) -> bool) {
        for place in self.sets.iter().flat_map(|set| &set.places) {
            if place.load().as_ref().is_some_and(|entry| ended(&entry.claims)) {
                self.release(place.swap(None));
            }
        }
    }

    fn set(&self, hash: Hash) -> Option<&Set> {
        self.sets.get(hash.0 as usize & (self.sets.len() - 1))
    }

    /// Takes bytes of the limit before they are used, so that inserts at the same time stay within it together.
    fn reserve(&self, weight: usize) -> bool {
        if self.used.fetch_add(weight, Relaxed) + weight <= self.limit || self.make_room() {
            return true;
        }
        self.used.fetch_sub(weight, Relaxed);
        false
    }

    /// Drops entries that nobody asked for since the hand last came by (the second chance, or CLOCK, algorithm).
    fn make_room(&self) -> bool {
        let places = self.sets.len() * WAYS;
        for _ in 0..SWEEP.min(2 * places) {
            let hand = self.hand.fetch_add(1, Relaxed) % places;
            let set = self.sets.get(hand / WAYS);
            let Some(place) = set.and_then(|set| set.places.get(hand % WAYS)) else { continue };
            if place.load().as_ref().is_some_and(|entry| !entry.recent.swap(false, Relaxed)) {
                self.release(place.swap(None));
                if self.used.load(Relaxed) <= self.limit {
                    return true;
                }
            }
        }
        false
    }

    fn release(&self, entry: Option<Arc<Entry>>) {
        if let Some(entry) = entry {
            self.used.fetch_sub(entry.weight, Relaxed);
        }
    }
}

// === impl Set ===

impl Default for Set {
    fn default() -> Self {
        Self {
            tags: array::from_fn(|_| AtomicU64::new(0)),
            places: array::from_fn(|_| ArcSwapOption::empty()),
        }
    }
}

impl Set {
    fn places_of(&self, hash: Hash) -> impl Iterator<Item = &ArcSwapOption<Entry>> {
        let tagged = self.tags.iter().zip(&self.places);
        tagged.filter(move |(tag, _)| tag.load(Relaxed) == hash.0).map(|(_, place)| place)
    }

    /// Where a new entry goes: an empty place, else one that was not asked for lately, else any.
    fn victim(&self, hash: Hash) -> Option<(&AtomicU64, &ArcSwapOption<Entry>)> {
        let any = (hash.0 >> 32) as usize % WAYS;
        let way = self
            .places
            .iter()
            .position(|place| place.load().is_none())
            .or_else(|| self.places.iter().position(Self::is_idle))
            .unwrap_or(any);
        self.tags.get(way).zip(self.places.get(way))
    }

    fn is_idle(place: &ArcSwapOption<Entry>) -> bool {
        place.load().as_ref().is_none_or(|entry| !entry.recent.swap(false, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn claims(end: u64) -> Arc<Claims> {
        Arc::new(Claims::parse(format!(r#"{{"exp":{end}}}"#).as_bytes()).unwrap())
    }

    fn insert(cache: &Cache, token: &str, end: u64) {
        cache.insert(token.as_bytes(), cache.hash(token.as_bytes()), claims(end));
    }

    fn find(cache: &Cache, token: &str) -> Option<u64> {
        let found = cache.find(token.as_bytes(), cache.hash(token.as_bytes()))?;
        Some(found.expires_at())
    }

    fn held(cache: &Cache) -> usize {
        let places = cache.sets.iter().flat_map(|set| &set.places);
        places.filter_map(|place| place.load().as_ref().map(|entry| entry.weight)).sum()
    }

    #[test]
    fn a_token_is_found_until_it_is_removed() {
        let cache = Cache::new(LIMIT);
        insert(&cache, "a.b.c", 7);
        assert_eq!(find(&cache, "a.b.c"), Some(7));
        assert_eq!(find(&cache, "a.b.d"), None);
        cache.remove(b"a.b.c", cache.hash(b"a.b.c"));
        assert_eq!(find(&cache, "a.b.c"), None);
        assert_eq!((held(&cache), cache.used.load(Relaxed)), (0, 0));
    }

    #[test]
    fn an_equal_hash_is_not_enough() {
        let cache = Cache::new(LIMIT);
        let hash = Hash(42);
        cache.insert(b"one", hash, claims(1));
        cache.insert(b"two", hash, claims(2));
        assert_eq!(cache.find(b"one", hash).unwrap().expires_at(), 1);
        assert_eq!(cache.find(b"two", hash).unwrap().expires_at(), 2);
        assert!(cache.find(b"three", hash).is_none());
    }

    #[test]
    fn a_token_inserted_twice_is_held_once() {
        let cache = Cache::new(LIMIT);
        insert(&cache, "a", 1);
        let once = held(&cache);
        insert(&cache, "a", 1);
        assert_eq!(held(&cache), once);
    }

    #[test]
    fn a_flood_stays_within_the_limit_and_spares_what_is_in_use() {
        let cache = Cache::new(LIMIT);
        insert(&cache, "busy", 1);
        let mut misses = 0;
        for number in 0..10_000 {
            insert(&cache, &format!("{number}{}", "x".repeat(number % 3_000)), 1);
            if find(&cache, "busy").is_none() {
                misses += 1;
                insert(&cache, "busy", 1);
            }
            assert!(held(&cache) <= LIMIT, "{number}");
        }
        assert_eq!(held(&cache), cache.used.load(Relaxed));
        assert!(held(&cache) > LIMIT / 2, "{}", held(&cache));
        assert!(misses < 20, "{misses}");
    }

    #[test]
    fn a_token_that_would_displace_many_is_not_kept() {
        let cache = Cache::new(LIMIT);
        insert(&cache, &"x".repeat(LIMIT / 16), 1);
        assert_eq!(held(&cache), 0);
    }

    #[test]
    fn what_has_ended_can_be_removed_at_once() {
        let cache = Cache::new(LIMIT);
        (0..20).for_each(|end| insert(&cache, &format!("token {end}"), end));
        cache.remove_all(|claims| claims.expires_at() < 15);
        let left = (0..20).filter(|end| find(&cache, &format!("token {end}")).is_some()).count();
        assert_eq!(left, 5);
        assert_eq!(held(&cache), cache.used.load(Relaxed));
    }

    #[test]
    fn inserts_at_the_same_time_stay_within_the_limit_together() {
        let cache = Cache::new(LIMIT);
        let fill = |thread: u64| {
            for number in 0..2_000 {
                let token = format!("{} {number}", thread % 2);
                insert(&cache, &token, number);
                assert!(find(&cache, &token).is_none_or(|end| end == number));
            }
        };
        std::thread::scope(|scope| {
            (0..4).for_each(|thread| drop(scope.spawn(move || fill(thread))));
        });
        assert_eq!(held(&cache), cache.used.load(Relaxed));
        assert!(held(&cache) <= LIMIT);
    }
}
