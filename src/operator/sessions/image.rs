//! Open sessions as rows, by number, and back.
//!
//! ```text
//! number │ partial states.. │ start │ last │ key.. │ what was emitted
//! ```

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, UInt32Array};
use arrow::datatypes::{Int64Type, UInt32Type};

use super::{NONE, Session, Sessions};
use crate::error::Result;
use crate::operator::image::{Imaging, Restored, odd};
use crate::types::TablePlace;

/// Numbers as a column.
pub(super) fn column_of(numbers: &[usize]) -> ArrayRef {
    let numbers = numbers.iter();
    let numbers = numbers.map(|n| u32::try_from(*n).expect("sessions are numbered by 32 bits"));
    Arc::new(UInt32Array::from_iter_values(numbers))
}

impl Sessions {
    /// Takes down what has changed.
    pub(in crate::operator) fn image(
        &mut self,
        readable: bool,
        into: &mut Imaging<'_>,
    ) -> Result<()> {
        into.holds(TablePlace::Sessions);
        into.holds(TablePlace::JoinedSessions);
        if into.is_last_part() {
            self.image_joined(into)?;
        }
        let Some(dirty) = self.dirty.as_mut().filter(|dirty| !dirty.is_clean()) else {
            return Ok(());
        };
        let (numbers, gone) = dirty.take(into.room())?;
        let sessions = || numbers.iter().map(|number| self.sessions[*number]);
        let starts = Int64Array::from_iter_values(sessions().map(|session| session.start));
        let lasts = Int64Array::from_iter_values(sessions().map(|session| session.last));
        let mut behind = self.values.states_of(&numbers)?;
        behind.push(Arc::new(starts));
        behind.push(Arc::new(lasts));
        behind.extend(
            self.keys
                .read(sessions().map(|session| session.key as usize))?,
        );
        if readable {
            behind.push(self.changes.emitted_of(numbers.iter().copied()));
        }
        let live = (numbers.len(), vec![column_of(&numbers)]);
        into.rows(TablePlace::Sessions, gone, live, behind)
    }

    /// All sessions whose last form has yet to be taken back: these are few.
    fn image_joined(&mut self, into: &mut Imaging<'_>) -> Result<()> {
        let (told, count) = (self.joined_told, self.joined.len());
        if told == 0 && count == 0 {
            return Ok(());
        }
        let keys = self.joined.iter().map(|(key, _)| *key);
        let mut behind = self.keys.read(keys)?;
        let emitted = self.joined.iter().map(|(_, emitted)| &**emitted);
        behind.push(Arc::new(BinaryArray::from_iter_values(emitted)));
        let numbers = |numbers: std::ops::Range<usize>| {
            let all: Vec<usize> = numbers.collect();
            (all.len(), vec![column_of(&all)])
        };
        self.joined_told = count;
        let gone = numbers(0..told);
        into.rows(TablePlace::JoinedSessions, gone, numbers(0..count), behind)
    }

    /// Takes in the sessions of an image; they must be all.
    pub(in crate::operator) fn restore(&mut self, rows: &Restored<'_>) -> Result<()> {
        let numbers = rows
            .keys
            .first()
            .and_then(|c| c.as_primitive_opt::<UInt32Type>());
        let numbers = numbers
            .ok_or_else(|| odd("sessions have no numbers"))?
            .values();
        let places: Vec<usize> = numbers.iter().map(|number| *number as usize).collect();
        let total = places.iter().max().map_or(0, |last| last + 1);
        let rest = self.values.restore(rows.behind, &places, total)?;
        let [starts, lasts, rest @ ..] = rest else {
            return Err(odd("sessions have no bounds"));
        };
        let times = |column: &'_ ArrayRef| column.as_primitive_opt::<Int64Type>().cloned();
        let bounds = times(starts).zip(times(lasts));
        let (starts, lasts) = bounds.ok_or_else(|| odd("the bounds of sessions are no times"))?;
        let width = self.keys.columns();
        let split = rest.split_at_checked(width);
        let (keys, emitted) = split.ok_or_else(|| odd("sessions lack a key"))?;
        let mut row_keys = Vec::new();
        self.keys.intern(keys, rows.rows, &mut row_keys)?;
        self.heads.resize(self.keys.count(), NONE);
        let unused = |number: u32| Session {
            start: 0,
            last: 0,
            key: 0,
            next: NONE,
            joined_to: number,
        };
        self.sessions = (0..).map(unused).take(total).collect();
        let mut is_used = vec![false; total];
        for (row, (&number, &key)) in numbers.iter().zip(&row_keys).enumerate() {
            let last = lasts.value(row);
            is_used[number as usize] = true;
            self.sessions[number as usize] = Session {
                start: starts.value(row),
                last,
                key: u32::try_from(key).expect("keys are numbered by 32 bits"),
                next: std::mem::replace(&mut self.heads[key], number),
                joined_to: number,
            };
            self.ends
                .push(Reverse((last.saturating_add(self.gap), number)));
        }
        let free = (0u32..).zip(is_used).filter(|(_, is_used)| !is_used);
        self.free = free.map(|(number, _)| number).collect();
        self.touch(&places);
        match emitted {
            [] => Ok(()),
            [emitted, ..] => self.changes.restore(&places, emitted),
        }
    }

    /// Takes in the sessions whose last form has yet to be taken back.
    pub(in crate::operator) fn restore_joined(&mut self, rows: &Restored<'_>) -> Result<()> {
        let split = rows.behind.split_at_checked(self.keys.columns());
        let (keys, emitted) = split.ok_or_else(|| odd("joined sessions lack a key"))?;
        let emitted = emitted
            .first()
            .and_then(|column| column.as_binary_opt::<i32>());
        let emitted = emitted.ok_or_else(|| odd("joined sessions lack what was emitted"))?;
        let mut row_keys = Vec::new();
        self.keys.intern(keys, rows.rows, &mut row_keys)?;
        self.heads.resize(self.keys.count(), NONE);
        let joined = row_keys.into_iter().enumerate();
        let joined = joined.map(|(row, key)| (key, Box::from(emitted.value(row))));
        self.joined.extend(joined);
        Ok(())
    }
}
