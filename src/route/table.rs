//! The table of all routes: the route of a request, or why there is none.
//!
//! Called by `decision` once a request and by `explain`, through the same search. Never allocates on the way to a
//! route, and never changes after it was built.

use std::{collections::HashSet, ops::ControlFlow};

use http::Method;

use super::{
    BadPattern, BadPredicate, Found, Mismatch, Request, index::Index, pattern::Place,
    predicates::Predicates,
};
use crate::config;

/// Routes, found by precedence as the Kubernetes Gateway API defines it.
///
/// Host: exact, the longest wildcard, none. Path: exact, template (a literal segment before a parameter), longest
/// prefix, regular expression. Then a route that names methods; more headers and cookies; more query parameters; the
/// order in the file. A candidate that fails a predicate leaves its place to the next, under whatever path or host.
pub struct Table {
    index: Index,
    /// None where a route asks for nothing but host and path: most are found without another look into memory.
    predicates: Box<[Option<Box<Predicates>>]>,
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
        let predicates: Vec<_> = numbered()
            .map(|(i, route)| {
                Predicates::new(route, &mut names).map_err(|why| BadRoute::Predicate(i, why))
            })
            .collect::<Result<_, _>>()?;

        let mut order: Vec<_> = places.iter().zip(&predicates).enumerate().collect();
        // Stable: what is equal stays in the order of the file.
        order.sort_by_key(|(_, (_, predicates))| predicates.rank());
        let mut index = Index::default();
        for (route, (place, _)) in order {
            index.insert(place, route);
        }
        let predicates = predicates.into_iter().map(|p| (!p.is_empty()).then(|| Box::new(p)));
        Ok(Self { index, predicates: predicates.collect(), places })
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
        let _ = self.index.visit(request.host, request.path, &mut |route| {
            let predicates = self.predicates.get(route).and_then(Option::as_deref);
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
        let found = self.index.visit(request.host, request.path, &mut |route| {
            let Some(predicates) = self.predicates.get(route) else {
                return ControlFlow::Continue(());
            };
            let Some(why) = predicates.as_ref().and_then(|p| p.mismatch(request)) else {
                return ControlFlow::Break(route);
            };
            wrong_method |= matches!(why, Mismatch::Method);
            rejected(route, why);
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
}
