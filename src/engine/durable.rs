//! What a query hands to its checkpoints, and how it goes on from one.
//!
//! Invariant: a query that goes on from a checkpoint gives what the one that wrote it would have given.

use std::collections::BTreeMap;

use super::query::Query;
use super::status::QueryStatus;
use crate::checkpoint::{Checkpoint, InputMark, PartitionMark};
use crate::error::Result;
use crate::types::{EventTime, StateImage, Watermark};

/// Numbers that go on counting, under the names that they have in a checkpoint.
type Counter = (&'static str, fn(&mut QueryStatus) -> &mut u64);

const COUNTERS: [Counter; 9] = [
    ("rows_in", |status| &mut status.rows_in),
    ("rows_used", |status| &mut status.rows_used),
    ("rows_rejected", |status| &mut status.rows_rejected),
    ("rows_late", |status| &mut status.rows_late),
    ("rows_passed", |status| &mut status.rows_passed),
    ("rows_closed", |status| &mut status.rows_closed),
    ("rows_out", |status| &mut status.rows_out),
    ("rows_failed", |status| &mut status.rows_failed),
    ("bytes_in", |status| &mut status.bytes_in),
    ("replayed", |status| &mut status.replayed),
];

impl Query {
    /// All that the query holds after the epoch that ends. The state's next image builds on this one.
    pub(super) fn checkpoint(&mut self) -> Result<Checkpoint> {
        let mut state = StateImage {
            is_whole: std::mem::take(&mut self.whole),
            ..Default::default()
        };
        self.emitter.image(&mut self.lanes, &mut state)?;
        self.output.image(&mut state)?;
        let mut status = self.shared.status();
        let counters = COUNTERS.iter();
        let counters = counters.map(|(name, of)| ((*name).to_owned(), *of(&mut status)));
        Ok(Checkpoint {
            epoch: self.epochs,
            text: self.plan.text.clone(),
            lanes: self.lanes.len(),
            inputs: self.input_marks(),
            watermark: self.watermarks.current().0.0,
            left: self.left,
            counters: counters.collect(),
            state,
        })
    }

    fn input_marks(&self) -> Vec<InputMark> {
        let mark = |source: &crate::plan::SourcePlan| InputMark {
            topic: source.scan.topic.clone(),
            ..Default::default()
        };
        let mut inputs: Vec<InputMark> = self.sources.iter().map(|source| mark(source)).collect();
        for (place, status) in &self.partitions {
            let Some(next) = status.next else { continue };
            let watermark = self.watermarks.of(*place);
            let partition = PartitionMark {
                next,
                watermark: (watermark > Watermark::MIN).then_some(watermark.0.0),
                greatest_event: status.greatest_event.map(|event| event.0),
            };
            inputs[place.input]
                .partitions
                .insert(place.partition, partition);
        }
        inputs
    }

    /// Writes down where a query begins that goes on from nothing; `epoch` is the one before its first.
    pub(super) fn note_begin(&mut self, epoch: u64) -> Result<()> {
        self.epochs = epoch;
        if !self.output.is_durable() {
            return Ok(());
        }
        let checkpoint = self.checkpoint()?;
        self.output.begin(&checkpoint)
    }

    /// Goes on from a checkpoint.
    pub(super) fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.emitter.restore(&mut self.lanes, &checkpoint.state)?;
        self.watermarks
            .resume(Watermark(EventTime(checkpoint.watermark)));
        for (place, status) in &mut self.partitions {
            let input = checkpoint.inputs.get(place.input);
            let mark = input.and_then(|input| input.partitions.get(&place.partition));
            let Some(mark) = mark else { continue };
            status.greatest_event = mark.greatest_event.map(EventTime);
            if let Some(watermark) = mark.watermark {
                self.watermarks
                    .resume_partition(*place, Watermark(EventTime(watermark)));
            }
        }
        self.left = checkpoint.left;
        self.epochs = checkpoint.epoch;
        let counters: &BTreeMap<String, u64> = &checkpoint.counters;
        self.shared.update(|status| {
            for (name, of) in COUNTERS {
                *of(status) = counters.get(name).copied().unwrap_or(0);
            }
            status.epochs = checkpoint.epoch;
        });
        Ok(())
    }
}
