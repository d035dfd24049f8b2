//! Aggregates without a window: one table that never closes, and what its groups' time to live
//! takes out of it.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::changes::Changes;
use super::grouping::{Evaluated, Grouping};
use super::image::{Imaging, Restored, odd};
use crate::error::Result;
use crate::state::{Frozen, GroupTable};
use crate::types::{StateNote, TablePlace, Watermark};

/// The one table.
#[derive(Default)]
pub(super) struct Unwindowed {
    table: Option<GroupTable>,
    pub changes: Changes,
    /// How long a group stays that no row touches. Microseconds of event time.
    ttl: Option<i64>,
    /// The watermark when each group was touched last, if groups expire.
    touched_at: Vec<i64>,
    /// Groups touched since the watermark was last told.
    fresh: Vec<usize>,
    /// The watermark at the last look for expired groups.
    looked_at: i64,
}

/// What the time of the last look is called in an image.
const LOOKED_AT: &str = "looked at";
/// The time of a group that was touched since the watermark was last told.
const FRESH: i64 = i64::MAX - 1;
/// The time of a number that no group has.
const FREE: i64 = i64::MAX;
/// Groups look for their end this often within a time to live.
const LOOKS_A_TTL: i64 = 8;

impl Unwindowed {
    pub(super) fn new(ttl: Option<i64>) -> Self {
        Self {
            ttl,
            looked_at: i64::MIN,
            ..Self::default()
        }
    }

    pub(super) fn update(&mut self, grouping: &Grouping, columns: &Evaluated) -> Result<()> {
        self.change(grouping, |table, touched| {
            grouping.update(table, columns, None, touched)
        })
    }

    /// Takes in groups.
    pub(super) fn merge(&mut self, grouping: &Grouping, groups: &Frozen) -> Result<()> {
        self.change(grouping, |table, touched| {
            touched(table.merge(groups)?);
            Ok(())
        })
    }

    /// Lets the table be changed; whoever does it tells which groups it touches.
    fn change(
        &mut self,
        grouping: &Grouping,
        change: impl FnOnce(&mut GroupTable, &mut dyn FnMut(&[usize])) -> Result<()>,
    ) -> Result<()> {
        let table = match &mut self.table {
            Some(table) => table,
            None => self.table.insert(grouping.table()?),
        };
        let (changes, touched_at) = (&mut self.changes, &mut self.touched_at);
        let fresh = &mut self.fresh;
        let expires = self.ttl.is_some();
        change(table, &mut |groups| {
            changes.touch(groups);
            for &group in groups.iter().filter(|_| expires) {
                if group >= touched_at.len() {
                    touched_at.resize(group + 1, FREE);
                }
                if touched_at[group] != FRESH {
                    touched_at[group] = FRESH;
                    fresh.push(group);
                }
            }
        })
    }

    /// The table alone, once a row has come.
    pub(super) fn into_table(self) -> Option<GroupTable> {
        self.table
    }

    /// The table, once a row has come.
    pub(super) fn table(&mut self) -> Option<(&mut GroupTable, &mut Changes)> {
        let table = self.table.as_mut()?;
        Some((table, &mut self.changes))
    }

    /// The groups whose time is over; the caller releases them. Not looked for at every call.
    pub(super) fn expired(&mut self, watermark: Watermark) -> Vec<usize> {
        let Some(ttl) = self.ttl else {
            return Vec::new();
        };
        let now = watermark.0.0;
        for group in self.fresh.drain(..) {
            self.touched_at[group] = now;
        }
        if now < self.looked_at.saturating_add(ttl / LOOKS_A_TTL) {
            return Vec::new();
        }
        self.looked_at = now;
        let over = now.saturating_sub(ttl);
        let groups = self.touched_at.iter().enumerate();
        groups
            .filter(|(_, at)| **at <= over)
            .map(|(group, _)| group)
            .collect()
    }

    /// Takes down what has changed.
    pub(super) fn image(&mut self, into: &mut Imaging<'_>) -> Result<()> {
        into.note(LOOKED_AT, self.looked_at);
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        let (changes, touched_at) = (&self.changes, &self.touched_at);
        let expires = self.ttl.is_some();
        into.table(TablePlace::Groups, table, |groups| {
            let mut columns = vec![changes.emitted_of(groups.iter().copied())];
            if expires {
                let times = groups.iter().map(|group| touched_at[*group]);
                columns.push(Arc::new(Int64Array::from_iter_values(times)));
            }
            columns
        })
    }

    /// Takes in a number of an image.
    pub(super) fn restore_note(&mut self, note: &StateNote) {
        if note.name == LOOKED_AT {
            self.looked_at = note.value;
        }
    }

    /// Takes in the groups of an image.
    pub(super) fn restore(&mut self, grouping: &Grouping, rows: &Restored<'_>) -> Result<()> {
        let table = match &mut self.table {
            Some(table) => table,
            None => self.table.insert(grouping.table()?),
        };
        let (groups, beside) = table.restore(rows.keys, rows.behind, rows.rows)?;
        let [emitted, times @ ..] = beside else {
            return Err(odd("what was emitted is missing"));
        };
        self.changes.restore(groups, emitted)?;
        if self.ttl.is_none() {
            return Ok(());
        }
        let times = times
            .first()
            .and_then(|times| times.as_primitive_opt::<Int64Type>());
        let times = times.ok_or_else(|| odd("the times of groups are missing"))?;
        for (&group, time) in groups.iter().zip(times.values()) {
            if group >= self.touched_at.len() {
                self.touched_at.resize(group + 1, FREE);
            }
            self.touched_at[group] = *time;
        }
        Ok(())
    }

    /// Takes groups out; gives what was emitted of each.
    pub(super) fn release(&mut self, groups: &[usize]) -> Result<Vec<Option<Box<[u8]>>>> {
        if let Some(table) = &mut self.table {
            table.release(groups)?;
        }
        let mut emitted = Vec::with_capacity(groups.len());
        for &group in groups {
            self.touched_at[group] = FREE;
            emitted.push(self.changes.forget(group));
        }
        Ok(emitted)
    }

    pub(super) fn groups(&self) -> usize {
        self.table.as_ref().map_or(0, GroupTable::live)
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.table.as_ref().map_or(0, GroupTable::size_bytes)
            + self.changes.size_bytes()
            + self.touched_at.capacity() * size_of::<i64>()
            + self.fresh.capacity() * size_of::<usize>()
    }
}
