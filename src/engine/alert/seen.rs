//! What a micro-batch was made of, as far as an alert tells it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Seen;
use crate::engine::input::Collected;
use crate::engine::lane::Counted;
use crate::engine::output::Output;
use crate::engine::query::Query;
use crate::types::{InputPartition, Offset};

/// How far each partition was read before a micro-batch.
pub(in crate::engine) type Positions = BTreeMap<InputPartition, Option<Offset>>;

impl Query {
    /// How far each partition is read, if that is to be told.
    pub(in crate::engine) fn positions(&self) -> Option<Positions> {
        let read = self.partitions.iter();
        matches!(self.output, Output::Alert { .. })
            .then(|| read.map(|(place, status)| (*place, status.next)).collect())
    }

    /// Tells an alert what the micro-batch was made of whose rows it is about to see.
    pub(in crate::engine) fn note_seen(
        &mut self,
        before: Option<&Positions>,
        counted: &Counted,
        input: &Collected,
    ) {
        let (Some(before), Output::Alert { stage, .. }) = (before, &mut self.output) else {
            return;
        };
        // One whose broker does not answer is not at its end: nobody knows what came.
        let is_caught_up = self.watermarks.partitions().all(|(_, state)| state.at_end);
        let greatest = || self.partitions.values().filter_map(|p| p.greatest_event);
        stage.note(Seen {
            is_silent: counted.messages == 0 && is_caught_up && input.problems.is_empty(),
            now: self.surroundings.clock.monotonic(),
            earliest: greatest().min(),
            latest: greatest().max(),
            offsets: (counted.messages > 0).then(|| {
                let mut tables = Map::new();
                for (place, status) in &self.partitions {
                    let from = before.get(place).copied().flatten();
                    let (from, Some(next)) = (from.map_or(0, |from| from.0), status.next) else {
                        continue;
                    };
                    if next.0 <= from {
                        continue;
                    }
                    let table = self.sources[place.input].scan.table.clone();
                    let table = tables.entry(table).or_insert_with(|| json!({}));
                    if let Value::Object(partitions) = table {
                        let range = json!([from, next.0 - 1]);
                        partitions.insert(place.partition.0.to_string(), range);
                    }
                }
                Value::Object(tables).to_string()
            }),
        });
    }
}
