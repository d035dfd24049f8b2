//! The tables of an outbox's file, and what is done to them.
//!
//! ```text
//! meta      epoch, writer, end, id   the last epoch that was committed; messages from `end` on are none's yet
//! messages  number ─► (time, key, what it holds), how many rows
//! epochs    number ─► epoch          of an epoch's first message
//! dead      number ─► message, why
//! notes     name ─► text, number     what a courier remembers; the oldest make room
//! ```

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use super::message::{DeadLetter, Head, Item, Message, Refusal, bytes};
use crate::redb_file::{Fault, META};
use crate::types::ProcessingTime;

type Waiting = (i64, &'static str, &'static [u8]);
type Why = (u16, u32, i64, &'static str);
type Dead = ((u64, u64), Waiting, Why);

const MESSAGES: TableDefinition<'static, u64, (Waiting, u64)> = TableDefinition::new("messages");
const EPOCHS: TableDefinition<'static, u64, u64> = TableDefinition::new("epochs");
const DEAD: TableDefinition<'static, u64, Dead> = TableDefinition::new("dead");
const NOTES: TableDefinition<'static, &str, (&str, u64)> = TableDefinition::new("notes");

/// Dead letters kept of one outbox; the oldest make room.
const DEAD_MAX: u64 = 10_000;
/// Notes kept of one outbox; the oldest make room.
const NOTES_MAX: u64 = 10_000;

/// The marks in `meta`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The last epoch, and who committed it.
    pub(super) committed: Option<(u64, u64)>,
    /// The number of the next epoch's first message.
    pub(super) end: u64,
    /// Chosen by chance when the outbox was made: no two outboxes of one name have the same keys.
    pub(super) id: u64,
}

/// Makes the tables of a new outbox.
pub(super) fn begin(write: &WriteTransaction, id: u64) -> Result<(), Fault> {
    write.open_table(META)?.insert("id", id)?;
    write.open_table(MESSAGES)?;
    write.open_table(EPOCHS)?;
    write.open_table(DEAD)?;
    write.open_table(NOTES)?;
    Ok(())
}

/// The marks; `None`: the outbox is new.
pub(super) fn marks(read: &ReadTransaction) -> Result<Option<Marks>, Fault> {
    let meta = read.open_table(META)?;
    let of = |name| Ok::<_, Fault>(meta.get(name)?.map(|number| number.value()));
    let Some(id) = of("id")? else { return Ok(None) };
    Ok(Some(Marks {
        committed: of("epoch")?.zip(of("writer")?),
        end: of("end")?.unwrap_or(0),
        id,
    }))
}

/// How many rows of committed epochs there are, what they count for, and the oldest one's time.
pub(super) fn sums(
    read: &ReadTransaction,
    end: u64,
) -> Result<(u64, u64, Option<ProcessingTime>), Fault> {
    let (mut count, mut sum, mut oldest) = (0, 0, None);
    for entry in read.open_table(MESSAGES)?.range(..end)? {
        let (_, value) = entry?;
        let ((at, key, payload), rows) = value.value();
        count += rows;
        sum += bytes(key, payload);
        oldest = oldest.or(Some(ProcessingTime(at)));
    }
    Ok((count, sum, oldest))
}

/// Writes messages, the first of them with this number.
pub(super) fn add(write: &WriteTransaction, first: u64, items: &[Item]) -> Result<(), Fault> {
    let mut messages = write.open_table(MESSAGES)?;
    for (number, item) in (first..).zip(items) {
        let key = item.key.as_deref().unwrap_or_default();
        let waiting = (item.at.0, key, item.payload.as_slice());
        messages.insert(number, (waiting, item.rows))?;
    }
    Ok(())
}

/// Forgets the messages of no epoch.
pub(super) fn truncate(write: &WriteTransaction, end: u64) -> Result<(), Fault> {
    write.open_table(MESSAGES)?.retain_in(end.., |_, _| false)?;
    Ok(())
}

/// The messages up to the new end are those of the epoch.
pub(super) fn mark(
    write: &WriteTransaction,
    old_end: u64,
    new_end: u64,
    committed: (u64, u64),
) -> Result<(), Fault> {
    if new_end > old_end {
        write.open_table(EPOCHS)?.insert(old_end, committed.0)?;
    }
    let mut meta = write.open_table(META)?;
    meta.insert("epoch", committed.0)?;
    meta.insert("writer", committed.1)?;
    meta.insert("end", new_end)?;
    Ok(())
}

/// The oldest messages before `end`. Keys that the rows did not bring begin with `prefix`.
pub(super) fn oldest(
    read: &ReadTransaction,
    end: u64,
    count: usize,
    prefix: &str,
) -> Result<Vec<Message>, Fault> {
    let epochs = read.open_table(EPOCHS)?;
    let mut found = Vec::new();
    for entry in read.open_table(MESSAGES)?.range(..end)?.take(count) {
        let (number, value) = entry?;
        let number = number.value();
        let ((at, key, payload), _) = value.value();
        let epoch = epochs.range(..=number)?.next_back().transpose()?;
        let (first, epoch) = epoch.map_or((number, 0), |(f, e)| (f.value(), e.value()));
        let row = number - first;
        found.push(Message {
            number,
            epoch,
            row,
            at: ProcessingTime(at),
            key: match key.is_empty() {
                true => format!("{prefix}-{epoch}-{row}"),
                false => key.to_owned(),
            },
            payload: payload.to_vec(),
        });
    }
    Ok(found)
}

/// What is known of the messages from one number to another.
pub(super) fn heads(read: &ReadTransaction, from: u64, end: u64) -> Result<Vec<Head>, Fault> {
    let mut heads = Vec::new();
    for entry in read.open_table(MESSAGES)?.range(from..end)? {
        let (number, value) = entry?;
        let ((at, key, payload), _) = value.value();
        heads.push(Head {
            number: number.value(),
            at: ProcessingTime(at),
            key: key.to_owned(),
            bytes: payload.len() as u64,
        });
    }
    Ok(heads)
}

/// What a message holds.
pub(super) fn payload(read: &ReadTransaction, number: u64) -> Result<Option<Vec<u8>>, Fault> {
    let message = read.open_table(MESSAGES)?.get(number)?;
    Ok(message.map(|message| message.value().0.2.to_vec()))
}

/// What taking messages out has done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Removed {
    /// Rows.
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// The time of the oldest that is left.
    pub(super) oldest: Option<ProcessingTime>,
}

/// Takes messages out that are before `end`.
pub(super) fn remove(
    write: &WriteTransaction,
    numbers: impl Iterator<Item = u64>,
    end: u64,
) -> Result<Removed, Fault> {
    let mut removed = Removed::default();
    let mut messages = write.open_table(MESSAGES)?;
    for number in numbers {
        if let Some(message) = messages.remove(number)? {
            let ((_, key, payload), rows) = message.value();
            removed.count += rows;
            removed.bytes += bytes(key, payload);
        }
    }
    let first = messages.range(..end)?.next().transpose()?;
    let (first, at) = match first {
        Some((number, value)) => (number.value(), Some(ProcessingTime(value.value().0.0))),
        None => (end, None),
    };
    // Epochs of which nothing is left: all before the one that the first message belongs to.
    let mut epochs = write.open_table(EPOCHS)?;
    let own = epochs.range(..=first)?.next_back().transpose()?;
    let kept = own.map_or(0, |(number, _)| number.value());
    let kept = if at.is_none() { end } else { kept };
    epochs.retain_in(..kept, |_, _| false)?;
    removed.oldest = at;
    Ok(removed)
}

/// Keeps a message as a dead letter; gives how many had to make room.
pub(super) fn bury(
    write: &WriteTransaction,
    message: &Message,
    why: &Refusal,
    now: ProcessingTime,
) -> Result<u64, Fault> {
    let mut dead = write.open_table(DEAD)?;
    let waiting = (
        message.at.0,
        message.key.as_str(),
        message.payload.as_slice(),
    );
    let refusal = (
        why.status.unwrap_or(0),
        why.attempts,
        now.0,
        why.reason.as_str(),
    );
    dead.insert(
        message.number,
        ((message.epoch, message.row), waiting, refusal),
    )?;
    let over = dead.len()?.saturating_sub(DEAD_MAX);
    for _ in 0..over {
        dead.pop_first()?;
    }
    Ok(over)
}

/// How many dead letters there are.
pub(super) fn dead_count(read: &ReadTransaction) -> Result<u64, Fault> {
    Ok(read.open_table(DEAD)?.len()?)
}

/// The dead letters, oldest first.
pub(super) fn dead_letters(read: &ReadTransaction) -> Result<Vec<DeadLetter>, Fault> {
    let mut letters = Vec::new();
    for entry in read.open_table(DEAD)?.iter()? {
        let (number, value) = entry?;
        let ((epoch, row), (at, key, payload), (status, attempts, died_at, reason)) = value.value();
        letters.push(DeadLetter {
            message: Message {
                number: number.value(),
                epoch,
                row,
                at: ProcessingTime(at),
                key: key.to_owned(),
                payload: payload.to_vec(),
            },
            status: (status > 0).then_some(status),
            attempts,
            reason: reason.to_owned(),
            died_at: ProcessingTime(died_at),
        });
    }
    Ok(letters)
}

/// What a courier has noted under a name.
pub(super) fn note(read: &ReadTransaction, name: &str) -> Result<Option<String>, Fault> {
    let notes = read.open_table(NOTES)?;
    Ok(notes.get(name)?.map(|note| note.value().0.to_owned()))
}

/// Notes something of a message under a name, or forgets what was noted.
pub(super) fn set_note(
    write: &WriteTransaction,
    name: &str,
    text: Option<&str>,
    number: u64,
) -> Result<(), Fault> {
    let mut notes = write.open_table(NOTES)?;
    let Some(text) = text else {
        notes.remove(name)?;
        return Ok(());
    };
    notes.insert(name, (text, number))?;
    if notes.len()? > NOTES_MAX {
        let mut ages = Vec::new();
        for entry in notes.iter()? {
            ages.push(entry?.1.value().1);
        }
        ages.sort_unstable();
        // Many at once: looking for the oldest reads all of them.
        let kept_from = ages.get(ages.len() / 10).copied().unwrap_or(0);
        notes.retain(|_, (_, number)| number >= kept_from)?;
    }
    Ok(())
}
