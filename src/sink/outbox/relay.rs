//! Rows that wait, handed on to a sink that takes part in epochs: several at once, which are an epoch there.
//!
//! ```text
//! Message .. Message (JSON) ─► RecordBatch ─► stage ─► commit(number of the last)
//! ```
//! Invariant: a sink of which the outside keeps the epoch is given no row that it has committed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::delivery::{Courier, Pick, Verdict};
use super::message::Message;
use super::outboxes::{OutboxSettings, Outboxes};
use super::queue::Outbox;
use super::sink::OutboxSink;
use crate::error::{Culprit, Error, Result, SqlState, from_arrow};
use crate::format::{JsonDecoder, JsonField, JsonKind};
use crate::sink::{Outside, Sink, Stopping};
use crate::task::Shutdown;
use crate::types::{self, ChangeBatch, MessageBatch, Offset, PartitionId, Span};

/// So many rows go together at the most.
const ROWS_MAX: usize = 100;
/// So many bytes of rows go together at the most, unless one has more.
const BYTES_MAX: usize = 512 << 10;

/// An outbox before a sink, and the rows that wait there.
#[derive(Debug, Clone, Copy)]
pub struct Relayed<'a> {
    /// The outbox.
    pub outbox: &'a OutboxSettings,
    /// What a row is.
    pub schema: &'a SchemaRef,
    /// The column with the rows' keys.
    pub key_column: &'a str,
}

/// Opens the sink, which heeds what ends its waits as far as it can.
type Open = Box<dyn Fn(Stopping) -> Result<Box<dyn Sink>> + Send>;

impl Relayed<'_> {
    /// What fills the outbox. The sink is opened when there is something to hand on, and again after trouble.
    ///
    /// # Errors
    /// A column that cannot be read from JSON, or what the disk says.
    pub(in crate::sink) fn open(
        &self,
        made_of: &str,
        outboxes: &Outboxes,
        sink: impl Fn(Stopping) -> Result<Box<dyn Sink>> + Send + 'static,
    ) -> Result<OutboxSink> {
        let rows = Rows::try_new(self.schema)?;
        let made_of = format!("{made_of} {:?} {:?}", self.outbox, self.schema);
        let outbox = outboxes.open(self.outbox, made_of, |shutdown| {
            Ok(Box::new(Relay {
                open: Box::new(sink),
                sink: None,
                rows,
                shutdown,
            }))
        })?;
        OutboxSink::open(outbox, self.schema, Some(self.key_column))
    }
}

/// Hands on what waits.
struct Relay {
    open: Open,
    sink: Option<Box<dyn Sink>>,
    rows: Rows,
    shutdown: Shutdown,
}

impl Relay {
    fn hand_on(&mut self, messages: &[Message], outbox: &Outbox) -> Result<()> {
        let (mut sink, done) = match self.sink.take() {
            Some(sink) => (sink, None),
            None => self.opened(outbox)?,
        };
        let is_new = |message: &&Message| done.is_none_or(|done| message.number > done);
        let new: Vec<&Message> = messages.iter().filter(is_new).collect();
        for same in new.chunk_by(|one, next| one.at == next.at) {
            let rows = ChangeBatch::inserts(self.rows.of(same)?);
            sink.stage(&rows, same[0].at)?;
        }
        if let Some(last) = new.last() {
            sink.commit(last.number)?;
        }
        self.sink = Some(sink);
        Ok(())
    }

    /// The sink, and the number of the last message of this outbox that it has.
    fn opened(&self, outbox: &Outbox) -> Result<(Box<dyn Sink>, Option<u64>)> {
        let shutdown = self.shutdown.clone();
        let mut sink = (self.open)(Arc::new(move || shutdown.is_requested()))?;
        let writer = outbox.number();
        let done = match sink.committed()? {
            Outside::Epoch(number) if sink.committed_by() == Some(writer) => number,
            Outside::Epoch(_) | Outside::Unknown => None,
        };
        sink.sign(writer);
        Ok((sink, done))
    }

    fn verdict(&self, error: &Error, count: usize) -> Verdict {
        let is_of_row = error.culprit() == Some(&Culprit::Row);
        match is_of_row {
            _ if self.shutdown.is_requested() => Verdict::Stopped,
            true if count > 1 => Verdict::Apart,
            true => Verdict::Refused {
                status: None,
                reason: error.to_string(),
            },
            false => Verdict::Again {
                reason: error.to_string(),
                after: None,
            },
        }
    }
}

impl Courier for Relay {
    fn look_ahead(&self) -> usize {
        ROWS_MAX
    }

    fn pick(&mut self, waiting: &[Message], _outbox: &Outbox) -> Result<Pick> {
        Ok(Pick::Go((0..together(waiting)).collect()))
    }

    fn deliver(&mut self, messages: &[Message], outbox: &Outbox) -> Result<Verdict> {
        Ok(match self.hand_on(messages, outbox) {
            Ok(()) => Verdict::Taken { notes: Vec::new() },
            Err(error) => self.verdict(&error, messages.len()),
        })
    }
}

/// How many of the waiting messages go together.
fn together(waiting: &[Message]) -> usize {
    let mut bytes = 0;
    let fit = waiting.iter().take_while(|message| {
        bytes += message.payload.len();
        bytes <= BYTES_MAX
    });
    fit.count().max(1)
}

/// Reads rows of one schema as they lie in an outbox.
struct Rows {
    schema: SchemaRef,
    decoder: JsonDecoder,
}

impl Rows {
    fn try_new(schema: &SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| read_as(field));
        Ok(Self {
            schema: Arc::clone(schema),
            decoder: JsonDecoder::try_new(fields.collect())?,
        })
    }

    fn of(&mut self, messages: &[&Message]) -> Result<RecordBatch> {
        let decoded = self.decoder.decode(&laid_out(messages)?)?;
        if let Some(rejected) = decoded.rejected.first() {
            let text = format!("a row that waits cannot be read: {}", rejected.reason);
            return Err(Error::external(SqlState::DataCorrupted, false, text).about(Culprit::Row));
        }
        let columns = decoded.columns.iter().zip(self.schema.fields());
        let columns = columns
            .map(|(column, field)| cast(column, field.data_type()).map_err(from_arrow))
            .collect::<Result<_>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(from_arrow)
    }
}

fn read_as(field: &Field) -> JsonField {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        other => other.clone(),
    };
    JsonField {
        kind: JsonKind::of(field),
        ..JsonField::new(field.name(), data_type)
    }
}

/// The rows' bytes as the decoder takes them.
fn laid_out(messages: &[&Message]) -> Result<MessageBatch> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut laid = Vec::with_capacity(messages.len());
    let number = |length: usize| {
        u32::try_from(length).map_err(|_| Error::internal("rows that wait are too long"))
    };
    for message in messages {
        let span = Span {
            start: number(bytes.len())?,
            len: number(message.payload.len())?,
        };
        bytes.extend_from_slice(&message.payload);
        laid.push(types::Message {
            partition: PartitionId(0),
            offset: Offset(0),
            timestamp_ms: -1,
            key: None,
            payload: Some(span),
            headers: None,
        });
    }
    bytes.resize(bytes.len() + MessageBatch::PADDING, 0);
    Ok(MessageBatch {
        buffer: Buffer::from_vec(bytes),
        messages: laid,
    })
}

#[cfg(test)]
mod tests;
