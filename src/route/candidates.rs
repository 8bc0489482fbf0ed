//! The routes under one pattern.
//!
//! Called by the index. Never sorts: routes are added in order of precedence.

use std::{num::NonZeroU32, ops::ControlFlow};

/// A route by its number, and what it asks for beyond host and path: mostly nothing, and then it is found without
/// another look into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) route: u32,
    /// By their number, which routes that ask for the same have in common.
    pub(super) predicates: Option<NonZeroU32>,
}

/// Routes under one pattern, first the one that takes precedence. Mostly one: it stands without a list then.
#[derive(Clone, Copy)]
pub(super) enum Candidates {
    One(Candidate),
    /// By the number of a list.
    Many(u32),
}

/// The lists of those patterns that have several routes.
#[derive(Default)]
pub(super) struct Lists(Vec<Vec<Candidate>>);

// === impl Candidates ===

impl Candidates {
    /// Adds a route behind those that are there.
    pub(super) fn push(&mut self, candidate: Candidate, lists: &mut Lists) {
        match *self {
            Self::One(first) => {
                *self = Self::Many(lists.0.len() as u32);
                lists.0.push(vec![first, candidate]);
            }
            Self::Many(list) => {
                if let Some(list) = lists.0.get_mut(list as usize) {
                    list.push(candidate);
                }
            }
        }
    }

    /// Visits one after the other until a visit breaks.
    pub(super) fn visit<V>(self, lists: &Lists, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(Candidate) -> ControlFlow<usize>,
    {
        match self {
            Self::One(candidate) => visit(candidate),
            Self::Many(list) => {
                lists.0.get(list as usize).into_iter().flatten().copied().try_for_each(visit)
            }
        }
    }
}
