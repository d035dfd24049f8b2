//! The ends of a query's epochs: what it hands to its checkpoints, and how it goes on from one.
//!
//! Invariant: a query that goes on from a checkpoint gives what the one that wrote it would have given.

use std::collections::{BTreeMap, BTreeSet};

use super::query::Query;
use super::status::QueryStatus;
use crate::checkpoint::{Checkpoint, InputMark, PartitionMark};
use crate::error::Result;
use crate::types::{EventTime, InputPartition, Offset, StateImage, Watermark};

/// What is told of an epoch when it lasts.
pub(super) struct UnderWay {
    /// How far each partition was read when it ended.
    reached: BTreeMap<InputPartition, Option<Offset>>,
    /// True when a replay is part of it.
    has_replay: bool,
}

/// Under this name a checkpoint has the number of the process that commits its epoch. That of a query that
/// has yet to begin has none: the sink's epoch then is an earlier query's.
pub(super) const WRITER: &str = "writer";

/// Numbers that go on counting, under the names that they have in a checkpoint.
type Counter = (&'static str, fn(&mut QueryStatus) -> &mut u64);

const COUNTERS: [Counter; 10] = [
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
        let mut told = self.ahead.take();
        self.emitter.image(&mut self.lanes, &mut state)?;
        self.output.image(&mut state)?;
        if !told.is_empty() {
            let there: BTreeSet<_> = state.tables.iter().collect();
            told.retain(|rows| there.contains(&rows.table));
            told.append(&mut state.rows);
            state.rows = told;
        }
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
        let inputs = self.sources.iter().zip(&self.topic_ids);
        let mark = inputs.map(|(source, id)| InputMark {
            topic: source.scan.topic.clone(),
            topic_id: id.clone(),
            ..Default::default()
        });
        let mut inputs: Vec<InputMark> = mark.collect();
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
        let committer = self.output.committer();
        committer.map_or(Ok(()), |committer| committer.begin(checkpoint))
    }

    /// Ends an epoch, unless nothing came in it or one is still on its way: what was staged lasts when
    /// [`Self::note_epoch`] says so.
    fn end_epoch(&mut self) -> Result<()> {
        if !self.dirty || self.under_way.is_some() {
            return Ok(());
        }
        self.epochs += 1;
        self.rows_not_sent = self.aside.settle(self.shared.flush_wanted())?;
        self.dirty = false;
        let now = self.surroundings.clock.monotonic();
        self.epoch.done(now);
        self.renew.done(now);
        self.flush.done(now);
        self.note_replayed();
        let reached = self.partitions.iter();
        self.under_way = Some(UnderWay {
            reached: reached.map(|(place, s)| (*place, s.next)).collect(),
            has_replay: self.is_replaying(),
        });
        if !self.output.is_durable() {
            return self.tell_epoch();
        }
        let mut checkpoint = self.checkpoint()?;
        let writer = self.surroundings.writer;
        checkpoint.counters.insert(WRITER.to_owned(), writer);
        if let Some(committer) = self.output.committer() {
            committer.hand(checkpoint);
        }
        Ok(())
    }

    /// Ends the epoch if that is due, or does a part of what that takes. A micro-batch of `rows` was the
    /// last one.
    pub(super) fn may_end_epoch(&mut self, rows: u64) -> Result<()> {
        let began = self.surroundings.clock.monotonic();
        self.dirty |= self.renew.is_due(began) || self.output.is_urgent();
        let at_once = self.is_flush_due(began) || self.is_replaying();
        if self.dirty && at_once {
            return self.finish_epoch();
        }
        let is_urgent = self.output.is_urgent();
        if !is_urgent && !self.epoch.is_due(began) && !self.is_filled() {
            return Ok(());
        }
        if is_urgent || self.image_ahead(rows)? {
            self.end_epoch()?;
        }
        let pause = self.surroundings.clock.monotonic().saturating_sub(began);
        if pause > self.checkpoint_pause_max {
            self.checkpoint_pause_max = pause;
            self.shared
                .update(|status| status.checkpoint_pause_max = pause);
        }
        Ok(())
    }

    /// Whether only the epoch's end makes room where its rows go.
    fn is_filled(&self) -> bool {
        let stopping = || self.shared.stopping();
        self.under_way.is_none() && self.output.is_filled(stopping)
    }

    /// Takes down a part of what the epoch's end must tell, so that the end itself is short however many
    /// groups have changed; true when the rest is small. A micro-batch of `rows` was the last one.
    fn image_ahead(&mut self, rows: u64) -> Result<bool> {
        if !self.dirty || self.under_way.is_some() || !self.output.is_durable() {
            return Ok(true);
        }
        // The micro-batches that come until the epoch ends have no more rows.
        let rows_max = self.surroundings.read_max.0 * self.lanes.len();
        let rows = usize::try_from(rows).map_or(rows_max, |rows| rows.min(rows_max));
        let mut left = rows.saturating_add(self.surroundings.image_groups);
        let image = self.ahead.begin();
        self.emitter
            .image_ahead(&mut self.lanes, image, &mut left)?;
        if !self.whole {
            self.output.image_ahead(image, &mut left)?;
        }
        Ok(left > 0 || self.ahead.is_long())
    }

    /// The same for everything that was staged so far, and it lasts when this returns.
    pub(super) fn finish_epoch(&mut self) -> Result<()> {
        self.await_epoch()?;
        self.end_epoch()?;
        self.await_epoch()
    }

    fn await_epoch(&mut self) -> Result<()> {
        if let Some(committer) = self.output.committer()
            && committer.wait()?
        {
            self.tell_epoch()?;
        }
        Ok(())
    }

    /// Notes that the epoch on its way lasts, if it does by now.
    ///
    /// # Errors
    /// When it could not be made to last.
    pub(super) fn note_epoch(&mut self) -> Result<()> {
        if let Some(committer) = self.output.committer()
            && committer.take_done()?
        {
            self.tell_epoch()?;
        }
        Ok(())
    }

    /// The epoch on its way lasts.
    fn tell_epoch(&mut self) -> Result<()> {
        let Some(under_way) = self.under_way.take() else {
            return Ok(());
        };
        if under_way.has_replay {
            self.replays_committed()?;
        }
        for (place, next) in under_way.reached {
            self.partitions.entry(place).or_default().committed = next;
        }
        self.groups.tell(&self.partitions);
        let (epochs, not_sent) = (self.epochs, self.rows_not_sent);
        self.shared.update(|status| {
            status.epochs = epochs;
            status.rows_not_sent = not_sent;
            status.partitions.clone_from(&self.partitions);
        });
        Ok(())
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
