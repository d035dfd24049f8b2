//! Samples as OpenMetrics text, which Prometheus reads.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::telemetry::{Metric, MetricKind, Sample};

/// What `/metrics` says of its text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the samples, those of one metric together, in the order of [`Metric`].
pub(super) fn encode(samples: Vec<Sample>) -> Result<String, fmt::Error> {
    let mut by_metric: BTreeMap<Metric, Vec<Sample>> = BTreeMap::new();
    for sample in samples {
        by_metric.entry(sample.metric).or_default().push(sample);
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(by_metric)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Scrape(BTreeMap<Metric, Vec<Sample>>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (metric, samples) in &self.0 {
            let kind = match metric.kind() {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(metric.name(), metric.help(), None, kind)?;
            for sample in samples {
                if sample.labels.is_empty() {
                    write(&mut family, sample)?;
                } else {
                    write(&mut family.encode_family(&sample.labels)?, sample)?;
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, sample: &Sample) -> Result<(), fmt::Error> {
    match sample.metric.kind() {
        MetricKind::Counter => encoder.encode_counter::<NoLabelSet, _, f64>(&sample.value, None),
        MetricKind::Gauge => encoder.encode_gauge(&sample.value),
    }
}

#[cfg(test)]
mod tests {
    use super::encode;
    use crate::telemetry::{Metric, Sample};

    #[test]
    fn samples_of_one_metric_stand_together_under_its_help() {
        let sample = |metric, labels, value| Sample {
            metric,
            labels,
            value,
        };
        let text = encode(vec![
            sample(Metric::Statements, vec![], 2.0),
            sample(
                Metric::UptimeSeconds,
                vec![("host", "a\"b".to_owned())],
                1.5,
            ),
            sample(Metric::UptimeSeconds, vec![("host", "c".to_owned())], 2.5),
        ])
        .unwrap();
        assert_eq!(
            text,
            "# HELP headwater_uptime_seconds Time since the server started\n\
             # TYPE headwater_uptime_seconds gauge\n\
             headwater_uptime_seconds{host=\"a\\\"b\"} 1.5\n\
             headwater_uptime_seconds{host=\"c\"} 2.5\n\
             # HELP headwater_statements Statements run, failed ones included\n\
             # TYPE headwater_statements counter\n\
             headwater_statements_total 2.0\n\
             # EOF\n"
        );
    }
}
