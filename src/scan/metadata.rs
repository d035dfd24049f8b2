//! Columns that a record itself gives: key, partition, offset, timestamp, headers.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};

use crate::error::{Error, Result, SqlState};
use crate::types::{Message, MessageBatch, MetadataColumn, Span};

/// The messages that became rows, in order.
pub(super) struct Rows<'a> {
    pub(super) messages: &'a MessageBatch,
    /// Their indices; `None` for all.
    pub(super) kept: Option<&'a [u32]>,
}

impl<'a> Rows<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Message> {
        let messages = &self.messages.messages;
        let kept = self.kept;
        let rows = kept.map_or(messages.len(), <[u32]>::len);
        (0..rows).map(move |row| &messages[kept.map_or(row, |kept| kept[row] as usize)])
    }
}

/// Whether a record can give this column in this type.
///
/// # Errors
/// When it cannot; the hint says which types there are.
pub(super) fn check_type(origin: MetadataColumn, data_type: &DataType) -> Result<()> {
    let (name, fits, types) = match origin {
        MetadataColumn::Key => (
            "key",
            matches!(data_type, DataType::Utf8View | DataType::Binary),
            "text or bytea",
        ),
        MetadataColumn::Partition => ("partition", *data_type == DataType::Int32, "integer"),
        MetadataColumn::Offset => ("offset", *data_type == DataType::Int64, "bigint"),
        MetadataColumn::Timestamp => (
            "timestamp",
            matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _)),
            "timestamptz",
        ),
        MetadataColumn::Headers => ("headers", *data_type == DataType::Utf8View, "json or text"),
    };
    if fits {
        return Ok(());
    }
    Err(Error::user(
        SqlState::DatatypeMismatch,
        format!("a message's {name} cannot be read as this type"),
    )
    .hint(format!("Declare the column as {types}.")))
}

/// One column; `reject` is told the rows whose value is of a wrong type.
pub(super) fn column(
    origin: MetadataColumn,
    data_type: &DataType,
    rows: &Rows<'_>,
    reject: &mut dyn FnMut(usize, String),
) -> ArrayRef {
    match origin {
        MetadataColumn::Partition => Arc::new(Int32Array::from_iter_values(
            rows.iter().map(|message| message.partition.0),
        )),
        MetadataColumn::Offset => Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|message| message.offset.0),
        )),
        MetadataColumn::Timestamp => {
            let times: TimestampMicrosecondArray = rows.iter().map(timestamp_us).collect();
            Arc::new(times.with_data_type(data_type.clone()))
        }
        MetadataColumn::Key if *data_type == DataType::Binary => {
            let mut keys = BinaryBuilder::new();
            for message in rows.iter() {
                keys.append_option(message.key.map(|key| key.of(&rows.messages.buffer)));
            }
            Arc::new(keys.finish())
        }
        MetadataColumn::Key => text(
            rows,
            |message| message.key,
            |row| {
                reject(row, "key: not UTF-8 text".to_owned());
            },
        ),
        MetadataColumn::Headers => text(
            rows,
            |message| message.headers,
            |row| {
                reject(row, "headers: not UTF-8 text".to_owned());
            },
        ),
    }
}

fn timestamp_us(message: &Message) -> Option<i64> {
    (message.timestamp_ms >= 0).then(|| message.timestamp_ms.saturating_mul(1000))
}

/// Views into the batch's buffer: nothing is copied.
fn text(
    rows: &Rows<'_>,
    span: impl Fn(&Message) -> Option<Span>,
    mut reject: impl FnMut(usize),
) -> ArrayRef {
    let mut texts = StringViewBuilder::new();
    let block = texts.append_block(rows.messages.buffer.clone());
    for (row, message) in rows.iter().enumerate() {
        match span(message) {
            None => texts.append_null(),
            Some(span) => {
                if texts.try_append_view(block, span.start, span.len).is_err() {
                    texts.append_null();
                    reject(row);
                }
            }
        }
    }
    Arc::new(texts.finish())
}
