//! Numbers of the running queries: those that have a name, views and sinks.

use crate::clock::SharedClock;
use crate::engine::{Engine, PartitionStatus, QueryKind, QueryShared, QueryState};
use crate::telemetry::{Metric, Observe, Sample};
use crate::types::{EventTime, InputPartition};

/// The engine's queries as a source of numbers.
#[derive(Debug)]
pub struct QueryNumbers {
    engine: Engine,
    clock: SharedClock,
}

impl QueryNumbers {
    /// Shows the queries of this engine.
    pub fn new(engine: Engine, clock: SharedClock) -> Self {
        Self { engine, clock }
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn observe_one(&self, query: &QueryShared, samples: &mut Vec<Sample>) {
        let status = query.status();
        let is_running = matches!(status.state, QueryState::Running);
        let delay_us = status
            .watermark
            .map(|watermark| self.clock.now().0 - watermark.0);
        let numbers = [
            (Metric::QueryRunning, Some(f64::from(u8::from(is_running)))),
            (Metric::QueryRowsIn, Some(status.rows_in as f64)),
            (Metric::QueryRowsUsed, Some(status.rows_used as f64)),
            (Metric::QueryRowsRejected, Some(status.rows_rejected as f64)),
            (Metric::QueryRowsLate, Some(status.rows_late as f64)),
            (Metric::QueryRowsOut, Some(status.rows_out as f64)),
            (Metric::QueryRowsFailed, Some(status.rows_failed as f64)),
            (
                Metric::QueryLagMessages,
                status.reads().then(|| status.lag() as f64),
            ),
            (
                Metric::QueryWatermarkDelaySeconds,
                delay_us.map(|us| us as f64 / 1e6),
            ),
            (
                Metric::QueryRowsInPerSecond,
                Some(status.rows_in_per_second),
            ),
            (
                Metric::QueryRowsOutPerSecond,
                Some(status.rows_out_per_second),
            ),
            (
                Metric::QueryNextCloseSeconds,
                status.next_close.map(|(_, at)| at.0 as f64 / 1e6),
            ),
            (Metric::QuerySinkBacklog, Some(status.sink_backlog as f64)),
            (
                Metric::QueryCheckpointPauseSeconds,
                Some(status.checkpoint_pause_max.as_secs_f64()),
            ),
            (Metric::QueryStateRows, Some(status.state_rows as f64)),
            (Metric::QueryStateBytes, Some(status.state_bytes as f64)),
        ];
        for (metric, value) in numbers {
            samples.extend(value.map(|value| Sample {
                metric,
                labels: vec![("query", query.name.clone())],
                value,
            }));
        }
        self.observe_alert(query, samples);
        for (place, partition) in &status.partitions {
            observe_partition(query, *place, partition, samples);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn observe_alert(&self, query: &QueryShared, samples: &mut Vec<Sample>) {
        let Some(alert) = self.engine.alert(&query.name) else {
            return;
        };
        let (pending, firing) = alert.counts();
        let numbers = [
            (Metric::AlertKeysPending, pending),
            (Metric::AlertKeysFiring, firing),
        ];
        samples.extend(numbers.map(|(metric, keys)| Sample {
            metric,
            labels: vec![("query", query.name.clone())],
            value: keys as f64,
        }));
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn observe_partition(
    query: &QueryShared,
    place: InputPartition,
    status: &PartitionStatus,
    samples: &mut Vec<Sample>,
) {
    let seconds = |time: Option<EventTime>| time.map(|time| time.0 as f64 / 1e6);
    let table = query.tables.get(place.input).cloned().unwrap_or_default();
    let numbers = [
        (
            Metric::PartitionLagMessages,
            status.lag().map(|lag| lag as f64),
        ),
        (
            Metric::PartitionEventTimeSeconds,
            seconds(status.greatest_event),
        ),
        (Metric::PartitionWatermarkSeconds, seconds(status.watermark)),
        (
            Metric::PartitionIdle,
            Some(f64::from(u8::from(status.idle))),
        ),
    ];
    for (metric, value) in numbers {
        samples.extend(value.map(|value| Sample {
            metric,
            labels: vec![
                ("query", query.name.clone()),
                ("table", table.clone()),
                ("partition", place.partition.0.to_string()),
            ],
            value,
        }));
    }
}

impl Observe for QueryNumbers {
    fn observe(&self, samples: &mut Vec<Sample>) {
        let queries = self.engine.queries();
        let live = queries.iter().filter(|query| {
            query.kind == QueryKind::Live
                && !matches!(
                    query.status().state,
                    QueryState::Finished | QueryState::Failed
                )
        });
        #[expect(clippy::cast_precision_loss, reason = "a number of queries")]
        let live = live.count() as f64;
        samples.push(Sample {
            metric: Metric::LiveQueries,
            labels: Vec::new(),
            value: live,
        });
        for query in queries.iter().filter(|query| query.kind != QueryKind::Live) {
            self.observe_one(query, samples);
        }
    }
}
