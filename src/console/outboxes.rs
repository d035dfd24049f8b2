//! Numbers of the outboxes: what waits for slow destinations.

use std::sync::Arc;

use crate::clock::SharedClock;
use crate::sink::outbox::{OutboxName, OutboxState, Outboxes};
use crate::telemetry::{Metric, Observe, Sample};

/// A server's outboxes as a source of numbers.
#[derive(Debug)]
pub struct OutboxNumbers {
    outboxes: Arc<Outboxes>,
    clock: SharedClock,
}

impl OutboxNumbers {
    /// Shows these.
    pub fn new(outboxes: Arc<Outboxes>, clock: SharedClock) -> Self {
        Self { outboxes, clock }
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn observe_one(&self, name: &OutboxName, state: &OutboxState, samples: &mut Vec<Sample>) {
        let waited = |since: i64| (self.clock.now().0 - since).max(0) as f64 / 1e6;
        let numbers = [
            (Metric::OutboxWaiting, Some(state.waiting as f64)),
            (Metric::OutboxWaitingBytes, Some(state.waiting_bytes as f64)),
            (
                Metric::OutboxOldestSeconds,
                state.oldest_at.map(|at| waited(at.0)),
            ),
            (Metric::OutboxDelivered, Some(state.delivered as f64)),
            (Metric::OutboxRetried, Some(state.retried as f64)),
            (Metric::OutboxDead, Some(state.dead as f64)),
        ];
        let sink = name.sink.as_ref().unwrap_or(&name.query);
        for (metric, value) in numbers {
            samples.extend(value.map(|value| Sample {
                metric,
                labels: vec![("query", name.query.clone()), ("sink", sink.clone())],
                value,
            }));
        }
    }
}

impl Observe for OutboxNumbers {
    fn observe(&self, samples: &mut Vec<Sample>) {
        for (name, state) in self.outboxes.states() {
            self.observe_one(&name, &state, samples);
        }
    }
}
