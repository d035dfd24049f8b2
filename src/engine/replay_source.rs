//! Messages that are kept only in part are read again from their topic before they are run again.
//!
//! Of a long message only its beginning is kept, and keys and headers only where the query that met it
//! had asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lane::Rejection;
use super::rejected::DeadLetter;
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::plan::{ScanOrigin, ScanSpec};
use crate::source::{ANSWER_TIMEOUT, Cluster, Reader, ReaderOptions};
use crate::types::{MetadataColumn, Offset, PartitionId};

/// Bytes of messages that are read again at once, at the most.
const BYTES_MAX: usize = 256 << 20;
/// How far two messages may lie apart to be read in one go.
const GAP_MAX: i64 = 10_000;
/// How long one go may take without a message.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes messages whole; those that cannot be are left out: how many.
pub(super) fn complete(spec: &ScanSpec, letters: &mut Vec<(u64, DeadLetter)>) -> Result<usize> {
    let partial: BTreeSet<(PartitionId, Offset)> = letters
        .iter()
        .map(|(_, letter)| &letter.message)
        .filter(|message| is_partial(spec, message))
        .map(|message| (message.partition, message.offset))
        .collect();
    if partial.is_empty() {
        return Ok(0);
    }
    let found = read(spec, &partial)?;
    let before = letters.len();
    letters.retain_mut(|(_, letter)| {
        let message = &mut letter.message;
        let place = (message.partition, message.offset);
        match found.get(&place) {
            Some(whole) => {
                let reason = std::mem::take(&mut message.reason);
                *message = Rejection {
                    reason,
                    ..whole.clone()
                };
                true
            }
            None => !partial.contains(&place),
        }
    });
    Ok(before - letters.len())
}

fn is_partial(spec: &ScanSpec, message: &Rejection) -> bool {
    let wants = |wanted| {
        let mut columns = spec.columns.iter();
        columns.any(|column| column.origin == ScanOrigin::Metadata(wanted))
    };
    let is_cut = |bytes: &Option<Vec<u8>>| {
        let bytes = bytes.as_ref();
        bytes.is_some_and(|bytes| bytes.len() >= Rejection::BYTES_MAX)
    };
    is_cut(&message.payload)
        || is_cut(&message.key)
        || is_cut(&message.headers)
        || (wants(MetadataColumn::Key) && message.key.is_none())
        || (wants(MetadataColumn::Headers) && message.headers.is_none())
}

/// The messages at these places that the topic still has.
fn read(
    spec: &ScanSpec,
    places: &BTreeSet<(PartitionId, Offset)>,
) -> Result<BTreeMap<(PartitionId, Offset), Rejection>> {
    let cluster = Cluster::connect(&spec.connection)?.read_committed(spec.read_committed);
    let partitions = cluster.partitions(&spec.topic, ANSWER_TIMEOUT)?;
    let ranges = cluster.offsets(&spec.topic, &partitions, ANSWER_TIMEOUT)?;
    let is_there = |(partition, offset): &&(PartitionId, Offset)| {
        let mut ranges = ranges.iter();
        ranges.any(|r| r.partition == *partition && (r.start..r.end).contains(offset))
    };
    let there: Vec<(PartitionId, Offset)> = places.iter().filter(is_there).copied().collect();
    let near = |a: &(PartitionId, Offset), b: &(PartitionId, Offset)| {
        a.0 == b.0 && b.1.0 - a.1.0 <= GAP_MAX
    };
    let mut found = Found::default();
    for run in there.chunk_by(near) {
        read_run(spec, run, &mut found)?;
    }
    Ok(found.messages)
}

/// What was read again.
#[derive(Default)]
struct Found {
    messages: BTreeMap<(PartitionId, Offset), Rejection>,
    bytes: usize,
}

impl Found {
    fn keep(&mut self, message: Rejection) -> Result<()> {
        self.bytes += message.payload.as_ref().map_or(0, Vec::len);
        if self.bytes > BYTES_MAX {
            let text = "the messages are too long to be run again at once";
            return Err(Error::user(SqlState::ProgramLimitExceeded, text)
                .detail(format!("They have more than {BYTES_MAX} bytes."))
                .hint("Run some of them: REPLAY DEAD LETTERS FROM .. WHERE \"offset\" < .."));
        }
        let place = (message.partition, message.offset);
        self.messages.insert(place, message);
        Ok(())
    }
}

/// Reads from the first of these places, which lie near each other, to the last.
fn read_run(spec: &ScanSpec, run: &[(PartitionId, Offset)], found: &mut Found) -> Result<()> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else {
        return Ok(());
    };
    let mut reader = Reader::open(ReaderOptions {
        connection: spec.connection.clone(),
        topic: spec.topic.clone(),
        assignment: vec![*first],
        read_committed: spec.read_committed,
        with_keys: true,
        with_headers: true,
        rows_max: 1_024,
        bytes_max: 4 << 20,
        end_wait: Duration::from_millis(10),
        fetch: spec.fetch,
    })?;
    let mut deadline = clock::instant() + PATIENCE;
    while clock::instant() < deadline {
        let read = reader.read(Duration::from_millis(100))?;
        for row in 0..read.batch.messages.len() {
            let message = &read.batch.messages[row];
            let place = (message.partition, message.offset);
            if run.binary_search(&place).is_ok() {
                found.keep(Rejection::whole(&read.batch, row, String::new()))?;
            }
            if message.offset >= last.1 {
                return Ok(());
            }
            deadline = clock::instant() + PATIENCE;
        }
        if !read.ends.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}
