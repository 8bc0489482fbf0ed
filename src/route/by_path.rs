//! The routes of one host, by path.
//!
//! Called by the index of hosts. Never looks at anything but the path, and yields candidates one by one in order of
//! precedence: exact, template, longest prefix, regular expression.

use std::{collections::HashMap, ops::ControlFlow};

use foldhash::fast::RandomState;
use regex::Regex;

use super::{candidates::Candidates, pattern::join, trie::Trie};
use crate::config::{PathPattern, Segment};

/// Routes of one host, each under its path pattern.
#[derive(Default)]
pub(super) struct ByPath {
    exact: Literals,
    /// Deepest first, as are the prefixes.
    templates: Vec<Level>,
    prefixes: Vec<Level>,
    /// Tried one after the other: nothing is known beforehand of what they match.
    regexes: Vec<(Regex, usize)>,
}

/// Patterns with equally many segments.
#[derive(Default)]
struct Level {
    depth: usize,
    /// Patterns without parameters: one look-up in place of one a segment. They precede all others of their depth.
    literals: Literals,
    trie: Trie,
}

type Literals = HashMap<Box<str>, Candidates, RandomState>;

// === impl ByPath ===

impl ByPath {
    /// Adds a route behind those that are there. The pattern has to be normal.
    pub(super) fn insert(&mut self, pattern: &PathPattern, route: usize) {
        match pattern {
            PathPattern::Exact(text) => {
                self.exact.entry(text.as_str().into()).or_default().push(route);
            }
            PathPattern::Prefix(segments) => insert(&mut self.prefixes, segments, route),
            PathPattern::Regex(regex) => self.regexes.push((regex.clone(), route)),
            PathPattern::Template(segments) => insert(&mut self.templates, segments, route),
        }
    }

    /// Visits the candidates for a path until a visit breaks.
    pub(super) fn visit<V>(&self, path: &str, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        if let Some(candidates) = self.exact.get(path) {
            candidates.visit(visit)?;
        }
        let depth = path.bytes().filter(|byte| *byte == b'/').count();
        if let Ok(at) = find(&self.templates, depth)
            && let Some(level) = self.templates.get(at)
        {
            level.visit(path, visit)?;
        }
        self.visit_prefixes(path, depth, visit)?;
        let mut matching = self.regexes.iter().filter(|(regex, _)| regex.is_match(path));
        matching.try_for_each(|(_, route)| visit(*route))
    }

    /// Cuts segments off the end of the path, down to each depth that has a prefix.
    fn visit_prefixes<V>(&self, path: &str, segments: usize, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        let (mut head, mut depth) = (path, segments);
        for level in self.prefixes.iter().filter(|level| level.depth <= segments) {
            while depth > level.depth {
                head = head.rsplit_once('/').map_or("", |(head, _)| head);
                depth -= 1;
            }
            level.visit(head, visit)?;
        }
        ControlFlow::Continue(())
    }
}

fn insert(levels: &mut Vec<Level>, segments: &[Segment], route: usize) {
    let depth = segments.len();
    let at = find(levels, depth).unwrap_or_else(|at| {
        levels.insert(at, Level { depth, ..Level::default() });
        at
    });
    if let Some(level) = levels.get_mut(at) {
        level.insert(segments, route);
    }
}

/// Where the level of `depth` stands, or where it would.
fn find(levels: &[Level], depth: usize) -> Result<usize, usize> {
    levels.binary_search_by(|level| depth.cmp(&level.depth))
}

// === impl Level ===

impl Level {
    fn insert(&mut self, segments: &[Segment], route: usize) {
        if segments.iter().all(|segment| matches!(segment, Segment::Literal(_))) {
            self.literals.entry(join(segments).into()).or_default().push(route);
        } else {
            self.trie.insert(segments, route);
        }
    }

    /// `head` has to have as many segments as the level is deep.
    fn visit<V>(&self, head: &str, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        if let Some(candidates) = self.literals.get(head) {
            candidates.visit(visit)?;
        }
        self.trie.visit(head, visit)
    }
}
