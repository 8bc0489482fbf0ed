//! A compact hash table of numbers.
//!
//! Called by the index, which knows what a number stands for. Eight slots share a cache line, and what is looked for
//! mostly stands in the line that its hash leads to, so that to find it or to miss it costs one look into memory.

/// Numbers by hash, in slots that are tried one after the other from where the hash leads (linear probing).
pub(super) struct Slots {
    /// A number plus one below, half of its hash above; 0 is free. At least half of them are free, so that every search
    /// ends.
    slots: Box<[u64]>,
    /// How many numbers still have room.
    left: usize,
}

// === impl Slots ===

impl Slots {
    /// Room for so many numbers, which is never made larger.
    pub(super) fn with_room_for(numbers: usize) -> Self {
        Self { slots: vec![0; (2 * numbers.max(1)).next_power_of_two()].into(), left: numbers }
    }

    /// The first number with this hash for which `is` says so.
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize;
        loop {
            let slot = *self.slots.get(at & (self.slots.len() - 1))?;
            let number = (slot as u32).checked_sub(1)?;
            if slot >> 32 == hash >> 32 && is(number) {
                return Some(number);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Adds a number. One that there is no room for is not added.
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        let Some(left) = self.left.checked_sub(1) else { return };
        let mask = self.slots.len() - 1;
        let mut places = (0..=mask).map(|step| (hash as usize).wrapping_add(step) & mask);
        let free = places.find(|at| self.slots.get(*at) == Some(&0));
        if let Some(slot) = free.and_then(|at| self.slots.get_mut(at)) {
            *slot = (hash >> 32 << 32) | u64::from(number.saturating_add(1));
            self.left = left;
        }
    }
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
        assert_eq!(slots.find(hash(7), |_| true), Some(7));
        assert_eq!(slots.find(hash(7), |_| false), None);
        assert_eq!(slots.find(u64::MAX, |_| true), None);
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
