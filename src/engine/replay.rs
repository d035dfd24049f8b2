//! `REPLAY DEAD LETTERS`: messages that queries have read past are handed to them once more.
//!
//! ```text
//! Engine::replay ─► SetAside (durable) ─► Query::replay, in one micro-batch ─► note, checkpoint, done
//! ```
//! Invariants: a query takes a replay in one epoch, and its checkpoint says so. Where it reads does not
//! move. Messages in = rows used + rejected + late, for those that come again too.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::buffer::MutableBuffer;

use super::lane::{LaneOutput, Rejection};
use super::query::Query;
use super::set_aside::{Again, Begun, Given, Outcome};
use super::shared_scan::Fetched;
use super::status::{QueryShared, QueryState};
use super::{Control, Engine, QueryKind};
use crate::crash_point;
use crate::error::Result;
use crate::plan::ScanSpec;
use crate::scan::Decode;
use crate::task;
use crate::types::{InputPartition, Message, MessageBatch, Offset, PartitionId, Span};

/// Bytes of one batch of messages that come again, or a little more.
const BATCH_BYTES: usize = 8 << 20;

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Messages that were run again.
    pub messages: usize,
    /// Those of them that are still kept.
    pub rejected: usize,
    /// Messages that were kept only in part, and that the topic does not have any more.
    pub cut: usize,
    /// Queries that take them when they go on, and what they do now.
    pub waiting: Vec<(String, &'static str)>,
}

impl Engine {
    /// Runs kept messages of a table again, in every created query that has read past them; waits
    /// until those have them in an epoch that lasts. `spec`: all columns of the table.
    ///
    /// # Errors
    /// A disk or a broker that refuses.
    pub async fn replay(
        &self,
        spec: ScanSpec,
        places: Vec<(PartitionId, Offset)>,
    ) -> Result<Replayed> {
        let engine = self.clone();
        let begin = move || engine.begin_replay(&spec, &places);
        let (begun, mut replayed, numbers) = task::spawn_blocking(begin).await?;
        for query in &begun.queries {
            if let Some((shared, control)) = self.find(query)
                && let Some(state) = self.taken(&shared, &control).await
            {
                replayed.waiting.push((query.clone(), state));
            }
        }
        replayed.rejected = self.inner.set_aside.still_kept(&numbers);
        Ok(replayed)
    }

    fn begin_replay(
        &self,
        spec: &ScanSpec,
        places: &[(PartitionId, Offset)],
    ) -> Result<(Begun, Replayed, Vec<u64>)> {
        let set_aside = &self.inner.set_aside;
        let mut letters = set_aside.letters_at(&spec.table, places)?;
        // A table of that name may have had another topic.
        letters.retain(|(_, letter)| letter.topic == spec.topic);
        let cut = super::replay_source::complete(spec, &mut letters)?;
        let messages: Vec<&Rejection> = letters.iter().map(|(_, letter)| &letter.message).collect();
        let still = still_no_rows(spec, &messages)?;
        let again = letters.into_iter().zip(still);
        let again: Vec<Again> = again
            .map(|((number, letter), still)| Again {
                number,
                letter,
                still,
            })
            .collect();
        let numbers: Vec<u64> = again.iter().map(|again| again.number).collect();
        let replayed = Replayed {
            messages: again.len(),
            cut,
            ..Replayed::default()
        };
        if again.is_empty() {
            let queries = BTreeSet::new();
            return Ok((Begun { queries }, replayed, numbers));
        }
        let begun = set_aside.begin_replay(&again, self.inner.options.clock.now())?;
        Ok((begun, replayed, numbers))
    }

    /// Waits until a query has done with what it is given; what it does instead, if it does not.
    async fn taken(
        &self,
        shared: &Arc<QueryShared>,
        control: &Arc<Control>,
    ) -> Option<&'static str> {
        let mut changes = shared.watch();
        control.wake();
        while self.inner.set_aside.is_replaying(&shared.name) {
            let state = shared.status().state;
            let stands = match state {
                QueryState::Failed | QueryState::Finished => true,
                QueryState::Paused | QueryState::Retrying => true,
                QueryState::Starting | QueryState::Running => shared.is_paused(),
            };
            if stands || changes.changed().await.is_err() {
                return Some(state.name());
            }
        }
        None
    }
}

/// Why each message is no row of all the table's columns; `None`: it is one.
fn still_no_rows(spec: &ScanSpec, messages: &[&Rejection]) -> Result<Vec<Option<String>>> {
    let mut still = vec![None; messages.len()];
    let mut decode = Decode::try_new(spec)?;
    let mut before = 0;
    for batch in batches(messages) {
        for rejected in decode.decode(&batch)?.rejected {
            still[before + rejected.message] = Some(rejected.reason);
        }
        before += batch.messages.len();
    }
    Ok(still)
}

/// Messages as a source would give them.
fn batches(messages: &[&Rejection]) -> Vec<MessageBatch> {
    let mut batches = Vec::new();
    let mut rest = messages;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().position(|message| {
            let full = bytes > BATCH_BYTES;
            bytes += message.payload.as_ref().map_or(0, Vec::len);
            full
        });
        let (now, later) = rest.split_at(fits.unwrap_or(rest.len()));
        batches.push(batch(now));
        rest = later;
    }
    batches
}

fn batch(messages: &[&Rejection]) -> MessageBatch {
    let mut buffer = MutableBuffer::new(BATCH_BYTES);
    let mut put = |bytes: &Option<Vec<u8>>| {
        let bytes = bytes.as_ref()?;
        let start = u32::try_from(buffer.len()).ok()?;
        let len = u32::try_from(bytes.len()).ok()?;
        buffer.extend_from_slice(bytes);
        Some(Span { start, len })
    };
    let messages = messages
        .iter()
        .map(|message| Message {
            partition: message.partition,
            offset: message.offset,
            timestamp_ms: message.timestamp_ms,
            key: put(&message.key),
            payload: put(&message.payload),
            headers: put(&message.headers),
        })
        .collect();
    buffer.extend_from_slice(&[0_u8; MessageBatch::PADDING]);
    MessageBatch {
        buffer: buffer.into(),
        messages,
    }
}

/// How far a query is with replays.
#[derive(Debug, Default)]
pub(super) struct Replaying {
    /// The newest number that it has looked at.
    seen: u64,
    /// The one that it has taken in the epoch under way.
    taken: Option<u64>,
}

impl Query {
    /// Before its first micro-batch: what it has done with is told, and what it will meet by itself.
    pub(super) fn resume_replays(&mut self) -> Result<()> {
        if self.shared.kind == QueryKind::Live {
            return Ok(());
        }
        let taken = self.shared.status().replayed;
        let reads = |input: u32, table: &str, partition: PartitionId, offset: Offset| {
            let input = input as usize;
            let source = self.sources.get(input);
            let is_ours = source.is_some_and(|source| source.scan.table == table);
            let place = self.partitions.get(&InputPartition { input, partition });
            let next = place.and_then(|place| place.next);
            !is_ours || next.is_none_or(|next| offset >= next)
        };
        self.surroundings
            .set_aside
            .resume_query(&self.shared.name, taken, reads)?;
        self.replaying = Replaying {
            seen: taken,
            taken: None,
        };
        Ok(())
    }

    /// True if there may be a replay that it has not looked at.
    pub(super) fn has_replay(&self) -> bool {
        let created = self.shared.kind != QueryKind::Live;
        created && self.surroundings.set_aside.latest_replay() > self.replaying.seen
    }

    /// True if a replay is part of the epoch under way, which then ends at once.
    pub(super) fn is_replaying(&self) -> bool {
        self.replaying.taken.is_some()
    }

    /// Runs the messages of the next replay, if there is one; what came of them is kept.
    pub(super) fn replay(&mut self) -> Result<Vec<LaneOutput>> {
        if !self.has_replay() {
            return Ok(Vec::new());
        }
        let set_aside = Arc::clone(&self.surroundings.set_aside);
        let latest = set_aside.latest_replay();
        let Some((id, given)) = set_aside.next_replay(&self.shared.name, self.replaying.seen)?
        else {
            self.replaying.seen = latest;
            return Ok(Vec::new());
        };
        let mut outputs = self.process_given(&given)?;
        let outcomes = outcomes(&given, &outputs);
        for output in &mut outputs {
            // It was read long ago, and is kept already.
            output.next.clear();
            output.rejected.clear();
        }
        set_aside.note_replay(&self.shared.name, id, &outcomes)?;
        crash_point::reach("a replay is noted, its epoch has not ended");
        self.replaying = Replaying {
            seen: id,
            taken: Some(id),
        };
        self.dirty = true;
        Ok(outputs)
    }

    fn process_given(&mut self, given: &[Given]) -> Result<Vec<LaneOutput>> {
        let mut work = Vec::new();
        for input in 0..self.sources.len() {
            let of_input = given.iter().filter(|given| given.input as usize == input);
            let messages: Vec<&Rejection> = of_input.map(|given| &given.letter.message).collect();
            let all = batches(&messages).into_iter();
            work.extend(all.map(|batch| (input, Arc::new(Fetched::new(batch)))));
        }
        let mut lanes = vec![Vec::new(); self.lanes.len()];
        lanes[0] = work;
        self.process(lanes)
    }

    /// The epoch lasts that has what was taken.
    pub(super) fn replays_committed(&mut self) -> Result<()> {
        let Some(id) = self.replaying.taken else {
            return Ok(());
        };
        crash_point::reach("the epoch of a replay has ended, that is not told");
        let set_aside = &self.surroundings.set_aside;
        set_aside.replay_committed(&self.shared.name, id)?;
        self.replaying.taken = None;
        Ok(())
    }

    /// The number for the checkpoint of the epoch that ends.
    pub(super) fn note_replayed(&self) {
        if let Some(id) = self.replaying.taken {
            self.shared.update(|status| status.replayed = id);
        }
    }
}

/// What came of each message, by where it was rejected.
fn outcomes(given: &[Given], outputs: &[LaneOutput]) -> Vec<Outcome> {
    let rejected = outputs.iter().flat_map(|output| &output.rejected);
    let rejected: std::collections::BTreeMap<_, _> = rejected
        .map(|(input, message)| {
            let place = (*input, message.partition, message.offset);
            (place, message.reason.clone())
        })
        .collect();
    given
        .iter()
        .map(|given| {
            let message = &given.letter.message;
            let place = (given.input as usize, message.partition, message.offset);
            (given.number, given.input, rejected.get(&place).cloned())
        })
        .collect()
}
