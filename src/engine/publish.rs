//! What a query tells of itself while it runs, and whether it keeps within its memory.

use std::time::Duration;

use super::budget;
use super::input::Collected;
use super::lane::Counted;
use super::query::Query;
use super::report::Report;
use crate::error::Result;
use crate::operator::Refusals;
use crate::types::Watermark;

/// How often it is told with whom a query reads: that takes locks that all who read along take.
const TELL_SCANS_EVERY: Duration = Duration::from_millis(100);

impl Query {
    /// Tells what a micro-batch has added.
    pub(super) fn publish(
        &mut self,
        counted: Counted,
        (emitted, refusals): (u64, Refusals),
        input: Option<&Collected>,
    ) {
        let now = self.surroundings.clock.now();
        let monotonic = self.surroundings.clock.monotonic();
        self.untold.rate_in.add(monotonic, counted.messages);
        self.untold.rate_out.add(monotonic, emitted);
        for (id, state) in self.watermarks.partitions() {
            let status = self.partitions.entry(id).or_default();
            status.watermark = (state.watermark > Watermark::MIN).then_some(state.watermark.0);
            status.idle = state.idle;
            status.at_end = state.at_end;
            status.idle_timeout = self.sources[id.input].idle_timeout;
            status.silent_since.get_or_insert(now);
        }
        self.untold.note_ends(monotonic, &self.partitions);
        let scans = self.scans_told.is_due(monotonic).then(|| {
            self.scans_told.done(monotonic);
            self.scans_told.set_interval(TELL_SCANS_EVERY);
            self.inputs.scans()
        });
        if let Some(scans) = &scans {
            let reading = scans.iter().map(|scan| scan.queries);
            self.reading = reading.max().unwrap_or(1).max(1);
        }
        let watermark = self.watermarks.current();
        let report = Report {
            now,
            counted,
            emitted,
            closed: self.emitter.take_closed(),
            watermark: (watermark > Watermark::MIN).then_some(watermark.0),
            held: self.held,
            rates: (
                self.untold.rate_in.per_second(monotonic),
                self.untold.rate_out.per_second(monotonic),
            ),
            added_per_second: self.untold.rate_ends.per_second(monotonic),
            backlog: self.output.backlog(),
            scans,
            next_close: self.emitter.next_close(&self.lanes),
            rejection: self.untold.rejection.take(),
            refusals,
            problem: input.and_then(|input| Some(input.problems.last()?.1.message.clone())),
            answered: counted.messages > 0 || input.is_some_and(|input| !input.ends.is_empty()),
            partitions: &self.partitions,
        };
        self.untold.log_trouble(
            &self.shared.name,
            report.problem.as_deref(),
            report.answered,
        );
        self.shared.update(|status| report.tell(status));
    }

    /// Measures the groups from time to time, the first ones at once, and holds them to the budget.
    pub(super) fn measure(&mut self) -> Result<()> {
        let now = self.surroundings.clock.monotonic();
        let is_first = self.held.0 == 0 && self.plan.aggregate.is_some();
        if !is_first && !self.measure.is_due(now) {
            return Ok(());
        }
        self.measure.done(now);
        self.unmeasured = false;
        let aggregates = || self.emitter.aggregates(&self.lanes);
        let groups: usize = aggregates().map(|a| a.groups()).sum();
        let bytes: usize = aggregates().map(|a| a.size_bytes()).sum();
        self.held = (groups as u64, bytes as u64);
        let budget = self.surroundings.state_bytes_max;
        let (plan, shared) = (&self.plan, &self.shared);
        if self.held.1 > budget {
            return Err(budget::exceeded(plan, shared, self.held, budget));
        }
        let all = self.held.1.saturating_add(self.output.held_bytes());
        let held = self.share.hold(all);
        held.map_err(|too_much| budget::all_exceeded(plan, shared, all, too_much))
    }
}
