//! The routes of all hosts and paths.
//!
//! Called by the table once a request. Never looks at anything but host and path, and yields candidates one by one in
//! order of precedence.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    ops::ControlFlow,
};

use foldhash::fast::RandomState;
use regex::Regex;

use super::{candidates::Candidates, pattern::Place, shape::Shape};
use crate::config::{HostPattern, PathPattern};

/// Finds candidates with one look-up for each shape that a host's patterns have, however many routes there are.
///
/// All patterns stand in one table, so that what a request touches lies close together.
#[derive(Default)]
pub(super) struct Index {
    hosts: HashMap<Box<str>, usize, RandomState>,
    /// `*.example.com` under `example.com`.
    wildcards: HashMap<Box<str>, usize, RandomState>,
    any: Option<usize>,
    /// By the number that the maps above give to a host.
    paths: Vec<Paths>,
    shapes: Vec<Shape>,
    /// By the hash of host, shape and literals.
    patterns: HashMap<u64, Pattern, RandomState>,
}

/// What the paths of a host's routes look like.
#[derive(Default)]
struct Paths {
    /// Numbers of shapes, sorted by precedence.
    shapes: Vec<usize>,
    /// Tried one after the other: nothing is known beforehand of what they match.
    regexes: Vec<(Regex, usize)>,
}

/// A path pattern of one host, and the routes that have it.
struct Pattern {
    host: usize,
    shape: usize,
    literals: Box<str>,
    candidates: Candidates,
    /// Another pattern with the same hash, once in a blue moon.
    next: Option<Box<Self>>,
}

// === impl Index ===

impl Index {
    /// Adds a route behind those that are there, under each of its hosts.
    pub(super) fn insert(&mut self, place: &Place, route: usize) {
        if place.hosts.is_empty() {
            let host = *self.any.get_or_insert(self.paths.len());
            self.insert_path(host, &place.path, route);
        }
        for host in &place.hosts {
            let (hosts, name) = match host {
                HostPattern::Exact(name) => (&mut self.hosts, name),
                HostPattern::Wildcard(name) => (&mut self.wildcards, name),
            };
            let host = *hosts.entry(name.as_str().into()).or_insert(self.paths.len());
            self.insert_path(host, &place.path, route);
        }
    }

    /// Visits the candidates for a host and a path until a visit breaks.
    pub(super) fn visit<V>(&self, host: &str, path: &str, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        let depth = path.bytes().filter(|byte| *byte == b'/').count();
        if let Some(host) = self.hosts.get(host) {
            self.visit_paths(*host, path, depth, visit)?;
        }
        if !self.wildcards.is_empty() {
            let mut name = host;
            while let Some((_, parent)) = name.split_once('.') {
                if let Some(host) = self.wildcards.get(parent) {
                    self.visit_paths(*host, path, depth, visit)?;
                }
                name = parent;
            }
        }
        self.any
            .map_or(ControlFlow::Continue(()), |host| self.visit_paths(host, path, depth, visit))
    }

    fn visit_paths<V>(
        &self,
        host: usize,
        path: &str,
        depth: usize,
        visit: &mut V,
    ) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        let Some(paths) = self.paths.get(host) else { return ControlFlow::Continue(()) };
        for number in &paths.shapes {
            if let Some(shape) = self.shapes.get(*number)
                && shape.fits(path, depth)
                && let Some(candidates) = self.find(host, *number, || shape.literals(path))
            {
                candidates.visit(visit)?;
            }
        }
        let mut matching = paths.regexes.iter().filter(|(regex, _)| regex.is_match(path));
        matching.try_for_each(|(_, route)| visit(*route))
    }

    fn find<'a, L>(
        &self,
        host: usize,
        shape: usize,
        literals: impl Fn() -> L,
    ) -> Option<&Candidates>
    where
        L: Iterator<Item = &'a str>,
    {
        let first = self.patterns.get(&self.hash(host, shape, literals()));
        let mut patterns = std::iter::successors(first, |pattern| pattern.next.as_deref());
        let pattern = patterns.find(|pattern| pattern.is(host, shape, literals()))?;
        Some(&pattern.candidates)
    }

    fn hash<'a>(&self, host: usize, shape: usize, literals: impl Iterator<Item = &'a str>) -> u64 {
        let mut hasher = self.patterns.hasher().build_hasher();
        hasher.write_usize(host);
        hasher.write_usize(shape);
        literals.for_each(|literals| hasher.write(literals.as_bytes()));
        hasher.finish()
    }

    fn insert_path(&mut self, host: usize, pattern: &PathPattern, route: usize) {
        if host == self.paths.len() {
            self.paths.push(Paths::default());
        }
        if let (PathPattern::Regex(regex), Some(paths)) = (pattern, self.paths.get_mut(host)) {
            paths.regexes.push((regex.clone(), route));
        } else if let Some((shape, sample)) = Shape::of(pattern) {
            let shape = self.insert_shape(host, shape);
            self.insert_pattern(host, shape, &sample, route);
        }
    }

    /// The number of a shape, after it was added to those of a host.
    fn insert_shape(&mut self, host: usize, shape: Shape) -> usize {
        let known = self.shapes.iter().position(|known| *known == shape);
        let number = known.unwrap_or_else(|| {
            self.shapes.push(shape);
            self.shapes.len() - 1
        });
        let shape = self.shapes.get(number);
        if let Some(paths) = self.paths.get_mut(host)
            && !paths.shapes.contains(&number)
        {
            let at = paths.shapes.partition_point(|other| self.shapes.get(*other) < shape);
            paths.shapes.insert(at, number);
        }
        number
    }

    fn insert_pattern(&mut self, host: usize, shape: usize, sample: &str, route: usize) {
        let Some(form) = self.shapes.get(shape) else { return };
        let hash = self.hash(host, shape, form.literals(sample));
        let literals: Box<str> = form.literals(sample).collect::<String>().into();
        let new = || Pattern {
            host,
            shape,
            literals: literals.clone(),
            candidates: Candidates::default(),
            next: None,
        };
        let mut pattern = self.patterns.entry(hash).or_insert_with(new);
        while (pattern.host, pattern.shape, &pattern.literals) != (host, shape, &literals) {
            pattern = pattern.next.get_or_insert_with(|| Box::new(new()));
        }
        pattern.candidates.push(route);
    }
}

// === impl Pattern ===

impl Pattern {
    fn is<'a>(
        &self,
        host: usize,
        shape: usize,
        mut literals: impl Iterator<Item = &'a str>,
    ) -> bool {
        let left = literals.try_fold(&*self.literals, |left, piece| left.strip_prefix(piece));
        self.host == host && self.shape == shape && left.is_some_and(str::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(index: &Index, path: &str) -> Vec<usize> {
        let mut routes = Vec::new();
        let _ = index.visit("a.com", path, &mut |route| {
            routes.push(route);
            ControlFlow::Continue(())
        });
        routes
    }

    fn index(patterns: impl IntoIterator<Item = String>) -> Index {
        let mut index = Index::default();
        for (route, pattern) in patterns.into_iter().enumerate() {
            let place = Place { hosts: Vec::new(), path: pattern.parse().unwrap() };
            index.insert(&place, route);
        }
        index
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
        assert_eq!(index.shapes.len(), 64);
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

    #[test]
    fn equal_hashes_do_not_make_equal_patterns() {
        let mut index = index(["/a".into(), "/b".into()]);
        let hash = index.hash(0, 0, ["/b"].into_iter());
        let mut patterns: Vec<_> = index.patterns.drain().map(|(_, pattern)| pattern).collect();
        patterns.sort_by_key(|pattern| *pattern.literals != *"/a");
        // As if both had this hash.
        let b = patterns.pop().map(Box::new);
        index.patterns.insert(hash, Pattern { next: b, ..patterns.pop().unwrap() });
        assert_eq!(found(&index, "/b"), [1]);
        index.insert(&Place { hosts: Vec::new(), path: "/b".parse().unwrap() }, 2);
        assert_eq!(found(&index, "/b"), [1, 2]);
    }
}
