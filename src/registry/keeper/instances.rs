//! A view in the one form that can be compared: by address, without doubles.
//!
//! Called by the keeper on everything a registry says. It never judges weights; the upstream does.

use std::{cmp::Ordering, collections::BTreeMap, net::SocketAddr};

use crate::registry::{Instance, View};

/// More instances than this of one service are a fault of the registry and not a fleet.
const MAX_INSTANCES: usize = 65_536;

/// The instances of one service, one for each address, in the order of addresses.
pub(super) type ByAddress = BTreeMap<SocketAddr, Instance>;

/// Puts a view in order, or says `None` to one too large to believe. What no connection can be made to is left out.
pub(super) fn by_address(view: View) -> Option<ByAddress> {
    let instances = match view {
        View::Absent => Vec::new(),
        View::Instances(instances) => instances,
    };
    if instances.len() > MAX_INSTANCES {
        return None;
    }
    let mut all = ByAddress::new();
    for mut instance in instances {
        // `::ffff:10.0.0.1` and `10.0.0.1` are one instance and not two.
        instance.address.set_ip(instance.address.ip().to_canonical());
        if !is_connectable(&instance.address) {
            continue;
        }
        let better = |old: &Instance| preference(&instance, old) == Ordering::Greater;
        if all.get(&instance.address).is_none_or(better) {
            all.insert(instance.address, instance);
        }
    }
    Some(all)
}

/// Whether nothing differs. Weights compare by their bits, or a NaN would make every view a new one.
pub(super) fn same<'a>(
    left: impl ExactSizeIterator<Item = &'a Instance>,
    right: impl ExactSizeIterator<Item = &'a Instance>,
) -> bool {
    left.len() == right.len() && left.zip(right).all(|(a, b)| same_instance(a, b))
}

fn same_instance(a: &Instance, b: &Instance) -> bool {
    a.weight.to_bits() == b.weight.to_bits()
        && (a.address, a.healthy, a.enabled) == (b.address, b.healthy, b.enabled)
        && a.metadata == b.metadata
}

fn is_connectable(address: &SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

/// Which of two entries for one address stands: the enabled, then the healthy, then the heavier one. The rest of the
/// order only makes the choice the same each time.
fn preference(a: &Instance, b: &Instance) -> Ordering {
    let flags = (a.enabled, a.healthy).cmp(&(b.enabled, b.healthy));
    flags.then(a.weight.total_cmp(&b.weight)).then_with(|| a.metadata.cmp(&b.metadata))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::instance, *};

    #[test]
    fn of_two_entries_for_one_address_the_better_stands() {
        let (mut off, mut ill, mut light) = (instance(1), instance(1), instance(1));
        off.enabled = false;
        ill.healthy = false;
        light.weight = 0.5;
        let mut mapped = instance(1);
        mapped.address = "[::ffff:10.0.0.1]:1001".parse().unwrap();
        let all = vec![off, light, mapped, ill];
        for turn in 0..4 {
            let mut all: Vec<Instance> = all.clone();
            all.rotate_left(turn);
            let chosen = by_address(View::Instances(all)).unwrap();
            assert_eq!(chosen.into_values().collect::<Vec<_>>(), vec![instance(1)]);
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_left_out() {
        let at = |address: &str| Instance { address: address.parse().unwrap(), ..instance(0) };
        let all = ["10.0.0.1:0", "0.0.0.0:80", "[::]:80", "224.0.0.1:80", "[::ffff:0.0.0.0]:80"];
        let view = View::Instances(all.map(at).into());
        assert_eq!(by_address(view).unwrap().len(), 0);
    }

    #[test]
    fn a_weight_that_is_no_number_equals_itself() {
        let odd = Instance { weight: f64::NAN, ..instance(1) };
        assert!(same([&odd].into_iter(), [&odd.clone()].into_iter()));
        assert!(!same([&odd].into_iter(), [&instance(1)].into_iter()));
        assert!(!same([&odd].into_iter(), [].into_iter()));
    }
}
