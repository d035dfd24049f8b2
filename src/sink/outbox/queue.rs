//! One sink's outbox: rows come in by epochs, and go out when somebody has taken them.
//!
//! ```text
//! stage ─► buffer ─► file, beyond `end` (when the buffer is full) ─► commit: `end` moves, with the epoch ─► look
//! ```
//! Invariants: only messages before `end` are looked at; `end`, the epoch and who committed it change in one
//! transaction with the epoch's messages.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::message::{DeadLetter, Head, Item, Message, OutboxState, Refusal};
use super::tables::{self, Marks, Removed};
use crate::clock::SharedClock;
use crate::crash_point;
use crate::error::{Error, Result, SqlState};
use crate::redb_file::{About, RedbFile};
use crate::types::ProcessingTime;

const ABOUT: About = About {
    what: "the messages that wait for the sink",
    hint: "Put back a copy of the file; or drop the sink, which gives up what waits, and create it again.",
};
/// Staged rows that are kept in memory; more go to the file ahead of their epoch's end.
const BUFFER_BYTES: u64 = 1 << 20;
/// How often someone who waits for room looks whether the query is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// So many settlings may come again after a crash: each would wait for the disk otherwise.
const LIGHT_MAX: u32 = 32;

/// What becomes of messages that were looked at.
#[derive(Debug, Default)]
pub(super) struct Settled<'a> {
    pub(super) messages: &'a [Message],
    /// `None`: they were taken.
    pub(super) refusal: Option<Refusal>,
    /// What the courier notes, or forgets.
    pub(super) notes: Vec<(String, Option<String>)>,
}

/// What has come into an outbox since somebody looked.
#[derive(Debug)]
pub(in crate::sink) struct News {
    pub(in crate::sink) heads: Vec<Head>,
    /// From here on nothing is known yet.
    pub(in crate::sink) end: u64,
    /// Somebody waits for room.
    pub(in crate::sink) is_full: bool,
}

/// The rows that wait for one destination.
#[derive(Debug)]
pub struct Outbox {
    name: String,
    /// What the keys of its messages begin with.
    prefix: String,
    clock: SharedClock,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    file: RedbFile,
    marks: Marks,
    /// The next message's number in the file: greater than `end` when an epoch's first rows are there ahead.
    written: u64,
    buffer: Vec<Item>,
    buffer_bytes: u64,
    /// What all staged rows count for, those in the file too.
    staged_bytes: u64,
    staged: u64,
    state: OutboxState,
    /// Settlings since the last that lasts for certain.
    light: u32,
    /// The file had to be opened anew, and what was there ahead of its epoch may be gone.
    spoilt: bool,
    closed: bool,
    /// Bytes that may wait.
    bytes_max: u64,
    /// Who delivers; an earlier one is to end.
    deliverer: u64,
}

impl Inner {
    /// Goes back to what the file has of epochs that were committed.
    fn recover(&mut self) -> Result<()> {
        if let Some(marks) = self.file.read(tables::marks)? {
            self.marks = marks;
        }
        let end = self.marks.end;
        self.file.write(|write| tables::truncate(write, end))?;
        let (waiting, waiting_bytes, oldest_at) = self.file.read(|read| tables::sums(read, end))?;
        self.state.waiting = waiting;
        self.state.waiting_bytes = waiting_bytes;
        self.state.oldest_at = oldest_at;
        self.state.dead = self.file.read(tables::dead_count)?;
        self.written = end;
        self.buffer.clear();
        (self.buffer_bytes, self.staged, self.staged_bytes) = (0, 0, 0);
        self.spoilt = false;
        Ok(())
    }

    /// Somebody waits for room since then, or nobody.
    fn full(&mut self, since: Option<ProcessingTime>) {
        self.state.full_since = since;
    }

    fn is_full(&self) -> bool {
        self.state.full_since.is_some()
    }

    /// Whether the one who delivers under a number is to end.
    fn ends(&self, deliverer: u64) -> bool {
        self.closed || self.deliverer != deliverer
    }

    /// After trouble with the file nothing that was there ahead of its epoch's end may count.
    fn checked<T>(&mut self, done: Result<T>) -> Result<T> {
        self.spoilt |= done.is_err() && self.written > self.marks.end;
        done
    }
}

impl Outbox {
    /// Opens an outbox or makes it; `None`: in memory. At `bytes_max` who stages waits.
    ///
    /// # Errors
    /// A file that is damaged, a disk that refuses.
    pub(super) fn open(
        place: Option<PathBuf>,
        name: &str,
        bytes_max: u64,
        clock: SharedClock,
    ) -> Result<Self> {
        let mut file = RedbFile::open(place, ABOUT)?;
        let marks = match file.read(tables::marks)? {
            Some(marks) => marks,
            None => {
                let id = uuid::Uuid::new_v4().as_u64_pair().0;
                file.write(|write| tables::begin(write, id))?;
                let new = Marks::default();
                Marks { id, ..new }
            }
        };
        let mut inner = Inner {
            file,
            marks,
            written: marks.end,
            buffer: Vec::new(),
            buffer_bytes: 0,
            staged_bytes: 0,
            staged: 0,
            state: OutboxState::default(),
            light: 0,
            spoilt: false,
            closed: false,
            bytes_max,
            deliverer: 0,
        };
        inner.recover()?;
        Ok(Self {
            name: name.to_owned(),
            prefix: format!("{name}-{:08x}", marks.id >> 32),
            clock,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        })
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it stands.
    pub fn state(&self) -> OutboxState {
        self.lock().state.clone()
    }

    /// The messages that were given up, oldest first.
    ///
    /// # Errors
    /// What the disk says.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        self.lock().file.read(tables::dead_letters)
    }

    /// What a courier has noted under a name.
    ///
    /// # Errors
    /// What the disk says.
    pub fn note(&self, name: &str) -> Result<Option<String>> {
        self.lock().file.read(|read| tables::note(read, name))
    }

    /// The last epoch that was committed, and who committed it.
    pub(super) fn committed(&self) -> Option<(u64, u64)> {
        self.lock().marks.committed
    }

    /// Messages and staged rows that wait.
    pub(super) fn backlog(&self) -> u64 {
        let inner = self.lock();
        inner.state.waiting + inner.staged
    }

    /// Bytes that may still be staged before the bound is reached by what is staged alone: then only the
    /// epoch's end lets anything leave. `None`: something that was committed waits, and leaves by itself.
    pub(super) fn room(&self) -> Option<u64> {
        let inner = self.lock();
        let is_alone = inner.state.waiting == 0;
        is_alone.then(|| inner.bytes_max.saturating_sub(inner.staged_bytes))
    }

    /// Takes rows of an epoch that has not ended. Waits while the outbox is full, unless it holds nothing
    /// but this epoch: that one can go on only by its end.
    ///
    /// # Errors
    /// When it is to stop, as `stopping` says, or what the disk says.
    pub(super) fn stage(&self, items: Vec<Item>, stopping: &dyn Fn() -> bool) -> Result<()> {
        let bytes: u64 = items.iter().map(Item::bytes).sum();
        let mut inner = self.lock();
        while inner.state.waiting > 0
            && inner.state.waiting_bytes + inner.staged_bytes + bytes > inner.bytes_max
        {
            if stopping() || inner.closed {
                inner.full(None);
                return Err(stopped(&self.name));
            }
            if !inner.is_full() {
                inner.full(Some(self.clock.now()));
                self.changed.notify_all();
            }
            let waited = self.changed.wait_timeout(inner, LOOK);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.full(None);
        inner.staged += items.iter().map(|item| item.rows).sum::<u64>();
        inner.staged_bytes += bytes;
        inner.buffer_bytes += bytes;
        inner.buffer.extend(items);
        if inner.buffer_bytes > BUFFER_BYTES {
            let Inner {
                file,
                written,
                buffer,
                ..
            } = &mut *inner;
            file.write_lightly(|write| tables::add(write, *written, buffer))?;
            *written += buffer.len() as u64;
            buffer.clear();
            inner.buffer_bytes = 0;
        }
        Ok(())
    }

    /// Ends an epoch: its rows and its number last when this returns.
    ///
    /// # Errors
    /// What the disk says: then it is not known whether the epoch lasts.
    pub(super) fn commit(&self, epoch: u64, writer: u64) -> Result<()> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(stopped(&self.name));
        }
        if inner.spoilt {
            let text = format!("the outbox of sink \"{}\" was opened anew", self.name);
            return Err(Error::external(SqlState::IoError, true, text));
        }
        crash_point::reach("an outbox takes an epoch");
        let Inner {
            file,
            marks,
            written,
            buffer,
            ..
        } = &mut *inner;
        let (first, end) = (*written, *written + buffer.len() as u64);
        file.write(|write| {
            tables::add(write, first, buffer)?;
            tables::mark(write, marks.end, end, (epoch, writer))
        })?;
        crash_point::reach("an outbox has an epoch");
        marks.committed = Some((epoch, writer));
        marks.end = end;
        *written = end;
        let oldest = buffer.first().map(|item| item.at);
        buffer.clear();
        inner.buffer_bytes = 0;
        inner.light = 0;
        let (staged, bytes) = (inner.staged, inner.staged_bytes);
        (inner.staged, inner.staged_bytes) = (0, 0);
        let state = &mut inner.state;
        state.waiting += staged;
        state.waiting_bytes += bytes;
        if staged > 0 && state.oldest_at.is_none() {
            state.oldest_at = oldest.or_else(|| Some(self.clock.now()));
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Gives up what was staged since the last commit, and goes by what the file has.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn recover(&self) -> Result<()> {
        let mut inner = self.lock();
        let recovered = inner.recover();
        self.changed.notify_all();
        recovered
    }

    /// Bytes that may wait from now on.
    pub(super) fn set_bytes_max(&self, bytes_max: u64) {
        self.lock().bytes_max = bytes_max;
        self.changed.notify_all();
    }

    /// Whoever delivers from now on has this number; an earlier one ends.
    pub(in crate::sink) fn new_deliverer(&self) -> u64 {
        let mut inner = self.lock();
        inner.deliverer += 1;
        self.changed.notify_all();
        inner.deliverer
    }

    /// The oldest messages, so many at the most; waits for the first. `None`: the one who asks is to end.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn look(&self, count: usize, deliverer: u64) -> Result<Option<Vec<Message>>> {
        let mut inner = self.lock();
        loop {
            if inner.ends(deliverer) {
                return Ok(None);
            }
            if inner.state.waiting > 0 {
                let end = inner.marks.end;
                let found = inner
                    .file
                    .read(|read| tables::oldest(read, end, count, &self.prefix));
                return inner.checked(found).map(Some);
            }
            let waited = self.changed.wait(inner);
            inner = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is known of the messages from a number on; waits for one, or until somebody waits for room, for
    /// so long at the most (`None`: without end). `None`: the one who asks is to end.
    ///
    /// # Errors
    /// What the disk says.
    pub(in crate::sink) fn news(
        &self,
        from: u64,
        wait: Option<Duration>,
        deliverer: u64,
    ) -> Result<Option<News>> {
        let mut inner = self.lock();
        let nothing = |inner: &mut Inner| {
            !inner.ends(deliverer) && !inner.is_full() && inner.marks.end <= from
        };
        inner = match wait {
            Some(wait) => {
                let waited = self.changed.wait_timeout_while(inner, wait, nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.changed.wait_while(inner, nothing);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        if inner.ends(deliverer) {
            return Ok(None);
        }
        let (end, is_full) = (inner.marks.end, inner.is_full());
        let heads = match end > from {
            true => inner.file.read(|read| tables::heads(read, from, end)),
            false => Ok(Vec::new()),
        };
        let heads = inner.checked(heads)?;
        Ok(Some(News {
            heads,
            end,
            is_full,
        }))
    }

    /// What a message holds; `None`: there is no such message.
    ///
    /// # Errors
    /// What the disk says.
    pub(in crate::sink) fn payload(&self, number: u64) -> Result<Option<Vec<u8>>> {
        let mut inner = self.lock();
        let payload = inner.file.read(|read| tables::payload(read, number));
        inner.checked(payload)
    }

    /// Notes a decision before it is acted upon: it lasts when this returns.
    ///
    /// # Errors
    /// What the disk says.
    pub(in crate::sink) fn decide(&self, name: &str, text: &str) -> Result<()> {
        let mut inner = self.lock();
        let number = inner.marks.end;
        let act =
            |write: &redb::WriteTransaction| tables::set_note(write, name, Some(text), number);
        let done = inner.file.write(act);
        inner.checked(done)
    }

    /// Takes messages out that were acted upon as was decided under a name.
    ///
    /// # Errors
    /// What the disk says; then they are there still.
    pub(in crate::sink) fn done(&self, name: &str, numbers: &[u64]) -> Result<()> {
        let message = |number: &u64| Message {
            number: *number,
            epoch: 0,
            row: 0,
            at: ProcessingTime(0),
            key: String::new(),
            payload: Vec::new(),
        };
        let messages: Vec<Message> = numbers.iter().map(message).collect();
        self.settle(&Settled {
            messages: &messages,
            refusal: None,
            notes: vec![(name.to_owned(), None)],
        })
    }

    /// Makes a dead letter of an item that nobody can take.
    ///
    /// # Errors
    /// What the disk says; then it is there still.
    pub(in crate::sink) fn refuse(&self, head: &Head, reason: String) -> Result<()> {
        let message = Message {
            number: head.number,
            epoch: 0,
            row: 0,
            at: head.at,
            key: head.key.clone(),
            payload: self.payload(head.number)?.unwrap_or_default(),
        };
        self.settle(&Settled {
            messages: &[message],
            refusal: Some(Refusal {
                status: None,
                attempts: 1,
                reason,
            }),
            notes: Vec::new(),
        })
    }

    /// Chosen by chance when the outbox was made: no other of its name has it.
    pub(in crate::sink) fn id(&self) -> String {
        format!("{:08x}", self.number() >> 32)
    }

    /// All of what was chosen then.
    pub(super) fn number(&self) -> u64 {
        self.lock().marks.id
    }

    /// Takes messages out that were taken or are dead letters now, with what the courier notes of them.
    ///
    /// # Errors
    /// What the disk says; then they are there still.
    pub(super) fn settle(&self, settled: &Settled<'_>) -> Result<()> {
        let now = self.clock.now();
        let mut inner = self.lock();
        let end = inner.marks.end;
        let messages = settled.messages;
        let (mut removed, mut made_room) = (Removed::default(), 0);
        let act = |write: &redb::WriteTransaction| {
            let numbers = messages.iter().map(|message| message.number);
            removed = tables::remove(write, numbers, end)?;
            for message in messages {
                if let Some(why) = &settled.refusal {
                    made_room += tables::bury(write, message, why, now)?;
                }
            }
            let last = messages.last().map_or(0, |message| message.number);
            for (name, text) in &settled.notes {
                tables::set_note(write, name, text.as_deref(), last)?;
            }
            Ok(())
        };
        let count = messages.len() as u64;
        let is_light = settled.refusal.is_none()
            && settled.notes.is_empty()
            && inner.state.waiting > count
            && inner.light < LIGHT_MAX;
        let done = match is_light {
            true => inner.file.write_lightly(act),
            false => inner.file.write(act),
        };
        inner.checked(done)?;
        inner.light = if is_light { inner.light + 1 } else { 0 };
        let state = &mut inner.state;
        state.waiting -= removed.count;
        state.waiting_bytes -= removed.bytes;
        state.oldest_at = removed.oldest;
        state.is_failing = false;
        // Whoever waits for room looks again, and says so if it was not enough.
        inner.full(None);
        let state = &mut inner.state;
        match &settled.refusal {
            None => state.delivered += removed.count,
            Some(why) => {
                state.dead = state.dead + count - made_room;
                state.last_error = Some((why.reason.clone(), now));
            }
        }
        self.changed.notify_all();
        drop(inner);
        if made_room > 0 {
            tracing::warn!(sink = %self.name, made_room, "oldest dead letters of the sink dropped");
        }
        Ok(())
    }

    /// Something went wrong on the way and is tried again.
    pub(in crate::sink) fn note_retry(&self, reason: &str) {
        let now = self.clock.now();
        let state = &mut self.lock().state;
        state.retried += 1;
        state.is_failing = true;
        state.last_error = Some((reason.to_owned(), now));
    }

    /// Waits so long, or until the one who waits is to end; false then.
    pub(in crate::sink) fn pause(&self, duration: Duration, deliverer: u64) -> bool {
        let inner = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(inner, duration, |inner| !inner.ends(deliverer));
        let inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        !inner.ends(deliverer)
    }

    /// Ends every wait, for good; the file stays.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The wall clock, as the outbox sees it.
    pub(in crate::sink) fn now(&self) -> ProcessingTime {
        self.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped(name: &str) -> Error {
    let text = format!("sink \"{name}\" was stopped while its outbox was full");
    Error::external(SqlState::QueryCanceled, true, text)
}

#[cfg(test)]
mod tests;
