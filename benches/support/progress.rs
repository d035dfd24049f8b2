//! What a query had spent when it had read so many rows.

use std::time::Duration;

/// Rows read, and the time or the processor time that was spent by then, after each micro-batch.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) points: Vec<(u64, Duration)>,
}

impl Progress {
    /// Notes where the query stands.
    pub(crate) fn note(&mut self, rows: u64, spent: Duration) {
        if self.points.last().is_none_or(|(last, _)| rows > *last) {
            self.points.push((rows, spent));
        }
    }

    /// What was spent between two numbers of rows, and how many rows that really were.
    pub(crate) fn between(&self, from: u64, to: u64) -> (u64, Duration) {
        let at = |rows| self.points.iter().find(|(read, _)| *read >= rows).unwrap();
        let ((first, before), (last, after)) = (at(from), at(to));
        (last - first, *after - *before)
    }
}
