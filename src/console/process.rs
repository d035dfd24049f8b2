//! Numbers of the process itself: how long it runs and how much memory it holds.

use std::time::Duration;

use crate::clock::SharedClock;
use crate::telemetry::{Metric, Observe, Sample};

/// The process as a source of numbers.
#[derive(Debug)]
pub struct ProcessNumbers {
    clock: SharedClock,
    started: Duration,
}

impl ProcessNumbers {
    /// Counts the time from now.
    pub fn new(clock: SharedClock) -> Self {
        let started = clock.monotonic();
        Self { clock, started }
    }
}

impl Observe for ProcessNumbers {
    fn observe(&self, samples: &mut Vec<Sample>) {
        let uptime = self.clock.monotonic().saturating_sub(self.started);
        samples.push(Sample {
            metric: Metric::UptimeSeconds,
            labels: Vec::new(),
            value: uptime.as_secs_f64(),
        });
        samples.extend(resident_bytes().map(|value| Sample {
            metric: Metric::ResidentBytes,
            labels: Vec::new(),
            value,
        }));
    }
}

/// Where the system tells it (Linux); nothing elsewhere.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0)
}
