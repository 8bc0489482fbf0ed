//! One page of metrics in the making.
//!
//! Called at each scrape: by the handles here, then by the admin layer for what is read rather than counted. Never on
//! the request path.

use std::{collections::BTreeMap, fmt::Write, marker::PhantomData};

use prometheus::{TextEncoder, proto};

use super::{
    histogram::{Bounds, Total, seconds},
    names::{Counter, Family, Gauge, Histogram},
};

/// Families of samples in Prometheus' text format. Their lines are written as the samples come: a thousand routes have
/// so many of them that to hold each as a thing of its own first takes several times as long.
#[derive(Default)]
pub struct Page {
    families: BTreeMap<&'static str, Lines>,
    /// What others have counted. Their names come before all of ours.
    foreign: Vec<proto::MetricFamily>,
}

/// What stands on the page under one name.
struct Lines {
    help: &'static str,
    kind: &'static str,
    samples: String,
}

/// One family on the page, to which samples are added.
pub struct Samples<'a, Kind> {
    name: &'static str,
    text: &'a mut String,
    kind: PhantomData<Kind>,
}

/// Names and values of a sample's labels.
pub type Labels<'a> = [(&'a str, &'a str)];

// === impl Page ===

impl Page {
    /// The `Content-Type` of a rendered page.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    pub fn counter(&mut self, family: &Family<Counter>) -> Samples<'_, Counter> {
        self.samples(family, "counter")
    }

    pub fn gauge(&mut self, family: &Family<Gauge>) -> Samples<'_, Gauge> {
        self.samples(family, "gauge")
    }

    pub(super) fn histogram(&mut self, family: &Family<Histogram>) -> Samples<'_, Histogram> {
        self.samples(family, "histogram")
    }

    /// The page as text, its families in the order of their names.
    ///
    /// # Errors
    /// None that is known; what prometheus' encoder says.
    pub fn render(self) -> prometheus::Result<String> {
        let mut text = TextEncoder::new().encode_to_string(&self.foreign)?;
        text.reserve(self.families.values().map(|lines| lines.samples.len() + 256).sum());
        for (name, Lines { help, kind, samples }) in &self.families {
            if !samples.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
                text.push_str(samples);
            }
        }
        Ok(text)
    }

    pub(super) fn add(&mut self, foreign: Vec<proto::MetricFamily>) {
        self.foreign.extend(foreign);
    }

    /// A family may be named again and again, and still stands once on the page.
    fn samples<Kind>(&mut self, family: &Family<Kind>, kind: &'static str) -> Samples<'_, Kind> {
        let new = || Lines { help: family.help, kind, samples: String::new() };
        let lines = self.families.entry(family.name).or_insert_with(new);
        Samples { name: family.name, text: &mut lines.samples, kind: PhantomData }
    }
}

// === impl Samples ===

impl Samples<'_, Counter> {
    pub fn sample(&mut self, labels: &Labels<'_>, value: u64) -> &mut Self {
        self.line("", labels, None);
        let _ = writeln!(self.text, "{value}");
        self
    }
}

impl Samples<'_, Gauge> {
    pub fn sample(&mut self, labels: &Labels<'_>, value: f64) -> &mut Self {
        self.line("", labels, None);
        let _ = writeln!(self.text, "{value}");
        self
    }
}

impl Samples<'_, Histogram> {
    pub(super) fn sample<const N: usize>(
        &mut self,
        labels: &Labels<'_>,
        bounds: &Bounds<N>,
        total: &Total<N>,
    ) -> &mut Self {
        for (bound, count) in bounds.iter().zip(total.cumulative) {
            self.line("_bucket", labels, Some(seconds(*bound)));
            let _ = writeln!(self.text, "{count}");
        }
        self.line("_bucket", labels, Some(f64::INFINITY));
        let _ = writeln!(self.text, "{}", total.count);
        self.line("_sum", labels, None);
        let _ = writeln!(self.text, "{}", total.sum);
        self.line("_count", labels, None);
        let _ = writeln!(self.text, "{}", total.count);
        self
    }
}

impl<Kind> Samples<'_, Kind> {
    /// Begins a sample's line, up to its value. `le` is the bound of a bucket.
    fn line(&mut self, suffix: &str, labels: &Labels<'_>, le: Option<f64>) {
        self.text.extend([self.name, suffix]);
        let mut before = "{";
        for (name, value) in labels {
            self.text.extend([before, name, "=\""]);
            self.escaped(value);
            self.text.push('"');
            before = ",";
        }
        if let Some(bound) = le {
            let _ = match bound {
                f64::INFINITY => write!(self.text, "{before}le=\"+Inf\""),
                _ => write!(self.text, "{before}le=\"{bound}\""),
            };
            before = ",";
        }
        self.text.push_str(if before == "," { "} " } else { " " });
    }

    fn escaped(&mut self, value: &str) {
        if !value.contains(['\\', '"', '\n']) {
            return self.text.push_str(value);
        }
        for c in value.chars() {
            match c {
                '\n' => self.text.push_str("\\n"),
                '"' | '\\' => self.text.extend(['\\', c]),
                _ => self.text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::names;

    #[test]
    fn a_family_named_twice_stands_once_on_the_page() {
        let mut page = Page::default();
        page.gauge(&names::REGISTRY_UP).sample(&[("registry", "main")], 1.0);
        page.counter(&names::REGISTRY_SESSIONS).sample(&[("registry", "main")], 3);
        page.gauge(&names::REGISTRY_UP).sample(&[("registry", "a \"b\"\n\\")], 0.0);
        assert_eq!(
            page.render().unwrap(),
            "# HELP tollgate_registry_sessions_total Sessions begun with a registry.\n\
             # TYPE tollgate_registry_sessions_total counter\n\
             tollgate_registry_sessions_total{registry=\"main\"} 3\n\
             # HELP tollgate_registry_up 1 while a registry's session is live.\n\
             # TYPE tollgate_registry_up gauge\n\
             tollgate_registry_up{registry=\"main\"} 1\n\
             tollgate_registry_up{registry=\"a \\\"b\\\"\\n\\\\\"} 0\n"
        );
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        let mut page = Page::default();
        page.gauge(&names::REGISTRY_UP);
        assert_eq!(page.render().unwrap(), "");
    }
}
