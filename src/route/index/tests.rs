use std::ops::ControlFlow;

use super::{super::pattern::Place, *};

fn found_at(index: &Index, host: &str, path: &str) -> Vec<usize> {
    let mut routes = Vec::new();
    let _ = index.visit(host, path, &mut |candidate| {
        routes.push(candidate.route as usize);
        ControlFlow::Continue(())
    });
    routes
}

fn found(index: &Index, path: &str) -> Vec<usize> {
    found_at(index, "a.com", path)
}

fn index_of(places: &[Place]) -> Index {
    let routes = places.iter().enumerate();
    let candidate = |n: usize| Candidate { route: n as u32, predicates: None };
    let routes: Vec<_> = routes.map(|(n, place)| (place, candidate(n))).collect();
    Index::new(&routes)
}

fn index(patterns: impl IntoIterator<Item = String>) -> Index {
    let place = |pattern: String| Place { hosts: Vec::new(), path: pattern.parse().unwrap() };
    index_of(&patterns.into_iter().map(place).collect::<Vec<_>>())
}

/// Every mix of `a` and `{x}` in `depth` segments, or every `step`-th of them. Bit 0 is the first segment.
fn mixes(depth: u32, step: usize) -> Index {
    index((0_u32..1 << depth).step_by(step).map(|mix| {
        let segment = |bit| if mix >> bit & 1 == 0 { "/a" } else { "/{x}" };
        (0..depth).map(segment).collect()
    }))
}

#[test]
fn every_pattern_that_matches_is_visited_in_order() {
    let index = mixes(3, 1);
    assert_eq!(found(&index, "/a/a/a"), [0, 4, 2, 6, 1, 5, 3, 7]);
    assert_eq!(found(&index, "/a/b/a"), [2, 6, 3, 7]);
    assert_eq!(found(&index, "/b/b/b"), [7]);
    assert!(found(&index, "/b/b/").is_empty());
}

#[test]
fn mixes_of_literals_and_parameters_do_not_blow_up() {
    // Trying literal and parameter in each segment would take 16 million steps: here it is a look-up a shape.
    let index = mixes(24, (1 << 18) + 1);
    // Without a parameter, it is a whole path and needs no shape.
    assert_eq!(index.shapes.len(), 63);
    assert_eq!(found(&index, &"/a".repeat(24)).len(), 64);
    assert_eq!(found(&index, &("/a".repeat(23) + "/b")).len(), 32);
    assert_eq!(found(&index, &("/b".to_owned() + &"/a".repeat(23))).len(), 32);
}

#[test]
fn routes_that_look_alike_share_a_look_up() {
    let index = index((0..1000).map(|route| format!("/s{route}/{{x}}/**")));
    assert_eq!(index.shapes.len(), 1);
    assert_eq!(found(&index, "/s7/x/y"), [7]);
    assert!(found(&index, "/s/x").is_empty());
}

/// Hosts with `count` groups of patterns each, three a group.
fn hosts(count: usize) -> Index {
    let place = |host: usize, path: String| Place {
        hosts: vec![format!("{host}.com").parse().unwrap()],
        path: path.parse().unwrap(),
    };
    let group = |host, n| {
        let paths = [format!("/c{n}/{{x}}"), format!("/b{n}/**"), format!("/a{n}")];
        paths.map(|path| place(host, path))
    };
    let of_host = |host| (0..count).flat_map(move |n| group(host, n));
    index_of(&(0..20).flat_map(of_host).collect::<Vec<_>>())
}

#[test]
fn few_patterns_of_a_host_are_compared_and_many_are_looked_up() {
    for (groups, forms) in [(1, 0), (2, 0), (3, 1), (100, 1)] {
        let (index, last) = (hosts(groups), groups - 1);
        assert_eq!((index.hosts.len(), index.forms.len()), (20, forms));
        let first = 7 * 3 * groups + 3 * last;
        assert_eq!(found_at(&index, "7.com", &format!("/c{last}/y")), [first]);
        assert_eq!(found_at(&index, "7.com", &format!("/b{last}/y")), [first + 1]);
        assert_eq!(found_at(&index, "7.com", &format!("/a{last}")), [first + 2]);
        assert!(found_at(&index, "7.com", "/d/y").is_empty());
        assert!(found_at(&index, "20.com", "/a0").is_empty());
    }
}

#[test]
fn equal_hashes_do_not_make_equal_patterns() {
    let place = |host: &str, path: &str| Place {
        hosts: host.parse().into_iter().collect(),
        path: path.parse().unwrap(),
    };
    // The wildcard has the hash of the host that it is named after, and so have their patterns.
    let index = index_of(&[place("a.com", "/a"), place("*.a.com", "/a"), place("", "/a")]);
    assert_eq!(found_at(&index, "a.com", "/a"), [0, 2]);
    assert_eq!(found_at(&index, "b.a.com", "/a"), [1, 2]);
    assert_eq!(found_at(&index, "", "/a"), [2]);
}
