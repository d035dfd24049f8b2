//! Sessions: rows of a key with less than a gap between one and the next.
//!
//! ```text
//! gap 10   key a   [3 .. 9]→19    [40]→50       a row at 12 extends the first to 12→22
//!          key b   [5 .. 5]→15                  rows at 14 and 24 would join two that they meet
//! ```
//! Each session has a number; its values lie under that number. Invariants: open sessions of a key
//! lie at least a gap apart; a session has closed, for the rows that come after, as soon as the
//! watermark of a row has reached its end, wherever micro-batches are cut.

mod image;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::ArrayRef;

use super::changes::Changes;
use super::grouping::{Evaluated, Grouping};
use super::placement::{LateRow, RowClock, out_of_range};
use crate::error::Result;
use crate::state::{Dirty, Keys, Refused, Values};
use crate::types::WindowSpan;

/// No session.
const NONE: u32 = u32::MAX;

/// The open sessions.
pub(super) struct Sessions {
    gap: i64,
    keys: Keys,
    /// For each key its first session; the others are linked to it.
    heads: Vec<u32>,
    sessions: Vec<Session>,
    /// Numbers that can be used again.
    free: Vec<u32>,
    /// Every session's end, or an earlier one; one entry a session, also of those that were joined.
    ends: BinaryHeap<Reverse<(i64, u32)>>,
    values: Values,
    pub changes: Changes,
    /// Emitted sessions that were joined to others since: the key, and what was emitted.
    pub joined: Vec<(usize, Box<[u8]>)>,
    /// Sessions that end at or before this, or start before the other, are not emitted.
    ignore: (i64, i64),
    /// `None`: nobody takes images.
    dirty: Option<Dirty>,
    /// How many of `joined` the last image named.
    joined_told: usize,
    /// Each row's key and session in the batch under way; kept to reuse their memory.
    row_keys: Vec<usize>,
    row_sessions: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    start: i64,
    last: i64,
    key: u32,
    /// The key's next session.
    next: u32,
    /// The session that it was joined to, or itself. A joined one's number is not used again until
    /// its entry in `ends` is met.
    joined_to: u32,
}

/// Sessions on their way out.
pub(super) struct ClosedSessions {
    pub spans: Vec<WindowSpan>,
    pub keys: Vec<ArrayRef>,
    pub values: Vec<ArrayRef>,
    /// Those of them that have no values; NULL stands in their place.
    pub refused: Refused,
}

impl Sessions {
    pub(super) fn try_new(gap: i64, grouping: &Grouping) -> Result<Self> {
        Ok(Self {
            gap,
            keys: Keys::try_new(grouping.key_fields())?,
            heads: Vec::new(),
            sessions: Vec::new(),
            free: Vec::new(),
            ends: BinaryHeap::new(),
            values: Values::try_new(grouping.functions())?,
            changes: Changes::default(),
            joined: Vec::new(),
            ignore: (i64::MIN, i64::MIN),
            dirty: grouping.durable().then(Dirty::default),
            joined_told: 0,
            row_keys: Vec::new(),
            row_sessions: Vec::new(),
        })
    }

    /// Does not emit sessions that end at or before `until`, nor those that start before `from`.
    pub(super) fn ignore(&mut self, until: i64, from: i64) {
        self.ignore = (until, from);
    }

    pub(super) fn process(
        &mut self,
        grouping: &Grouping,
        columns: &Evaluated,
        times: &[i64],
        clock: &RowClock<'_>,
    ) -> Result<Vec<LateRow>> {
        let mut row_keys = std::mem::take(&mut self.row_keys);
        self.keys
            .intern(&columns.keys, columns.len, &mut row_keys)?;
        self.heads.resize(self.keys.count(), NONE);
        let (mut late, mut late_keys) = (Vec::new(), Vec::new());
        let mut on_time: Vec<u32> = Vec::with_capacity(times.len());
        let mut joins = Vec::new();
        self.row_sessions.clear();
        for (row, (&time, &key)) in (0u32..).zip(times.iter().zip(&row_keys)) {
            let closed = clock.closed_until(row as usize);
            let alone = self.alone(time)?;
            match self.find(key, alone, closed, &mut joins) {
                Some(session) => {
                    on_time.push(row);
                    self.row_sessions.push(session as usize);
                }
                None => {
                    late.push(clock.late(row as usize, alone));
                    late_keys.push(key);
                }
            }
        }
        self.row_keys = row_keys;
        self.forget_unused(late_keys);
        for session in &mut self.row_sessions {
            *session = resolve(&self.sessions, *session);
        }
        let part = (on_time.len() < columns.len)
            .then(|| columns.take(&on_time))
            .transpose()?;
        let columns = part.as_ref().unwrap_or(columns);
        self.values.update(
            &columns.arguments,
            &columns.filters,
            &self.row_sessions,
            self.sessions.len(),
        )?;
        if let Some(dirty) = &mut self.dirty {
            dirty.mark(&self.row_sessions, self.sessions.len());
        }
        for (from, into) in joins {
            self.values.fold(from, into)?;
            self.note_gone(&[from]);
            self.touch(&[resolve(&self.sessions, into)]);
            if let Some(old) = self.changes.forget(from) {
                self.joined.push((self.sessions[from].key as usize, old));
                self.changes.touch(&[resolve(&self.sessions, into)]);
            }
        }
        if grouping.readable() {
            self.changes.touch(&self.row_sessions);
        }
        Ok(late)
    }

    /// The session that a row alone would make.
    fn alone(&self, time: i64) -> Result<WindowSpan> {
        let end = time.checked_add(self.gap).ok_or_else(out_of_range)?;
        Ok(WindowSpan { start: time, end })
    }

    /// The session that takes a row in; `None` when the row is late. Sessions that the row joins
    /// are noted in `joins`, as from and into.
    fn find(
        &mut self,
        key: usize,
        row: WindowSpan,
        closed: i64,
        joins: &mut Vec<(usize, usize)>,
    ) -> Option<u32> {
        let mut found = NONE;
        let (mut before, mut number) = (NONE, self.heads[key]);
        while number != NONE {
            let session = self.sessions[number as usize];
            let end = session.last + self.gap;
            let meets = row.start < end && session.start < row.end && end > closed;
            if meets && found == NONE {
                found = number;
                let taken = &mut self.sessions[number as usize];
                taken.start = session.start.min(row.start);
                taken.last = session.last.max(row.start);
            } else if meets {
                self.unlink(key, before, session.next);
                self.sessions[number as usize].joined_to = found;
                let taken = &mut self.sessions[found as usize];
                taken.start = taken.start.min(session.start);
                taken.last = taken.last.max(session.last);
                joins.push((number as usize, found as usize));
                number = session.next;
                continue;
            }
            (before, number) = (number, session.next);
        }
        if found != NONE {
            return Some(found);
        }
        (row.end > closed).then(|| self.open(key, row))
    }

    fn open(&mut self, key: usize, row: WindowSpan) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            u32::try_from(self.sessions.len())
                .expect("the memory budget ends a query before 2^32 sessions")
        });
        let session = Session {
            start: row.start,
            last: row.start,
            key: u32::try_from(key).expect("keys are numbered by 32 bits"),
            next: self.heads[key],
            joined_to: number,
        };
        match self.sessions.get_mut(number as usize) {
            Some(place) => *place = session,
            None => self.sessions.push(session),
        }
        self.heads[key] = number;
        self.ends.push(Reverse((row.end, number)));
        number
    }

    /// Takes a session out of its key's chain: `before` is the one that leads to it.
    fn unlink(&mut self, key: usize, before: u32, next: u32) {
        match before {
            NONE => self.heads[key] = next,
            before => self.sessions[before as usize].next = next,
        }
    }

    /// What belongs to some sessions has changed.
    pub(super) fn touch(&mut self, numbers: &[usize]) {
        let total = self.sessions.len();
        if let Some(dirty) = &mut self.dirty {
            dirty.mark(numbers, total);
        }
    }

    /// Sessions are there no more.
    fn note_gone(&mut self, numbers: &[usize]) {
        if let Some(dirty) = &mut self.dirty
            && !numbers.is_empty()
        {
            dirty.release(numbers, vec![image::column_of(numbers)]);
        }
    }

    /// Takes the sessions that end at or before `until`, earliest end first.
    pub(super) fn close(&mut self, until: i64) -> Result<ClosedSessions> {
        let numbers = self.ended(until);
        let emitted: Vec<u32> = numbers
            .iter()
            .copied()
            .filter(|number| self.counts(self.span(*number as usize)))
            .collect();
        let closed = self.read(&emitted)?;
        let released: Vec<usize> = numbers.iter().map(|number| *number as usize).collect();
        self.values.release(&released)?;
        self.note_gone(&released);
        for &number in &numbers {
            self.changes.forget(number as usize);
            self.remove(number);
        }
        Ok(closed)
    }

    /// The sessions that end at or before `until`, in the order in which they close. Numbers of
    /// joined ones become free on the way.
    fn ended(&mut self, until: i64) -> Vec<u32> {
        let mut ended = Vec::new();
        while let Some(&Reverse((end, number))) = self.ends.peek() {
            if end > until {
                break;
            }
            self.ends.pop();
            let session = self.sessions[number as usize];
            let end = session.last + self.gap;
            if session.joined_to != number {
                self.free.push(number);
            } else if end > until {
                self.ends.push(Reverse((end, number)));
            } else {
                ended.push(number);
            }
        }
        ended.sort_by_key(|number| (self.span(*number as usize), *number));
        ended
    }

    fn remove(&mut self, number: u32) {
        let session = self.sessions[number as usize];
        let key = session.key as usize;
        let (mut before, mut at) = (NONE, self.heads[key]);
        while at != number && at != NONE {
            (before, at) = (at, self.sessions[at as usize].next);
        }
        self.unlink(key, before, session.next);
        self.free.push(number);
        self.forget_unused([key]);
    }

    /// Forgets keys that have no session.
    fn forget_unused(&mut self, keys: impl IntoIterator<Item = usize>) {
        for key in keys {
            if self.heads[key] == NONE {
                self.keys.remove(key);
            }
        }
    }

    /// True when a session is emitted.
    pub(super) fn counts(&self, span: WindowSpan) -> bool {
        let (until, from) = self.ignore;
        span.end > until && span.start >= from
    }

    /// A session's window.
    pub(super) fn span(&self, number: usize) -> WindowSpan {
        let Session { start, last, .. } = self.sessions[number];
        let end = last + self.gap;
        WindowSpan { start, end }
    }

    /// Windows, keys and values of some sessions, which stay.
    pub(super) fn read(&mut self, numbers: &[u32]) -> Result<ClosedSessions> {
        let places: Vec<usize> = numbers.iter().map(|number| *number as usize).collect();
        let keys = places.iter().map(|n| self.sessions[*n].key as usize);
        let (values, refused) = self.values.read(&places)?;
        Ok(ClosedSessions {
            spans: places.iter().map(|number| self.span(*number)).collect(),
            keys: self.keys.read(keys)?,
            values,
            refused,
        })
    }

    /// The key columns of some keys.
    pub(super) fn keys_of(&self, keys: impl Iterator<Item = usize>) -> Result<Vec<ArrayRef>> {
        self.keys.read(keys)
    }

    /// The next session to close, unless more rows come.
    pub(super) fn next(&self) -> Option<WindowSpan> {
        let Reverse((_, number)) = self.ends.peek()?;
        Some(self.span(resolve(&self.sessions, *number as usize)))
    }

    /// An end at or before which no session ends.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.ends.peek().map(|Reverse((end, _))| *end)
    }

    pub(super) fn groups(&self) -> usize {
        self.sessions.len() - self.free.len()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.values.size_bytes()
            + self.changes.size_bytes()
            + self.sessions.capacity() * size_of::<Session>()
            + self.ends.capacity() * size_of::<Reverse<(i64, u32)>>()
            + (self.heads.capacity() + self.free.capacity()) * size_of::<u32>()
    }
}

/// The session that a session was joined to in the end.
fn resolve(sessions: &[Session], mut number: usize) -> usize {
    while sessions[number].joined_to as usize != number {
        number = sessions[number].joined_to as usize;
    }
    number
}
