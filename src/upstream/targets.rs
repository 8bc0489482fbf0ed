//! The upstreams that a route forwards to, each with its share.
//!
//! Called by `decision` once for each request. It does not know circuit breakers: the caller says which target is closed.

use super::Balancer;

/// A weighted table of what a route forwards to.
#[derive(Clone, Debug)]
pub struct Targets<T> {
    items: Box<[T]>,
    balancer: Balancer,
}

// === impl Targets ===

impl<T> Targets<T> {
    /// A table of targets and their weights; `None` where no weight is above zero.
    pub fn new(targets: impl IntoIterator<Item = (T, f64)>) -> Option<Self> {
        let (items, weights): (Vec<T>, Vec<f64>) = targets.into_iter().unzip();
        Some(Self { items: items.into(), balancer: Balancer::new(weights)? })
    }

    /// Chooses by weight among the targets that are `usable`, or among all of them where none is: what then says no has
    /// a better reason than we do. A target of weight zero is never chosen.
    pub fn choose(&self, rng: &mut fastrand::Rng, usable: impl Fn(&T) -> bool) -> Option<&T> {
        if let [only] = &*self.items {
            return Some(only);
        }
        let by_index = |index| self.items.get(index).is_some_and(&usable);
        let index = self.balancer.pick_where(rng, by_index);
        self.items.get(index.or_else(|| self.balancer.pick(rng.u64(..)))?)
    }

    /// All targets, weight zero included, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(targets: &Targets<char>, usable: &str) -> String {
        let mut rng = fastrand::Rng::with_seed(7);
        let draws =
            (0..1000).filter_map(|_| targets.choose(&mut rng, |name| usable.contains(*name)));
        draws.copied().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn an_open_target_is_skipped_while_another_is_closed() {
        let targets = Targets::new([('a', 90.0), ('b', 9.0), ('c', 1.0), ('z', 0.0)]).unwrap();
        assert_eq!(drawn(&targets, "abcz"), "abc");
        assert_eq!(drawn(&targets, "bc"), "bc");
        assert_eq!(drawn(&targets, "c"), "c");
        assert_eq!(drawn(&targets, "z"), "abc");
        assert_eq!(drawn(&targets, ""), "abc");
        assert_eq!(targets.iter().count(), 4);
    }

    #[test]
    fn shares_between_targets_are_as_weights_say() {
        let targets = Targets::new([('a', 900_000.0), ('b', 100_000.0)]).unwrap();
        let mut rng = fastrand::Rng::with_seed(3);
        let b = (0..100_000).filter(|_| targets.choose(&mut rng, |_| true) == Some(&'b')).count();
        assert!((9_500..10_500).contains(&b), "{b}");
    }

    #[test]
    fn the_only_target_is_always_chosen() {
        let targets = Targets::new([('a', 1.0)]).unwrap();
        assert_eq!(drawn(&targets, ""), "a");
        assert!(Targets::new([('a', 0.0)]).is_none());
    }
}
