//! The routes under one pattern.
//!
//! Called by the index. Never sorts: routes are added in order of precedence.

use std::ops::ControlFlow;

/// Routes under one pattern, first the one that takes precedence. Mostly one: it stands without a list then.
#[derive(Default)]
pub(super) enum Candidates {
    #[default]
    None,
    One(usize),
    Many(Vec<usize>),
}

// === impl Candidates ===

impl Candidates {
    /// Adds a route behind those that are there.
    pub(super) fn push(&mut self, route: usize) {
        match self {
            Self::None => *self = Self::One(route),
            Self::One(first) => *self = Self::Many(vec![*first, route]),
            Self::Many(routes) => routes.push(route),
        }
    }

    /// Visits one after the other until a visit breaks.
    pub(super) fn visit<V>(&self, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(usize) -> ControlFlow<usize>,
    {
        match self {
            Self::None => ControlFlow::Continue(()),
            Self::One(route) => visit(*route),
            Self::Many(routes) => routes.iter().copied().try_for_each(visit),
        }
    }
}
