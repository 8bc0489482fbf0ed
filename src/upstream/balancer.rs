//! Weighted random: draws one of many in constant time.
//!
//! Called by the instance table for each try, and by `Targets` for each request. It never draws a weight of zero, and it
//! knows nothing of what it draws: indices go in and out.

/// A table to draw indices from, each as often as its weight says (Vose's alias method, 1991).
///
/// There is none of nothing: a `Balancer` that exists has at least one index to draw.
#[derive(Clone, Debug)]
pub struct Balancer {
    cells: Box<[Cell]>,
    /// What is drawn and its weight, for the exact choice among what is left.
    shares: Box<[Share]>,
}

/// A weight that can be drawn by: finite, and from 0 to [`Weight::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Weight(f64);

/// One column of the alias table: a coin below `threshold` draws `here`, another `alias`.
#[derive(Clone, Copy, Debug)]
struct Cell {
    threshold: u32,
    here: u32,
    alias: u32,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    index: u32,
    weight: f64,
}

/// Draws that may meet an excluded index before the rest is weighed exactly: with half of all excluded, one pick in 65,536
/// comes to that.
const DRAWS: usize = 16;

// === impl Balancer ===

impl Balancer {
    /// A table over the positions of `weights`. Only finite weights above zero are drawn; `None` where there is none.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut shares: Box<[Share]> = (0..)
            .zip(weights)
            .filter(|(_, weight)| weight.is_finite() && *weight > 0.0)
            .map(|(index, weight)| Share { index, weight })
            .collect();
        // Relative to the largest, no sum of them can overflow or vanish.
        let largest = shares.iter().map(|share| share.weight).reduce(f64::max)?;
        shares.iter_mut().for_each(|share| share.weight /= largest);
        Some(Self { cells: cells(&shares), shares })
    }

    /// How many indices can be drawn.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Never, and here only because `len` is.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Draws an index; `chance` is uniform over all of `u64`.
    pub fn pick(&self, chance: u64) -> Option<usize> {
        // The high half of the product is a uniform column, what follows it a uniform coin within that column.
        let product = u128::from(chance) * self.cells.len() as u128;
        let cell = self.cells.get((product >> 64) as usize)?;
        let coin = (product >> 32) as u32;
        Some(if coin < cell.threshold { cell.here } else { cell.alias } as usize)
    }

    /// Draws among the indices that are `usable`, by weight among these; `None` where none is.
    pub fn pick_where(
        &self,
        rng: &mut fastrand::Rng,
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        // A draw that is thrown away unless usable has the wanted distribution, and so has the scan: so has their mix.
        for _ in 0..DRAWS {
            let drawn = self.pick(rng.u64(..))?;
            if usable(drawn) {
                return Some(drawn);
            }
        }
        self.scan(rng.u64(..), usable)
    }

    /// Chooses by one pass over all weights: exact however little is left, at a cost that grows with the table.
    fn scan(&self, chance: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let left = || self.shares.iter().filter(|share| usable(share.index as usize));
        let total: f64 = left().map(|share| share.weight).sum();
        let mut target = unit(chance) * total;
        let mut chosen = None;
        for share in left() {
            chosen = Some(share.index as usize);
            target -= share.weight;
            if target < 0.0 {
                break;
            }
        }
        chosen
    }
}

/// Vose's construction: every column that is not full is topped up from one that overflows.
fn cells(shares: &[Share]) -> Box<[Cell]> {
    let mean = shares.iter().map(|share| share.weight).sum::<f64>() / shares.len() as f64;
    let full = |s: &Share| Cell { threshold: u32::MAX, here: s.index, alias: s.index };
    let mut cells: Box<[Cell]> = shares.iter().map(full).collect();
    let (mut poor, mut rich): (Vec<_>, Vec<_>) =
        cells.iter_mut().zip(shares.iter().map(|s| s.weight / mean)).partition(|(_, s)| *s < 1.0);
    while let Some((giver, surplus)) = rich.last_mut() {
        let Some((taker, share)) = poor.pop() else { break };
        taker.threshold = (share * 2f64.powi(32)) as u32;
        taker.alias = giver.here;
        // In this order the small share is not lost against the large one.
        *surplus = (*surplus + share) - 1.0;
        if *surplus < 1.0 {
            poor.extend(rich.pop());
        }
    }
    cells
}

/// A float from 0 up to but not 1, from uniform bits.
fn unit(chance: u64) -> f64 {
    (chance >> 11) as f64 / (1u64 << 53) as f64
}

// === impl Weight ===

impl Weight {
    /// The largest weight, as Nacos has it.
    pub const MAX: f64 = 10_000.0;

    /// A weight as a registry tells it, and whether it had to be read as 1 for making no sense.
    pub fn from_registry(told: f64) -> (Self, bool) {
        if told.is_finite() && told >= 0.0 {
            (Self(told.min(Self::MAX)), false)
        } else {
            (Self(1.0), true)
        }
    }

    pub const fn get(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Draws `n` times and holds the counts against the weights: Pearson's chi-square, at five standard deviations.
    fn assert_shares(weights: &[f64], n: u64, mut draw: impl FnMut() -> usize) {
        let mut counts = vec![0u64; weights.len()];
        for _ in 0..n {
            counts[draw()] += 1;
        }
        let total: f64 = weights.iter().sum();
        let (mut chi, mut cells) = (0.0, 0.0);
        for (count, weight) in counts.iter().zip(weights) {
            let expected = n as f64 * weight / total;
            if *weight == 0.0 {
                assert_eq!(*count, 0, "a weight of zero was drawn");
            } else if expected >= 5.0 {
                chi += (*count as f64 - expected).powi(2) / expected;
                cells += 1.0;
            }
        }
        let freedom: f64 = f64::max(cells - 1.0, 1.0);
        assert!(chi < freedom + 5.0 * (2.0 * freedom).sqrt() + 10.0, "{chi} over {freedom}");
    }

    #[test]
    fn nothing_to_draw_makes_no_table() {
        for weights in [vec![], vec![0.0], vec![0.0, -0.0], vec![f64::NAN, f64::INFINITY, -1.0]] {
            assert!(Balancer::new(weights).is_none());
        }
    }

    #[test]
    fn every_chance_draws_something() {
        for n in [1, 2, 3, 1000] {
            let balancer = Balancer::new(vec![1.0; n]).unwrap();
            assert_eq!(balancer.pick(0), Some(0));
            assert_eq!(balancer.pick(u64::MAX), Some(n - 1));
            assert_eq!(balancer.len(), n);
        }
    }

    #[test]
    fn shares_are_as_weights_say() {
        let mut rng = fastrand::Rng::with_seed(1);
        let many: Vec<f64> = (0..100).map(|i| f64::from(i % 7)).collect();
        for weights in [
            vec![1.0],
            vec![5.0, 3.0, 2.0],
            vec![0.01, 10_000.0, 0.0, 1.0],
            vec![1e-300, 1.0],
            many,
        ] {
            let balancer = Balancer::new(weights.clone()).unwrap();
            assert_shares(&weights, 200_000, || balancer.pick(rng.u64(..)).unwrap());
        }
    }

    #[test]
    fn what_is_left_is_drawn_by_its_own_weights() {
        let mut rng = fastrand::Rng::with_seed(2);
        let weights = [100.0, 5.0, 3.0, 0.0, 2.0, 1e4];
        let balancer = Balancer::new(weights).unwrap();
        let left = [0.0, 5.0, 3.0, 0.0, 2.0, 0.0];
        assert_shares(&left, 100_000, || balancer.pick_where(&mut rng, |i| left[i] > 0.0).unwrap());
        assert_shares(&left, 100_000, || balancer.scan(rng.u64(..), |i| left[i] > 0.0).unwrap());
        assert_eq!(balancer.pick_where(&mut rng, |_| false), None);
        assert_eq!(balancer.pick_where(&mut rng, |i| i == 3), None);
    }

    #[test]
    fn a_weight_that_makes_no_sense_is_one() {
        for told in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -1e-9] {
            assert_eq!(Weight::from_registry(told), (Weight(1.0), true));
        }
        for (told, kept) in [(0.0, 0.0), (-0.0, 0.0), (0.01, 0.01), (1e9, 1e4), (f64::MAX, 1e4)] {
            assert_eq!(Weight::from_registry(told), (Weight(kept), false));
        }
    }

    fn any_weight() -> impl Strategy<Value = f64> {
        prop_oneof![
            3 => 0.0..100.0,
            2 => Just(0.0),
            1 => any::<f64>(),
            1 => prop_oneof![Just(f64::NAN), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(5e-324)],
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100_000))]

        #[test]
        fn only_weights_above_zero_are_drawn(
            weights in proptest::collection::vec(any_weight(), 0..12),
            chances in proptest::array::uniform8(any::<u64>()),
        ) {
            let drawable = |i: usize| weights[i].is_finite() && weights[i] > 0.0;
            let Some(balancer) = Balancer::new(weights.iter().copied()) else {
                prop_assert!((0..weights.len()).all(|i| !drawable(i)));
                return Ok(());
            };
            for chance in chances {
                prop_assert!(balancer.pick(chance).is_some_and(drawable));
            }
        }
    }
}
