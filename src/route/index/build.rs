//! Builds the index.
//!
//! Called once for each config. What it allocates besides the tables themselves is gone when it is done.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    iter,
};

use foldhash::quality::RandomState;

use super::{
    super::{
        candidates::{Candidate, Candidates, Lists},
        pattern::Place,
        segments::Segments,
        shape::Shape,
        slots::Slots,
    },
    FEW, Form, Host, Index, Pattern, Span, WHOLE,
};
use crate::config::{HostPattern, PathPattern};

/// The routes of one host, in their order of precedence.
type OfHost<'a> = Vec<(&'a PathPattern, Candidate)>;

impl Index {
    /// An index of routes in their order of precedence.
    pub(in crate::route) fn new(routes: &[(&Place, Candidate)]) -> Self {
        let mut hosts: HashMap<_, OfHost<'_>> = HashMap::new();
        for (place, candidate) in routes {
            let any = place.hosts.is_empty().then_some(None);
            for host in place.hosts.iter().map(Some).chain(any) {
                hosts.entry(host).or_default().push((&place.path, *candidate));
            }
        }
        let many = hosts.values().map(Vec::len).filter(|patterns| *patterns > FEW).sum();
        let wildcards = hosts.keys().flatten().filter(|host| is_wildcard(host)).count();
        let mut index = Self {
            seed: RandomState::default(),
            exact_hosts: Slots::with_room_for(hosts.len() - wildcards),
            wildcards: (wildcards > 0).then(|| Slots::with_room_for(wildcards)),
            any: None,
            hosts: Vec::with_capacity(hosts.len()),
            patterns: Vec::with_capacity(hosts.values().map(Vec::len).sum()),
            pattern_slots: Slots::with_room_for(many),
            forms: Vec::new(),
            shapes: Vec::new(),
            lists: Lists::default(),
            regexes: Vec::new(),
            text: Vec::new(),
        };
        index.add_shapes(hosts.values().flatten().map(|(path, _)| *path));
        let mut forms = HashMap::new();
        for (host, routes) in &hosts {
            index.add_host(*host, routes, &mut forms);
        }
        index
    }

    /// Numbers shapes by their precedence.
    fn add_shapes<'a>(&mut self, paths: impl Iterator<Item = &'a PathPattern>) {
        for (shape, _) in paths.filter_map(Shape::of) {
            if let Err(at) = self.shapes.binary_search(&shape) {
                self.shapes.insert(at, shape);
            }
        }
    }

    fn add_host(
        &mut self,
        host: Option<&HostPattern>,
        routes: &OfHost<'_>,
        forms: &mut HashMap<Form, u32>,
    ) {
        let number = self.hosts.len() as u32;
        let name = host.map_or("", host_name);
        let hash = self.hash_host(name);
        match (host, &mut self.wildcards) {
            (None, _) => self.any = Some(number),
            (Some(HostPattern::Wildcard(_)), Some(wildcards)) => wildcards.insert(hash, number),
            (Some(_), _) => self.exact_hosts.insert(hash, number),
        }
        let name = self.add_text(name);
        let first = self.patterns.len();
        let (form, hashes) = self.add_patterns((number, hash), routes);
        let patterns = Span::between(first, self.patterns.len());
        let form = (hashes.len() > FEW).then(|| {
            for (number, hash) in patterns.range().zip(hashes) {
                self.pattern_slots.insert(hash, number as u32);
            }
            *forms.entry(form).or_insert_with_key(|form| {
                self.forms.push(form.clone());
                (self.forms.len() - 1) as u32
            })
        });
        let regexes = self.add_regexes(routes);
        self.hosts.push(Host { name, patterns, form, regexes });
    }

    /// Adds the patterns of a host, sorted by precedence; what they look like, and the hash of each.
    fn add_patterns(
        &mut self,
        (host, host_hash): (u32, u64),
        routes: &OfHost<'_>,
    ) -> (Form, Vec<u64>) {
        let mut patterns = BTreeMap::new();
        for (path, candidate) in routes {
            let Some((shape, literals, hash)) = self.take_apart(host_hash, path) else { continue };
            // Whole paths come before all shapes.
            match patterns.entry((shape != WHOLE, shape, literals)) {
                Entry::Occupied(known) => {
                    let (_, candidates): &mut (_, Candidates) = known.into_mut();
                    candidates.push(*candidate, &mut self.lists);
                }
                Entry::Vacant(place) => {
                    place.insert((hash, Candidates::One(*candidate)));
                }
            }
        }
        let (mut form, mut hashes) = (Form::default(), Vec::with_capacity(patterns.len()));
        for ((_, shape, literals), (hash, candidates)) in patterns {
            if shape == WHOLE {
                form.has_whole = true;
            } else if form.shapes.last() != Some(&shape) {
                form.shapes.push(shape);
            }
            let literals = self.add_text(&literals);
            self.patterns.push(Pattern { host, shape, literals, candidates });
            hashes.push(hash);
        }
        (form, hashes)
    }

    /// The shape, the literals and the hash of a pattern; regular expressions have none.
    fn take_apart(&self, host_hash: u64, path: &PathPattern) -> Option<(u32, String, u64)> {
        if let PathPattern::Exact(text) = path {
            let hash = self.hash_pattern(host_hash, WHOLE, iter::once(&**text));
            return Some((WHOLE, text.clone(), hash));
        }
        let (shape, sample) = Shape::of(path)?;
        let number = self.shapes.binary_search(&shape).ok()? as u32;
        let segments = Segments::of(&sample);
        let hash = self.hash_pattern(host_hash, number, shape.literals(&segments));
        Some((number, shape.literals(&segments).collect(), hash))
    }

    fn add_regexes(&mut self, routes: &OfHost<'_>) -> Option<u32> {
        let regexes = routes.iter().filter_map(|(path, candidate)| match path {
            PathPattern::Regex(regex) => Some((regex.clone(), *candidate)),
            PathPattern::Exact(_) | PathPattern::Prefix(_) | PathPattern::Template(_) => None,
        });
        let regexes: Vec<_> = regexes.collect();
        (!regexes.is_empty()).then(|| {
            self.regexes.push(regexes);
            (self.regexes.len() - 1) as u32
        })
    }

    fn add_text(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(text.as_bytes());
        Span::between(start, self.text.len())
    }
}

fn is_wildcard(host: &HostPattern) -> bool {
    matches!(host, HostPattern::Wildcard(_))
}

fn host_name(host: &HostPattern) -> &str {
    match host {
        HostPattern::Exact(name) | HostPattern::Wildcard(name) => name,
    }
}
