//! What a scan reads: messages, and the rows that were made of them for all members at once.
//!
//! Invariant: rows are used only where a member alone would have made the same ones.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::alike::{Common, shared};
use super::gathered::Gathered;
use super::prefix::Prefix;
use super::selection::Selection;
use crate::engine::event_time::RowTimes;
use crate::error::Result;
use crate::operator::{Partial, Rows};
use crate::plan::{ScanColumn, ScanSpec};
use crate::scan::{Decode, DecodedRows};
use crate::source::{FetchedBy, PartitionEnd, Problem};
use crate::types::{Message, MessageBatch, Offset, PartitionId, Span};

/// What a message weighs beside its bytes.
const MESSAGE_BYTES: usize = size_of::<Message>();
/// Messages that stand alone in a batch that is taken in parts, at the most.
const PARTED_BY_MAX: usize = 8;

/// One read of a scan, as its members get it.
#[derive(Debug)]
pub(in crate::engine) struct SharedRead {
    pub batch: Arc<Fetched>,
    pub ends: Vec<PartitionEnd>,
    /// Where the partitions end as far as that is known, whether they are read up to there or not.
    pub known_ends: Vec<PartitionEnd>,
    pub problems: Vec<Problem>,
    /// Who has fetched it.
    pub by: FetchedBy,
}

impl SharedRead {
    /// What it weighs in a queue.
    pub(super) fn bytes(&self) -> usize {
        let messages = &self.batch.messages;
        // Without messages it weighs a little too: ends must not heap up.
        messages.buffer.len() + messages.messages.len() * MESSAGE_BYTES + size_of::<Self>()
    }
}

/// Fetched messages, and the rows made of them if they were decoded already.
#[derive(Debug)]
pub(in crate::engine) struct Fetched {
    pub messages: MessageBatch,
    /// How far each partition reaches in them, in the order in which the partitions come.
    pub reach: Vec<Reach>,
    rows: Option<UnionRows>,
    /// What the messages that are no rows for all became for members, by the columns that these read.
    again: Mutex<Vec<(ColumnPlaces, DecodedRows)>>,
    /// The times of these rows, once a member has told them.
    times: OnceLock<Arc<RowTimes>>,
    /// What several members make the same groups by, and these.
    partials: Vec<Shared<Prefix, Partial>>,
    /// What several members pick their rows by, and these.
    picked: Vec<Shared<Selection, Rows>>,
    /// What these were made of.
    gathered: Gathered,
    /// The same in parts, once a member needs them; `None`: there are none.
    parts: OnceLock<Option<Vec<Fetched>>>,
}

/// What several members make alike of a batch, once one of them has made it.
#[derive(Debug)]
struct Shared<K, V> {
    by: Arc<K>,
    made: OnceLock<Option<V>>,
}

impl<K, V> Shared<K, V> {
    fn all(of: &[Arc<K>]) -> Vec<Self> {
        let shared = of.iter().map(|by| Self {
            by: Arc::clone(by),
            made: OnceLock::new(),
        });
        shared.collect()
    }

    /// The same for other rows.
    fn anew(all: &[Self]) -> Vec<Self> {
        let shared = all.iter().map(|shared| Self {
            by: Arc::clone(&shared.by),
            made: OnceLock::new(),
        });
        shared.collect()
    }

    /// What is made by one of them: whoever comes first makes it, and the others wait for that.
    fn of<'a>(all: &'a [Self], by: &Arc<K>, make: impl FnOnce() -> Option<V>) -> Option<&'a V> {
        let shared = all.iter().find(|shared| Arc::ptr_eq(&shared.by, by))?;
        shared.made.get_or_init(make).as_ref()
    }
}

/// What a batch holds of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Reach {
    pub partition: PartitionId,
    /// The offset of its first message.
    pub first: Offset,
    /// The offset after its last message.
    pub next: Offset,
    /// Messages.
    pub count: u64,
    /// Bytes of their payloads and keys.
    pub bytes: u64,
    /// The timestamp of its last message, milliseconds since the Unix epoch; -1 if that has none.
    pub written_ms: i64,
}

/// Rows with the columns of all members.
#[derive(Debug)]
struct UnionRows {
    columns: Arc<[ScanColumn]>,
    rows: DecodedRows,
}

impl Fetched {
    /// Messages that every query decodes by itself.
    pub(in crate::engine) fn new(messages: MessageBatch) -> Self {
        Self {
            reach: reach(&messages),
            messages,
            rows: None,
            again: Mutex::default(),
            times: OnceLock::new(),
            partials: Vec::new(),
            picked: Vec::new(),
            gathered: Gathered::default(),
            parts: OnceLock::new(),
        }
    }

    /// No messages.
    pub(super) fn nothing() -> Self {
        Self::new(MessageBatch {
            buffer: Buffer::from(vec![0_u8; MessageBatch::PADDING]),
            messages: Vec::new(),
        })
    }

    /// The same without the messages before and after some offsets.
    pub(super) fn within(
        &self,
        from: &BTreeMap<PartitionId, Offset>,
        to: &BTreeMap<PartitionId, Offset>,
    ) -> Self {
        let mut messages = self.messages.clone();
        messages.messages.retain(|message| {
            let partition = &message.partition;
            from.get(partition)
                .is_none_or(|from| message.offset >= *from)
                && to.get(partition).is_none_or(|to| message.offset < *to)
        });
        Self::new(messages)
    }

    /// A part of them, its rows with it if they are there; `messages`: which, by their places.
    pub(in crate::engine) fn part(&self, messages: Range<usize>) -> Self {
        let rows = self.rows.as_ref().map(|union| UnionRows {
            columns: Arc::clone(&union.columns),
            rows: union.rows.part(messages.clone()),
        });
        Self {
            rows,
            ..Self::new(MessageBatch {
                buffer: self.messages.buffer.clone(),
                messages: self.messages.messages[messages].to_vec(),
            })
        }
    }

    /// The rows of a member's columns, if they are there; with the messages that are none. `decode` is
    /// the member's own.
    ///
    /// # Errors
    /// When the columns do not fit their schema, which is a mistake of ours.
    pub(in crate::engine) fn rows_of(
        &self,
        wanted: &mut Wanted,
        decode: &mut Decode,
    ) -> Result<Option<MemberRows>> {
        let Some(union) = &self.rows else {
            return Ok(None);
        };
        let Some(places) = wanted.places(&union.columns) else {
            return Ok(None);
        };
        let column = |place: &usize| Arc::clone(union.rows.batch.column(*place));
        let columns = places.iter().map(column).collect();
        let schema = Arc::clone(&wanted.spec.schema);
        let rows = union.rows.batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let source_rows = union.rows.source_rows.clone();
        let rejected = &union.rows.rejected;
        if rejected.is_empty() || union.columns.len() == wanted.spec.columns.len() {
            let rejected = rejected.clone();
            return Ok(Some(MemberRows {
                shared: DecodedRows {
                    batch,
                    source_rows,
                    rejected,
                },
                own: None,
            }));
        }
        let own = self.again(union, &places, decode)?;
        let shared = DecodedRows {
            batch,
            source_rows,
            rejected: Vec::new(),
        };
        Ok(Some(match own.batch.num_rows() {
            0 => MemberRows {
                shared: shared.and(&own)?,
                own: None,
            },
            _ => MemberRows {
                shared,
                own: Some(own),
            },
        }))
    }

    /// What became of messages that are no rows for all: one may be a row for a member, which reads less of it.
    /// Members that read the same columns have the same of them.
    fn again(
        &self,
        union: &UnionRows,
        places: &ColumnPlaces,
        decode: &mut Decode,
    ) -> Result<DecodedRows> {
        let mut known = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = known.iter().find(|(others, _)| others == places) {
            return Ok(rows.clone());
        }
        let rejected = union.rows.rejected.iter();
        let again: Vec<usize> = rejected.map(|rejected| rejected.message).collect();
        let messages = self.messages.some(&again);
        let own = decode.decode(&messages)?.of_messages(&again);
        known.push((Arc::clone(places), own.clone()));
        Ok(own)
    }

    /// The same in parts, if several members make something alike of it: messages that are no rows for all, and
    /// those of rows that cannot be used, stand alone, so that what lies between them is still made once.
    pub(in crate::engine) fn parts(
        &self,
        unusable: impl Iterator<Item = usize>,
    ) -> Option<&[Self]> {
        let union = self.rows.as_ref()?;
        if self.partials.is_empty() && self.picked.is_empty() {
            return None;
        }
        let parts = self.parts.get_or_init(|| {
            let rejected = union.rows.rejected.iter().map(|one| one.message);
            let mut alone: Vec<usize> = unusable.map(|row| union.rows.message_of(row)).collect();
            alone.extend(rejected);
            alone.sort_unstable();
            let worth = alone.len() <= PARTED_BY_MAX;
            worth.then(|| self.parted_by(&alone))
        });
        parts.as_deref()
    }

    fn parted_by(&self, alone: &[usize]) -> Vec<Self> {
        let (mut parts, mut first) = (Vec::new(), 0);
        for message in alone {
            parts.extend(self.shared_part(first..*message));
            parts.push(self.part(*message..message + 1));
            first = message + 1;
        }
        parts.extend(self.shared_part(first..self.messages.messages.len()));
        parts
    }

    /// A part of which several members make something alike.
    fn shared_part(&self, messages: Range<usize>) -> Option<Self> {
        (!messages.is_empty()).then(|| Self {
            partials: Shared::anew(&self.partials),
            picked: Shared::anew(&self.picked),
            ..self.part(messages)
        })
    }
}

/// Rows as a member of a scan takes them.
pub(in crate::engine) struct MemberRows {
    /// Those that every member has.
    pub shared: DecodedRows,
    /// Those that it has beside them, of messages that are no rows for all.
    pub own: Option<DecodedRows>,
}

impl MemberRows {
    /// All of them, and whether every member has these.
    ///
    /// # Errors
    /// When their columns differ, which is a mistake of ours.
    pub(in crate::engine) fn all(self) -> Result<(DecodedRows, bool)> {
        Ok(match self.own {
            None => (self.shared, true),
            Some(own) => (self.shared.and(&own)?, false),
        })
    }
}

impl Fetched {
    /// The times of the rows that all members share; whoever comes first tells them.
    ///
    /// # Errors
    /// What `tell` fails with.
    pub(in crate::engine) fn times(
        &self,
        tell: impl FnOnce() -> Result<RowTimes>,
    ) -> Result<Arc<RowTimes>> {
        if let Some(times) = self.times.get() {
            return Ok(Arc::clone(times));
        }
        let told = Arc::new(tell()?);
        Ok(Arc::clone(self.times.get_or_init(|| told)))
    }
}

impl Fetched {
    /// The groups of the rows, if several members have this prefix. `None`: each member takes the rows by
    /// itself.
    pub(in crate::engine) fn partial(
        &self,
        prefix: &Arc<Prefix>,
        make: impl FnOnce() -> Option<Partial>,
    ) -> Option<&Partial> {
        Shared::of(&self.partials, prefix, make)
    }

    /// The rows of a member's batch that pass a condition, if several members begin with it. `None`: each member looks at all
    /// rows by itself.
    pub(in crate::engine) fn picked(
        &self,
        selection: &Arc<Selection>,
        batch: &RecordBatch,
    ) -> Option<&Rows> {
        let pick = || selection.pick(batch, &self.gathered);
        Shared::of(&self.picked, selection, pick)
    }
}

fn reach(messages: &MessageBatch) -> Vec<Reach> {
    let mut all: Vec<Reach> = Vec::new();
    let mut place: Option<usize> = None;
    for message in &messages.messages {
        let partition = message.partition;
        if place.is_none_or(|place: usize| all[place].partition != partition) {
            place = all.iter().position(|reach| reach.partition == partition);
        }
        let at = *place.get_or_insert_with(|| {
            all.push(Reach {
                partition,
                first: message.offset,
                next: message.offset,
                count: 0,
                bytes: 0,
                written_ms: message.timestamp_ms,
            });
            all.len() - 1
        });
        let bytes = |span: Option<Span>| span.map_or(0, |span| u64::from(span.len));
        all[at].next = Offset(message.offset.0 + 1);
        all[at].count += 1;
        all[at].written_ms = message.timestamp_ms;
        all[at].bytes += bytes(message.payload) + bytes(message.key);
    }
    all
}

/// What one query wants of the columns of all.
#[derive(Debug)]
pub(in crate::engine) struct Wanted {
    spec: ScanSpec,
    /// For the columns that were asked for last.
    last: Option<Places>,
}

/// Where among the columns of all those of a member are.
type ColumnPlaces = Arc<[usize]>;

/// Some columns, and where of them the wanted ones are; `None`: one is missing.
type Places = (Arc<[ScanColumn]>, Option<ColumnPlaces>);

impl Wanted {
    pub(in crate::engine) fn new(spec: &ScanSpec) -> Self {
        Self {
            spec: spec.clone(),
            last: None,
        }
    }

    fn places(&mut self, columns: &Arc<[ScanColumn]>) -> Option<ColumnPlaces> {
        let is_known = self
            .last
            .as_ref()
            .is_some_and(|(last, _)| Arc::ptr_eq(last, columns));
        if !is_known {
            let place = |own: &ScanColumn| columns.iter().position(|column| column == own);
            let places = self.spec.columns.iter().map(place).collect();
            self.last = Some((Arc::clone(columns), places));
        }
        self.last.as_ref().and_then(|(_, places)| places.clone())
    }
}

/// The columns of all, each once.
fn union(specs: &[&ScanSpec]) -> Vec<ScanColumn> {
    let mut columns: Vec<ScanColumn> = Vec::new();
    for column in specs.iter().flat_map(|spec| &spec.columns) {
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    columns
}

/// Decodes for all members of a scan.
pub(in crate::engine) struct UnionDecode {
    columns: Arc<[ScanColumn]>,
    decode: Decode,
    /// What several of them make the same groups by.
    prefixes: Vec<Arc<Prefix>>,
    /// What several of them pick their rows by.
    selections: Vec<Arc<Selection>>,
}

impl UnionDecode {
    /// A decoder for the columns of some scans that differ in nothing else.
    ///
    /// # Errors
    /// When a column cannot be decoded.
    pub(in crate::engine) fn of<'a>(specs: impl Iterator<Item = &'a ScanSpec>) -> Result<Self> {
        let specs: Vec<&ScanSpec> = specs.collect();
        Self::with(union(&specs), specs[0])
    }

    /// Lets members with something in common take what one of them has made by it.
    pub(super) fn share<'a>(&mut self, members: impl Iterator<Item = &'a Common> + Clone) {
        self.prefixes = shared(members.clone().map(|common| common.prefix.as_ref()));
        self.selections = shared(members.map(|common| common.selection.as_ref()));
    }

    /// The same for a member that stands for several.
    #[cfg(test)]
    pub(in crate::engine) fn share_all(&mut self, common: &Common) {
        self.share([common, common].into_iter());
    }

    /// A decoder for other members; the same one, with what it has learned, if they want the same.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) fn for_members<'a>(self, specs: impl Iterator<Item = &'a ScanSpec>) -> Result<Self> {
        let specs: Vec<&ScanSpec> = specs.collect();
        let columns = union(&specs);
        if columns == *self.columns {
            return Ok(self);
        }
        Self::with(columns, specs[0])
    }

    /// A decoder for these columns, and for the rest like `first`, whose columns are among them.
    fn with(columns: Vec<ScanColumn>, first: &ScanSpec) -> Result<Self> {
        let mut spec = first.clone();
        if let Some(max_future) = &mut spec.max_future {
            let time = &first.columns[max_future.column];
            let place = columns.iter().position(|column| column == time);
            max_future.column = place.expect("all columns of the first are there");
        }
        let fields: Vec<_> = columns.iter().map(|c| Arc::clone(&c.field)).collect();
        spec.schema = Arc::new(Schema::new(fields));
        spec.columns.clone_from(&columns);
        Ok(Self {
            decode: Decode::try_new(&spec)?,
            columns: columns.into(),
            prefixes: Vec::new(),
            selections: Vec::new(),
        })
    }

    /// Makes rows of messages.
    ///
    /// # Errors
    /// When the batch itself is broken.
    pub(in crate::engine) fn decode(&mut self, messages: MessageBatch) -> Result<Fetched> {
        let rows = self.decode.decode(&messages)?;
        Ok(Fetched {
            rows: Some(UnionRows {
                columns: Arc::clone(&self.columns),
                rows,
            }),
            partials: Shared::all(&self.prefixes),
            picked: Shared::all(&self.selections),
            ..Fetched::new(messages)
        })
    }
}
