//! Path patterns of one depth, segment by segment.
//!
//! Called by the table for each request that gets this far. Never visits a node twice: every node has one parent, so
//! a walk is bounded by what the operator wrote, however a path is made up.

use std::{collections::HashMap, ops::ControlFlow};

use foldhash::fast::RandomState;

use super::candidates::Candidates;
use crate::config::Segment;

/// Patterns with equally many segments. Candidates stand at its leaves.
#[derive(Default)]
pub(super) struct Trie {
    /// The first is the root; empty when there is no pattern.
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    literals: HashMap<Box<str>, usize, RandomState>,
    parameter: Option<usize>,
    candidates: Candidates,
}

const ROOT: usize = 0;

// === impl Trie ===

impl Trie {
    /// Adds a route behind those that are there. All patterns of a trie have to be equally long.
    pub(super) fn insert(&mut self, segments: &[Segment], route: usize) {
        let mut at = if self.nodes.is_empty() { self.grow() } else { ROOT };
        for segment in segments {
            at = self.child(at, segment).unwrap_or_else(|| {
                let child = self.grow();
                self.link(at, segment, child);
                child
            });
        }
        if let Some(leaf) = self.nodes.get_mut(at) {
            leaf.candidates.push(route);
        }
    }

    /// Visits the candidates of every pattern that matches, a literal before a parameter in each segment. `path` has to
    /// have as many segments as the patterns.
    pub(super) fn visit<V>(&self, path: &str, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        self.visit_below(ROOT, path, visit)
    }

    fn visit_below<V>(&self, node: usize, rest: &str, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        let Some(node) = self.nodes.get(node) else { return ControlFlow::Continue(()) };
        let Some(rest) = rest.strip_prefix('/') else { return node.candidates.visit(visit) };
        let (segment, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if let Some(child) = node.literals.get(segment) {
            self.visit_below(*child, rest, visit)?;
        }
        match node.parameter {
            Some(child) if !segment.is_empty() => self.visit_below(child, rest, visit),
            _ => ControlFlow::Continue(()),
        }
    }

    fn child(&self, node: usize, segment: &Segment) -> Option<usize> {
        let node = self.nodes.get(node)?;
        match segment {
            Segment::Literal(text) => node.literals.get(text.as_str()).copied(),
            Segment::Parameter(_) => node.parameter,
        }
    }

    fn grow(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn link(&mut self, parent: usize, segment: &Segment, child: usize) {
        let Some(parent) = self.nodes.get_mut(parent) else { return };
        match segment {
            Segment::Literal(text) => {
                parent.literals.insert(text.as_str().into(), child);
            }
            Segment::Parameter(_) => parent.parameter = Some(child),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mix of `a` and `{x}` in `depth` segments, or every `step`-th of them.
    fn mixes(depth: u32, step: usize) -> Trie {
        let mut trie = Trie::default();
        for (route, mix) in (0_u32..1 << depth).step_by(step).enumerate() {
            let segments = (0..depth).map(|bit| match mix >> bit & 1 {
                0 => Segment::Literal("a".into()),
                _ => Segment::Parameter("x".into()),
            });
            trie.insert(&segments.collect::<Vec<_>>(), route);
        }
        trie
    }

    fn visited(trie: &Trie, path: &str) -> Vec<usize> {
        let mut routes = Vec::new();
        let _ = trie.visit(path, &mut |route| {
            routes.push(route);
            ControlFlow::Continue(())
        });
        routes
    }

    /// The nodes that a walk of `path` asks for a child, counted apart from the walk.
    fn steps(trie: &Trie, path: &str) -> usize {
        let mut level = vec![ROOT];
        let mut steps = 0;
        for segment in path.split('/').skip(1) {
            steps += level.len();
            let children = |node: &usize| {
                let node = &trie.nodes[*node];
                [node.literals.get(segment).copied(), node.parameter]
            };
            level = level.iter().flat_map(children).flatten().collect();
        }
        steps
    }

    #[test]
    fn no_node_has_two_parents() {
        let trie = mixes(10, 1);
        let children = trie.nodes.iter().flat_map(|n| n.literals.values().chain(&n.parameter));
        let mut children: Vec<_> = children.copied().collect();
        children.sort_unstable();
        assert_eq!(children, (1..trie.nodes.len()).collect::<Vec<_>>());
    }

    #[test]
    fn mixes_of_literals_and_parameters_do_not_blow_up() {
        // 64 patterns, 24 segments: trying literal and parameter in each would take 16 million steps.
        let trie = mixes(24, (1 << 18) + 1);
        let path = "/a".repeat(24);
        assert!(trie.nodes.len() <= 64 * 24 + 1);
        assert!(steps(&trie, &path) <= trie.nodes.len());
        assert_eq!(visited(&trie, &path).len(), 64);
        assert_eq!(visited(&trie, &("/a".repeat(23) + "/b")).len(), 32);
        assert_eq!(visited(&trie, &("/b".to_owned() + &"/a".repeat(23))).len(), 32);
    }

    #[test]
    fn every_pattern_that_matches_is_visited_in_order() {
        let trie = mixes(3, 1);
        // By the first segment, then the second, then the third: `a` before `{x}`. Bit 0 is the first segment.
        assert_eq!(visited(&trie, "/a/a/a"), [0, 4, 2, 6, 1, 5, 3, 7]);
        assert_eq!(visited(&trie, "/a/b/a"), [2, 6, 3, 7]);
        assert_eq!(visited(&trie, "/b/b/b"), [7]);
        assert!(visited(&trie, "/b/b/").is_empty());
    }
}
