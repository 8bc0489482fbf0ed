//! A compact hash table of numbers.
//!
//! Called by the index, which knows what a number stands for. One byte of each hash stands apart, so that what is not
//! there is missed in a table that is small enough for a cache, and what is there is found with one more look.

/// Numbers by hash, in slots that are tried one after the other from where the hash leads (linear probing).
pub(super) struct Slots {
    /// One byte of the hash; 0 is free. At least half of them are free, so that every search ends.
    tags: Box<[u8]>,
    numbers: Box<[u32]>,
    /// How many numbers still have room.
    left: usize,
}

// === impl Slots ===

impl Slots {
    /// Room for so many numbers, which is never made larger.
    pub(super) fn with_room_for(numbers: usize) -> Self {
        let slots = (2 * numbers.max(1)).next_power_of_two();
        Self { tags: vec![0; slots].into(), numbers: vec![0; slots].into(), left: numbers }
    }

    /// The first number with this hash for which `is` says so. Some with another hash are asked about too.
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.tags.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match *self.tags.get(at)? {
                0 => return None,
                tag if tag == tag_of(hash) => {
                    let number = *self.numbers.get(at)?;
                    if is(number) {
                        return Some(number);
                    }
                }
                _ => {}
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a number. One that there is no room for is not added.
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        let Some(left) = self.left.checked_sub(1) else { return };
        let mask = self.tags.len() - 1;
        let mut places = (0..=mask).map(|step| (hash as usize).wrapping_add(step) & mask);
        let free = places.find(|at| self.tags.get(*at) == Some(&0));
        let slot = free.and_then(|at| self.tags.get_mut(at).zip(self.numbers.get_mut(at)));
        if let Some((tag, held)) = slot {
            (*tag, *held) = (tag_of(hash), number);
            self.left = left;
        }
    }
}

/// The highest byte, since the lowest bits say where to begin.
fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_hash_and_told_apart_where_it_is_the_same() {
        let mut slots = Slots::with_room_for(1_000);
        let hash = |number: u32| u64::from(number % 100).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..1_000).for_each(|number| slots.insert(hash(number), number));
        for number in 0..1_000 {
            assert_eq!(slots.find(hash(number), |found| found == number), Some(number));
        }
        assert_eq!(slots.find(hash(7), |_| false), None);
    }

    #[test]
    fn what_there_is_no_room_for_ends_no_search_in_a_circle() {
        let mut slots = Slots::with_room_for(2);
        (0..100).for_each(|number| slots.insert(number.into(), number));
        let find = |number: u32| slots.find(number.into(), |found| found == number);
        assert_eq!((find(0), find(1)), (Some(0), Some(1)));
        assert!((2..100).all(|number| find(number).is_none()));
    }
}
