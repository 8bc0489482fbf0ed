//! One page of metrics in the making.
//!
//! Called at each scrape: by the handles here, then by the admin layer for what is read rather than counted. Never on
//! the request path.

use prometheus::{TextEncoder, proto};

use super::{
    histogram,
    names::{Counter, Family, Gauge, Histogram},
};

/// Families of samples, to be rendered in Prometheus' text format.
#[derive(Default)]
pub struct Page {
    families: Vec<proto::MetricFamily>,
}

/// One family on the page, to which samples are added.
pub struct Samples<'a, Kind> {
    samples: &'a mut Vec<proto::Metric>,
    kind: std::marker::PhantomData<Kind>,
}

/// Names and values of a sample's labels.
pub type Labels<'a> = [(&'a str, &'a str)];

// === impl Page ===

impl Page {
    /// The `Content-Type` of a rendered page.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    pub fn counter(&mut self, family: &Family<Counter>) -> Samples<'_, Counter> {
        self.samples(family, proto::MetricType::COUNTER)
    }

    pub fn gauge(&mut self, family: &Family<Gauge>) -> Samples<'_, Gauge> {
        self.samples(family, proto::MetricType::GAUGE)
    }

    pub(super) fn histogram(&mut self, family: &Family<Histogram>) -> Samples<'_, Histogram> {
        self.samples(family, proto::MetricType::HISTOGRAM)
    }

    /// The page as text, its families in the order of their names.
    ///
    /// # Errors
    /// None that is known; what the encoder says.
    pub fn render(mut self) -> prometheus::Result<String> {
        self.families.retain(|family| !family.get_metric().is_empty());
        self.families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&self.families)
    }

    pub(super) fn from_families(families: Vec<proto::MetricFamily>) -> Self {
        Self { families }
    }

    pub(super) fn into_families(self) -> Vec<proto::MetricFamily> {
        self.families
    }

    /// A family may be named again and again, and still stands once on the page.
    fn samples<Kind>(
        &mut self,
        family: &Family<Kind>,
        kind: proto::MetricType,
    ) -> Samples<'_, Kind> {
        let known = self.families.iter().position(|known| known.name() == family.name);
        let index = known.unwrap_or_else(|| {
            let mut new = proto::MetricFamily::default();
            new.set_name(family.name.into());
            new.set_help(family.help.into());
            new.set_field_type(kind);
            self.families.push(new);
            self.families.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed on the lines above")]
        let samples = self.families[index].mut_metric();
        Samples { samples, kind: std::marker::PhantomData }
    }
}

// === impl Samples ===

impl Samples<'_, Counter> {
    pub fn sample(&mut self, labels: &Labels<'_>, value: u64) -> &mut Self {
        let mut counter = proto::Counter::default();
        counter.set_value(value as f64);
        self.metric(labels).set_counter(counter);
        self
    }
}

impl Samples<'_, Gauge> {
    pub fn sample(&mut self, labels: &Labels<'_>, value: f64) -> &mut Self {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        self.metric(labels).set_gauge(gauge);
        self
    }
}

impl Samples<'_, Histogram> {
    pub(super) fn sample<const N: usize>(
        &mut self,
        labels: &Labels<'_>,
        histogram: &histogram::Histogram<N>,
    ) -> &mut Self {
        self.metric(labels).set_histogram(histogram.collect());
        self
    }
}

impl<Kind> Samples<'_, Kind> {
    fn metric(&mut self, labels: &Labels<'_>) -> &mut proto::Metric {
        let labels = labels.iter().map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value((*value).into());
            pair
        });
        self.samples.push_mut(proto::Metric::from_label(labels.collect()))
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
