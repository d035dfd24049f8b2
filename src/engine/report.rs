//! What a micro-batch adds to what a query says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lane::Counted;
use super::rate::Rate;
use super::status::{PartitionStatus, QueryState, QueryStatus, ScanStatus};
use crate::operator::Refusals;
use crate::types::{EventTime, InputPartition, ProcessingTime, WindowSpan};

/// What is told with the next report.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Messages a second.
    pub rate_in: Rate,
    /// Rows a second.
    pub rate_out: Rate,
    /// Messages a second that are added to the topics, as far as their ends are told.
    pub rate_ends: Rate,
    /// True while no broker answers.
    in_trouble: bool,
    /// The sum of the ends that were told last.
    ends: Option<u64>,
    /// Why the last message was rejected.
    pub rejection: Option<String>,
}

impl Untold {
    /// Logs when a broker does not answer any more, and when it does again.
    pub(super) fn log_trouble(&mut self, query: &str, trouble: Option<&str>, answered: bool) {
        match trouble {
            Some(trouble) if !self.in_trouble => {
                tracing::warn!(query, %trouble, "the broker does not answer; the query waits, and goes on by itself");
                self.in_trouble = true;
            }
            None if answered && self.in_trouble => {
                tracing::info!(query, "the broker answers again");
                self.in_trouble = false;
            }
            Some(_) | None => {}
        }
    }

    /// Notes how far the topics' ends have moved.
    pub(super) fn note_ends(
        &mut self,
        now: Duration,
        partitions: &BTreeMap<InputPartition, PartitionStatus>,
    ) {
        let ends = partitions.values().filter_map(PartitionStatus::last_end);
        let ends: u64 = ends.map(|end| u64::try_from(end.0).unwrap_or(0)).sum();
        let before = self.ends.replace(ends).unwrap_or(ends);
        self.rate_ends.add(now, ends.saturating_sub(before));
    }
}

/// One micro-batch's part.
pub(super) struct Report<'a> {
    pub now: ProcessingTime,
    pub counted: Counted,
    /// Rows that went out.
    pub emitted: u64,
    /// Rows of windows that have closed, before HAVING.
    pub closed: u64,
    /// Why the last message was rejected.
    pub rejection: Option<String>,
    /// Rows of the result that are none.
    pub refusals: Refusals,
    pub watermark: Option<EventTime>,
    /// Groups held, and their bytes.
    pub held: (u64, u64),
    /// Rows a second, in and out.
    pub rates: (f64, f64),
    /// Messages a second that are added to its topics.
    pub added_per_second: f64,
    pub backlog: u64,
    /// By whom its messages are read, if that is told anew.
    pub scans: Option<Vec<ScanStatus>>,
    /// The window that closes next, and the watermark at which it does.
    pub next_close: Option<(WindowSpan, EventTime)>,
    /// Trouble with the broker that passes by itself.
    pub problem: Option<String>,
    /// True when a broker has answered.
    pub answered: bool,
    pub partitions: &'a BTreeMap<InputPartition, PartitionStatus>,
}

impl Report<'_> {
    /// Adds it to the query's numbers.
    pub(super) fn tell(self, status: &mut QueryStatus) {
        let counted = self.counted;
        status.state = QueryState::Running;
        status.rows_in += counted.messages;
        status.rows_rejected += counted.rejected;
        status.rows_late += counted.late;
        status.rows_used += counted.messages - counted.rejected - counted.late;
        status.rows_passed += counted.passed - counted.late;
        status.rows_closed += self.closed;
        status.rows_out += self.emitted;
        status.rows_failed += self.refusals.count;
        if let Some(error) = self.refusals.last {
            status.last_failure = Some(error.to_string());
        }
        status.bytes_in += counted.bytes;
        status.watermark = self.watermark;
        status.micro_batches += 1;
        (status.state_rows, status.state_bytes) = self.held;
        (status.rows_in_per_second, status.rows_out_per_second) = self.rates;
        status.added_per_second = self.added_per_second;
        status.sink_backlog = self.backlog;
        if let Some(scans) = self.scans {
            status.scans = scans;
        }
        status.next_close = self.next_close;
        if counted.messages > 0 {
            status.last_rows_at = Some(self.now);
        }
        if self.emitted > 0 {
            status.last_out_at = Some(self.now);
        }
        if self.rejection.is_some() {
            status.last_rejection = self.rejection;
        }
        if self.problem.is_some() {
            status.last_problem.clone_from(&self.problem);
            status.trouble = self.problem;
            status.trouble_since.get_or_insert(self.now);
        } else if self.answered {
            (status.trouble, status.trouble_since) = (None, None);
        }
        status.partitions.clone_from(self.partitions);
        status.note_holder(self.now);
    }
}
