//! The table of all routes: the route of a request, or why there is none.
//!
//! Called by `decision` once a request and by `explain`, through the same search. Never allocates on the way to a
//! route, and never changes after it was built.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    ops::ControlFlow,
};

use http::Method;

use super::{
    BadPattern, BadPredicate, Found, Mismatch, Request, candidates::Candidate, index::Index,
    pattern::Place, predicates::Predicates,
};
use crate::config;

/// Routes, found by precedence as the Kubernetes Gateway API defines it.
///
/// Host: exact, the longest wildcard, none. Path: exact, template (a literal segment before a parameter), longest
/// prefix, regular expression. Then a route that names methods; more headers and cookies; more query parameters; the
/// order in the file. A candidate that fails a predicate leaves its place to the next, under whatever path or host.
pub struct Table {
    index: Index,
    /// Each once, however many routes have it, so that what common predicates ask for is in a cache.
    predicates: Vec<Predicates>,
    /// Apart from the predicates, since only `explain` reads them.
    places: Box<[Place]>,
}

/// Why a table cannot be built, and the route that it is about by its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRoute {
    #[error("the path of route {0} matches nothing: {1}")]
    Pattern(usize, #[source] BadPattern),
    #[error("route {0}: {1}")]
    Predicate(usize, #[source] BadPredicate),
}

// === impl Table ===

impl Table {
    /// Builds a table that knows routes by their position.
    pub fn new(routes: &[config::Route]) -> Result<Self, BadRoute> {
        let numbered = || routes.iter().enumerate();
        let places: Box<[_]> = numbered()
            .map(|(i, route)| Place::new(route).map_err(|why| BadRoute::Pattern(i, why)))
            .collect::<Result<_, _>>()?;
        let mut names = HashSet::new();
        #[expect(
            clippy::mutable_key_type,
            reason = "a regular expression is compared by its text, which never changes"
        )]
        let mut distinct = HashMap::new();
        let mut order = Vec::with_capacity(routes.len());
        for ((number, route), place) in (0..).zip(routes).zip(&places) {
            let predicates = Predicates::new(route, &mut names)
                .map_err(|why| BadRoute::Predicate(number as usize, why))?;
            let (rank, next) = (predicates.rank(), distinct.len() as u32);
            let predicates = (!predicates.is_empty()).then(|| {
                *distinct.entry(predicates).or_insert(NonZeroU32::MIN.saturating_add(next))
            });
            order.push((rank, (place, Candidate { route: number, predicates })));
        }
        // Stable: what is equal stays in the order of the file.
        order.sort_by(|(a, _), (b, _)| a.cmp(b));
        let order: Vec<_> = order.into_iter().map(|(_, candidate)| candidate).collect();
        let index = Index::new(&order);
        let mut distinct: Vec<_> = distinct.into_iter().collect();
        distinct.sort_unstable_by_key(|(_, number)| *number);
        let predicates = distinct.into_iter().map(|(predicates, _)| predicates).collect();
        Ok(Self { index, predicates, places })
    }

    /// The route of a request.
    pub fn find(&self, request: &Request<'_>) -> Found {
        self.search(request, &mut |_, _| ())
    }

    /// The same, telling `rejected` of every other route: first the candidates that precede the one found, in order of
    /// precedence, then all others in the order of the file.
    pub fn explain<'t>(
        &'t self,
        request: &Request<'_>,
        rejected: &mut impl FnMut(usize, Mismatch<'t>),
    ) -> Found {
        let mut told = vec![false; self.places.len()];
        // A route may be a candidate under several of its hosts.
        let mut tell = |route: usize, why| {
            if let Some(told) = told.get_mut(route).filter(|told| !**told) {
                *told = true;
                rejected(route, why);
            }
        };
        let found = self.search(request, &mut tell);
        for (route, place) in self.places.iter().enumerate() {
            if found != Found::Route(route) {
                let why = place.mismatch(request.host, request.path);
                tell(route, why.unwrap_or(Mismatch::Outranked));
            }
        }
        found
    }

    /// The methods that would have found a route, for the `Allow` of a 405 (RFC 9110 15.5.6).
    pub fn allowed(&self, request: &Request<'_>) -> Vec<&Method> {
        let mut methods = Vec::new();
        let _ = self.index.visit(request.host, request.path, &mut |candidate| {
            let predicates = self.predicates(candidate);
            let takes = |p: &&Predicates| p.mismatch_beside_method(request).is_none();
            for method in predicates.filter(takes).map(Predicates::methods).unwrap_or_default() {
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
            ControlFlow::Continue(())
        });
        methods
    }

    fn search<'t>(
        &'t self,
        request: &Request<'_>,
        rejected: &mut impl FnMut(usize, Mismatch<'t>),
    ) -> Found {
        let mut wrong_method = false;
        let found = self.index.visit(request.host, request.path, &mut |candidate| {
            let predicates = self.predicates(candidate);
            let Some(why) = predicates.and_then(|p| p.mismatch(request)) else {
                return ControlFlow::Break(candidate.route as usize);
            };
            wrong_method |= matches!(why, Mismatch::Method);
            rejected(candidate.route as usize, why);
            ControlFlow::Continue(())
        });
        match found {
            ControlFlow::Break(route) => Found::Route(route),
            // A candidate with the wrong method may have failed another predicate too.
            ControlFlow::Continue(()) if wrong_method && !self.allowed(request).is_empty() => {
                Found::MethodNotAllowed
            }
            ControlFlow::Continue(()) => Found::NoRoute,
        }
    }

    fn predicates(&self, candidate: Candidate) -> Option<&Predicates> {
        self.predicates.get(candidate.predicates?.get() as usize - 1)
    }
}
