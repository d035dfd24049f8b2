//! The tables of the file: messages that are no rows, and rows that came too late, by number.

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::kept::Kept;
use crate::engine::lane::{LateMessage, Rejection};
use crate::engine::rejected::{DeadLetter, LateRecord};
use crate::redb_file::Fault;
use crate::types::{EventTime, Offset, PartitionId, ProcessingTime, Watermark};

/// Partition, offset, the record's time, key, payload, headers, and why.
type MessageRow<'a> = (
    i32,
    i64,
    i64,
    Option<&'a [u8]>,
    Option<&'a [u8]>,
    Option<&'a [u8]>,
    &'a str,
);
/// Table, topic, message, when it was met.
pub(super) type LetterRow<'a> = (&'a str, &'a str, MessageRow<'a>, i64);
/// Query, table, message; the row's time, its window's start and end, the watermark; when it was met.
type LateRow<'a> = (&'a str, &'a str, MessageRow<'a>, (i64, i64, i64, i64), i64);

const DEAD: TableDefinition<'static, u64, LetterRow<'static>> = TableDefinition::new("dead");
const LATE: TableDefinition<'static, u64, LateRow<'static>> = TableDefinition::new("late");

/// What can be kept.
pub(super) trait Row: Sized {
    /// The rows of its table in the file, with their numbers.
    fn all(read: &ReadTransaction, each: &mut dyn FnMut(u64, Self)) -> Result<(), Fault>;
    /// Brings its table to what is kept.
    fn write<K: Ord + Clone>(write: &WriteTransaction, kept: &Kept<K, Self>) -> Result<(), Fault>;
}

impl Row for DeadLetter {
    fn all(read: &ReadTransaction, each: &mut dyn FnMut(u64, Self)) -> Result<(), Fault> {
        let Some(table) = there(read.open_table(DEAD))? else {
            return Ok(());
        };
        for entry in table.iter()? {
            let (number, row) = entry?;
            each(number.value(), letter(row.value()));
        }
        Ok(())
    }

    fn write<K: Ord + Clone>(write: &WriteTransaction, kept: &Kept<K, Self>) -> Result<(), Fault> {
        let mut table = write.open_table(DEAD)?;
        for number in kept.to_forget() {
            table.remove(number)?;
        }
        for (number, letter) in kept.to_write() {
            table.insert(number, letter_row(letter))?;
        }
        Ok(())
    }
}

impl Row for LateRecord {
    fn all(read: &ReadTransaction, each: &mut dyn FnMut(u64, Self)) -> Result<(), Fault> {
        let Some(table) = there(read.open_table(LATE))? else {
            return Ok(());
        };
        for entry in table.iter()? {
            let (number, row) = entry?;
            each(number.value(), record(row.value()));
        }
        Ok(())
    }

    fn write<K: Ord + Clone>(write: &WriteTransaction, kept: &Kept<K, Self>) -> Result<(), Fault> {
        let mut table = write.open_table(LATE)?;
        for number in kept.to_forget() {
            table.remove(number)?;
        }
        for (number, late) in kept.to_write() {
            table.insert(number, late_row(late))?;
        }
        Ok(())
    }
}

/// A table, if something was ever written to it.
pub(super) fn there<T>(opened: Result<T, TableError>) -> Result<Option<T>, Fault> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn letter_row(letter: &DeadLetter) -> LetterRow<'_> {
    let message = message_row(&letter.message);
    (&letter.table, &letter.topic, message, letter.at.0)
}

pub(super) fn letter((table, topic, message, at): LetterRow<'_>) -> DeadLetter {
    DeadLetter {
        table: table.to_owned(),
        topic: topic.to_owned(),
        message: rejection(message),
        at: ProcessingTime(at),
    }
}

fn late_row(record: &LateRecord) -> LateRow<'_> {
    let late = &record.late;
    let times = (
        late.event_time.0,
        late.window.0.0,
        late.window.1.0,
        late.watermark.0.0,
    );
    let message = message_row(&late.message);
    (&record.query, &record.table, message, times, record.at.0)
}

fn record((query, table, message, times, at): LateRow<'_>) -> LateRecord {
    let (event_time, start, end, watermark) = times;
    LateRecord {
        query: query.to_owned(),
        table: table.to_owned(),
        late: LateMessage {
            message: rejection(message),
            event_time: EventTime(event_time),
            window: (EventTime(start), EventTime(end)),
            watermark: Watermark(EventTime(watermark)),
        },
        at: ProcessingTime(at),
    }
}

fn message_row(message: &Rejection) -> MessageRow<'_> {
    (
        message.partition.0,
        message.offset.0,
        message.timestamp_ms,
        message.key.as_deref(),
        message.payload.as_deref(),
        message.headers.as_deref(),
        &message.reason,
    )
}

fn rejection(row: MessageRow<'_>) -> Rejection {
    let (partition, offset, timestamp_ms, key, payload, headers, reason) = row;
    Rejection {
        partition: PartitionId(partition),
        offset: Offset(offset),
        timestamp_ms,
        key: key.map(<[u8]>::to_vec),
        payload: payload.map(<[u8]>::to_vec),
        headers: headers.map(<[u8]>::to_vec),
        reason: reason.to_owned(),
    }
}
