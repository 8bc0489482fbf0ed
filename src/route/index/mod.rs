//! The routes of all hosts and paths.
//!
//! Called by the table once a request. Never looks at anything but host and path, and yields candidates one by one in
//! order of precedence.

mod build;
#[cfg(test)]
mod tests;

use std::{
    cell::OnceCell,
    hash::{BuildHasher, Hasher},
    ops::{ControlFlow, Range},
};

use foldhash::quality::RandomState;
use regex::Regex;

use super::{
    candidates::{Candidate, Candidates, Lists},
    segments::Segments,
    shape::Shape,
    slots::Slots,
};

/// Finds candidates with one look-up for each shape that a host's patterns have, however many routes there are.
///
/// All of it stands in a few tables of small entries, where what belongs to one host lies together: of 100,000 routes, what
/// a request touches is then mostly in a cache, or comes there with few looks into memory.
pub(super) struct Index {
    seed: RandomState,
    exact_hosts: Slots,
    /// `*.example.com` under `example.com`.
    wildcards: Option<Slots>,
    any: Option<u32>,
    /// By the number that the slots above give to a host.
    hosts: Vec<Host>,
    /// By host, and then by precedence.
    patterns: Vec<Pattern>,
    /// By the hash of host, shape and literals, for hosts that have many patterns.
    pattern_slots: Slots,
    forms: Vec<Form>,
    shapes: Vec<Shape>,
    lists: Lists,
    /// By host. Tried one after the other: nothing is known beforehand of what they match.
    regexes: Vec<Vec<(Regex, Candidate)>>,
    /// The names of hosts and the literals of patterns, put together.
    text: Vec<u8>,
}

/// One host, or the hosts under one wildcard, or all hosts.
struct Host {
    name: Span,
    patterns: Span,
    /// Of a host that has many patterns, its form.
    form: Option<u32>,
    /// Its list of regular expressions.
    regexes: Option<u32>,
}

/// What the many patterns of a host look like.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Form {
    has_whole: bool,
    /// Numbers of shapes, sorted by precedence.
    shapes: Vec<u32>,
}

/// A path pattern of one host, and the routes that have it.
struct Pattern {
    host: u32,
    /// By its number, or [`WHOLE`].
    shape: u32,
    literals: Span,
    candidates: Candidates,
}

/// A piece of the text, or some of the patterns.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

/// A path that is looked up.
struct Asked<'p> {
    path: &'p str,
    segments: OnceCell<Segments<'p>>,
}

/// In the place of a shape: the pattern is a whole path.
const WHOLE: u32 = u32::MAX;

/// Up to so many patterns of a host are compared one after the other, since they lie side by side.
const FEW: usize = 8;

// === impl Index ===

impl Index {
    /// Visits the candidates for a host and a path until a visit breaks.
    pub(super) fn visit<V>(&self, host: &str, path: &str, visit: &mut V) -> ControlFlow<usize>
    where
        V: FnMut(Candidate) -> ControlFlow<usize>,
    {
        let asked = Asked { path, segments: OnceCell::new() };
        let hash = self.hash_host(host);
        if let Some(number) = self.exact_hosts.find(hash, |number| self.is_named(number, host)) {
            self.visit_host(number, hash, &asked, visit)?;
        }
        if let Some(wildcards) = &self.wildcards {
            let mut name = host;
            while let Some((_, parent)) = name.split_once('.') {
                let hash = self.hash_host(parent);
                if let Some(number) = wildcards.find(hash, |number| self.is_named(number, parent)) {
                    self.visit_host(number, hash, &asked, visit)?;
                }
                name = parent;
            }
        }
        let any = |number| self.visit_host(number, self.hash_host(""), &asked, visit);
        self.any.map_or(ControlFlow::Continue(()), any)
    }

    /// `hash` is that of the host's name: with it in the place of the number, the search for a pattern need not wait
    /// until the host is there.
    fn visit_host<V>(
        &self,
        number: u32,
        hash: u64,
        asked: &Asked<'_>,
        visit: &mut V,
    ) -> ControlFlow<usize>
    where
        V: FnMut(Candidate) -> ControlFlow<usize>,
    {
        let Some(host) = self.hosts.get(number as usize) else { return ControlFlow::Continue(()) };
        if let Some(form) = host.form.and_then(|form| self.forms.get(form as usize)) {
            self.visit_form(form, (number, hash), asked, visit)?;
        } else {
            let matching = self.patterns(host.patterns).iter().filter(|p| self.matches(p, asked));
            for pattern in matching {
                pattern.candidates.visit(&self.lists, visit)?;
            }
        }
        let regexes = host.regexes.and_then(|list| self.regexes.get(list as usize));
        let mut regexes = regexes.into_iter().flatten();
        regexes.try_for_each(|(regex, candidate)| match regex.is_match(asked.path) {
            true => visit(*candidate),
            false => ControlFlow::Continue(()),
        })
    }

    /// Looks up one pattern of each shape.
    fn visit_form<V>(
        &self,
        form: &Form,
        host: (u32, u64),
        asked: &Asked<'_>,
        visit: &mut V,
    ) -> ControlFlow<usize>
    where
        V: FnMut(Candidate) -> ControlFlow<usize>,
    {
        if form.has_whole
            && let Some(found) = self.find(host, WHOLE, || [asked.path].into_iter())
        {
            found.visit(&self.lists, visit)?;
        }
        for number in &form.shapes {
            let segments = asked.segments();
            if let Some(shape) = self.shapes.get(*number as usize)
                && shape.fits(segments)
                && let Some(found) = self.find(host, *number, || shape.literals(segments))
            {
                found.visit(&self.lists, visit)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn matches(&self, pattern: &Pattern, asked: &Asked<'_>) -> bool {
        match self.shapes.get(pattern.shape as usize) {
            None => self.text(pattern.literals) == asked.path.as_bytes(),
            Some(shape) => {
                let segments = asked.segments();
                shape.fits(segments) && self.is_text(pattern.literals, shape.literals(segments))
            }
        }
    }

    /// The candidates under the pattern of a host, given by its number and the hash of its name.
    fn find<'a, L>(
        &self,
        (host, host_hash): (u32, u64),
        shape: u32,
        literals: impl Fn() -> L,
    ) -> Option<Candidates>
    where
        L: Iterator<Item = &'a str>,
    {
        let hash = self.hash_pattern(host_hash, shape, literals());
        let number = self.pattern_slots.find(hash, |number| {
            self.patterns.get(number as usize).is_some_and(|pattern| {
                pattern.host == host
                    && pattern.shape == shape
                    && self.is_text(pattern.literals, literals())
            })
        })?;
        self.patterns.get(number as usize).map(|pattern| pattern.candidates)
    }

    fn is_named(&self, host: u32, name: &str) -> bool {
        self.hosts.get(host as usize).is_some_and(|host| self.text(host.name) == name.as_bytes())
    }

    fn is_text<'a>(&self, span: Span, mut pieces: impl Iterator<Item = &'a str>) -> bool {
        let left =
            pieces.try_fold(self.text(span), |left, piece| left.strip_prefix(piece.as_bytes()));
        left.is_some_and(<[u8]>::is_empty)
    }

    fn text(&self, span: Span) -> &[u8] {
        self.text.get(span.range()).unwrap_or_default()
    }

    fn patterns(&self, span: Span) -> &[Pattern] {
        self.patterns.get(span.range()).unwrap_or_default()
    }

    fn hash_host(&self, name: &str) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(name.as_bytes());
        hasher.finish()
    }

    fn hash_pattern<'a>(
        &self,
        host_hash: u64,
        shape: u32,
        literals: impl Iterator<Item = &'a str>,
    ) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write_u64(host_hash ^ u64::from(shape));
        literals.for_each(|literals| hasher.write(literals.as_bytes()));
        hasher.finish()
    }
}

// === impl Span ===

impl Span {
    /// From `start` up to `end`. More than there are numbers would take a config of that size.
    fn between(start: usize, end: usize) -> Self {
        Self { start: start as u32, len: (end - start) as u32 }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

// === impl Asked ===

impl<'p> Asked<'p> {
    /// Found when the first pattern asks that is not a whole path.
    fn segments(&self) -> &Segments<'p> {
        self.segments.get_or_init(|| Segments::of(self.path))
    }
}
