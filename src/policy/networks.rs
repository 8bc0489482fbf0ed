//! A set of networks, asked whether an address is in it.
//!
//! Used for the ip filter and for trusted proxies. An IPv4 address counts as such also when it comes mapped into IPv6;
//! `::/0` therefore holds no IPv4 address. Asking never allocates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::Network;

/// Ranges of addresses, sorted and apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Networks {
    v4: Box<[Range<Ipv4Addr>]>,
    v6: Box<[Range<Ipv6Addr>]>,
}

/// From and until, both included.
type Range<T> = (T, T);

// === impl Networks ===

impl Networks {
    pub(super) fn new(networks: &[Network]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for Network(network) in networks {
            match (network.network().to_canonical(), network.broadcast().to_canonical(), network) {
                (IpAddr::V4(from), IpAddr::V4(until), _) => v4.push((from, until)),
                (_, _, IpNet::V6(network)) => v6.push((network.network(), network.broadcast())),
                // The ends of an IPv4 network are IPv4 addresses.
                (_, _, IpNet::V4(_)) => {}
            }
        }
        Self { v4: apart(v4), v6: apart(v6) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, &address),
            IpAddr::V6(address) => holds(&self.v6, &address),
        }
    }
}

/// Sorts, and joins what overlaps.
fn apart<T: Ord + Copy>(mut ranges: Vec<Range<T>>) -> Box<[Range<T>]> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let overlaps = next.0 <= last.1;
        if overlaps {
            last.1 = last.1.max(next.1);
        }
        overlaps
    });
    ranges.into()
}

fn holds<T: Ord>(ranges: &[Range<T>], address: &T) -> bool {
    let after = ranges.partition_point(|(from, _)| from <= address);
    after
        .checked_sub(1)
        .and_then(|last| ranges.get(last))
        .is_some_and(|(_, until)| address <= until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str], inside: &[&str], outside: &[&str]) {
        let list: Vec<Network> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let set = Networks::new(&list);
        for (addresses, expected) in [(inside, true), (outside, false)] {
            for address in addresses {
                assert_eq!(
                    set.contains(address.parse().unwrap()),
                    expected,
                    "{address} in {texts:?}"
                );
            }
        }
    }

    #[test]
    fn an_address_is_in_the_networks_that_hold_it() {
        check(&[], &[], &["0.0.0.0", "::"]);
        check(&["10.0.0.1"], &["10.0.0.1"], &["10.0.0.0", "10.0.0.2", "::a00:1"]);
        check(&["10.1.2.3/8"], &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0"]);
        check(&["0.0.0.0/0"], &["0.0.0.0", "255.255.255.255"], &["::", "::1"]);
        check(
            &["2001:db8::/32"],
            &["2001:db8::", "2001:db8:ffff::1"],
            &["2001:db9::", "32.1.13.184"],
        );
        check(&["::/0"], &["::", "::1", "ffff::"], &["10.0.0.1", "::ffff:10.0.0.1"]);
    }

    #[test]
    fn mapped_addresses_and_networks_are_those_of_ipv4() {
        check(&["10.0.0.0/8"], &["::ffff:10.0.0.1"], &["::ffff:11.0.0.1", "::10.0.0.1"]);
        check(&["::ffff:10.0.0.0/104"], &["10.0.0.1", "::ffff:10.9.9.9"], &["11.0.0.1"]);
        check(&["::ffff:0:0/96"], &["0.0.0.0", "255.255.255.255"], &["::1"]);
    }

    #[test]
    fn networks_may_overlap_touch_and_come_in_any_order() {
        check(
            &["10.0.0.128/25", "10.0.0.0/8", "10.0.0.0/16", "11.0.0.0/8", "9.9.9.9", "9.9.9.9"],
            &["10.0.0.0", "10.0.0.200", "10.200.0.0", "11.255.255.255", "9.9.9.9"],
            &["12.0.0.0", "9.9.9.8", "9.9.9.10"],
        );
    }

    #[test]
    fn many_networks_agree_with_a_search_of_each() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut address = || IpAddr::from(Ipv4Addr::from_bits(random.u32(..) & 0x010f_ffff));
        let list: Vec<Network> = (0..5_000_u32)
            .map(|step| Network(IpNet::new(address(), 20 + (step % 13) as u8).unwrap()))
            .collect();
        let set = Networks::new(&list);
        let mut found = 0;
        for _ in 0..2_000 {
            let address = address();
            let expected = list.iter().any(|Network(network)| network.contains(&address));
            assert_eq!(set.contains(address), expected, "{address}");
            found += u32::from(expected);
        }
        assert!((100..1_900).contains(&found), "both answers were met, {found}");
    }
}
