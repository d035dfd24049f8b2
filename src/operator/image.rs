//! The state of an aggregation as rows, and back.
//!
//! ```text
//! gone │ key..       │ partial states.. │ what else belongs to the key: when touched, what was emitted
//! ```
//! Invariant: an aggregation that takes in what another gave goes on as that one would have.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;

use super::aggregate::{Aggregate, Windows};
use super::sessions::Sessions;
use crate::error::{Error, Result, from_arrow};
use crate::state::{ChangedGroups, GroupTable};
use crate::types::{StateImage, StateNote, TableId, TablePlace, TableRows};

/// Takes down the tables of one operator of one lane.
pub struct Imaging<'a> {
    image: &'a mut StateImage,
    operator: usize,
    lane: usize,
    /// `None`: this is the last part of the image. Else so many groups are still wanted ahead of it.
    ahead: Option<&'a mut usize>,
}

impl<'a> Imaging<'a> {
    /// For an operator, by its place in the plan, and its lane.
    pub fn new(image: &'a mut StateImage, operator: usize, lane: usize) -> Self {
        Self {
            image,
            operator,
            lane,
            ahead: None,
        }
    }

    /// The same ahead of the image's last part: only groups, and no more than `room`, which shrinks. What
    /// changes of them afterwards is told again.
    pub fn ahead(
        image: &'a mut StateImage,
        (operator, lane): (usize, usize),
        room: &'a mut usize,
    ) -> Self {
        Self {
            ahead: Some(room),
            ..Self::new(image, operator, lane)
        }
    }

    /// How many groups are wanted.
    pub fn room(&self) -> usize {
        self.ahead.as_deref().copied().unwrap_or(usize::MAX)
    }

    /// Whether everything is to be told that has not been.
    pub(super) fn is_last_part(&self) -> bool {
        self.ahead.is_none()
    }

    fn id(&self, place: TablePlace) -> TableId {
        TableId {
            operator: self.operator,
            lane: self.lane,
            place,
        }
    }

    /// There is such a table.
    pub fn holds(&mut self, place: TablePlace) {
        let id = self.id(place);
        if self.is_last_part() {
            self.image.tables.push(id);
        }
    }

    /// Takes down a number.
    pub(super) fn note(&mut self, name: impl Into<String>, value: i64) {
        let note = StateNote {
            operator: self.operator,
            lane: self.lane,
            name: name.into(),
            value,
        };
        if self.is_last_part() {
            self.image.notes.push(note);
        }
    }

    /// Takes down what has changed of a table; `beside` gives what else belongs to some groups.
    pub(super) fn table(
        &mut self,
        place: TablePlace,
        table: &mut GroupTable,
        beside: impl FnOnce(&[usize]) -> Vec<ArrayRef>,
    ) -> Result<()> {
        self.holds(place);
        if self.room() == 0 {
            return Ok(());
        }
        match table.take_changed(self.room())? {
            Some(changed) => self.groups(place, changed, beside),
            None => Ok(()),
        }
    }

    /// Takes down changed groups of a table.
    pub(super) fn groups(
        &mut self,
        place: TablePlace,
        changed: ChangedGroups,
        beside: impl FnOnce(&[usize]) -> Vec<ArrayRef>,
    ) -> Result<()> {
        let mut behind = changed.states;
        behind.extend(beside(&changed.groups));
        let live = (changed.groups.len(), changed.keys);
        self.rows(place, changed.gone, live, behind)
    }

    /// Takes down rows: how many are gone or live, with their keys, and what stands behind the keys of
    /// the live ones.
    ///
    /// # Errors
    /// When the columns are not of one length, or keys of one type.
    pub fn rows(
        &mut self,
        place: TablePlace,
        (gone, gone_keys): (usize, Vec<ArrayRef>),
        (live, keys): (usize, Vec<ArrayRef>),
        behind: Vec<ArrayRef>,
    ) -> Result<()> {
        if let Some(room) = &mut self.ahead {
            **room = room.saturating_sub(live);
        }
        let key_columns = keys.len();
        let flags: BooleanArray = (0..gone + live).map(|row| Some(row < gone)).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(flags)];
        for (index, key) in keys.into_iter().enumerate() {
            columns.push(match gone_keys.get(index) {
                Some(gone) => concat(&[gone, &key]).map_err(from_arrow)?,
                None => key,
            });
        }
        for column in behind {
            let none = new_null_array(column.data_type(), gone);
            columns.push(match gone {
                0 => column,
                _ => concat(&[&none, &column]).map_err(from_arrow)?,
            });
        }
        let fields = columns.iter().enumerate().map(|(index, column)| {
            Field::new(format!("c{index}"), column.data_type().clone(), true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(schema, columns).map_err(from_arrow)?;
        self.image.rows.push(TableRows {
            table: self.id(place),
            rows,
            key_columns,
        });
        Ok(())
    }
}

/// Rows of a whole image on their way back.
pub(super) struct Restored<'a> {
    pub keys: &'a [ArrayRef],
    /// What stands behind the keys.
    pub behind: &'a [ArrayRef],
    pub rows: usize,
}

impl<'a> Restored<'a> {
    fn of(rows: &'a RecordBatch, key_columns: usize) -> Result<Self> {
        let columns = rows.columns();
        let (_, columns) = columns.split_first().ok_or_else(|| odd("no columns"))?;
        let split = columns.split_at_checked(key_columns);
        let (keys, behind) = split.ok_or_else(|| odd("too few columns"))?;
        Ok(Self {
            keys,
            behind,
            rows: rows.num_rows(),
        })
    }
}

/// An image that is not one of this operator.
pub(super) fn odd(what: &str) -> Error {
    Error::internal(format!("an image of the state cannot be used: {what}"))
}

impl Aggregate {
    /// Takes down what has changed since it was last taken down.
    ///
    /// # Errors
    /// When an aggregate cannot give its state.
    pub fn image(&mut self, into: &mut Imaging<'_>) -> Result<()> {
        let readable = self.grouping.readable();
        match &mut self.windows {
            Windows::None(one) => one.image(into),
            Windows::Fixed(fixed) => fixed.image(readable, into),
            Windows::Sliding(sliding) => sliding.image(into),
            Windows::Growing(growing) => growing.image(into),
            Windows::Sessions(sessions) => sessions.image(readable, into),
        }
    }

    /// Takes in the rows and numbers of a whole image that are this operator's. Those of several
    /// lanes may go to one.
    ///
    /// # Errors
    /// When they are none of this operator's.
    pub fn restore(&mut self, rows: &[&TableRows], notes: &[&StateNote]) -> Result<()> {
        let grouping = &self.grouping;
        for note in notes {
            match &mut self.windows {
                Windows::None(one) => one.restore_note(note),
                Windows::Sliding(sliding) => sliding.restore_note(note),
                Windows::Growing(growing) => growing.restore_note(note)?,
                Windows::Fixed(_) | Windows::Sessions(_) => {}
            }
        }
        for rows in rows {
            let place = rows.table.place;
            if place == TablePlace::Sessions {
                continue;
            }
            let rows = Restored::of(&rows.rows, rows.key_columns)?;
            match (&mut self.windows, place) {
                (Windows::None(one), TablePlace::Groups) => one.restore(grouping, &rows)?,
                (Windows::Fixed(fixed), TablePlace::Window { start, end }) => {
                    fixed.restore(grouping, (start, end), &rows)?;
                }
                (Windows::Sliding(sliding), TablePlace::Pane { start, from_end }) => {
                    sliding.restore(grouping, (start, from_end), &rows)?;
                }
                (Windows::Growing(growing), TablePlace::Pane { start, .. }) => {
                    growing.restore_pane(grouping, start, &rows)?;
                }
                (Windows::Growing(growing), TablePlace::Running { start }) => {
                    growing.restore_running(grouping, start, &rows)?;
                }
                (Windows::Sessions(sessions), TablePlace::JoinedSessions) => {
                    sessions.restore_joined(&rows)?;
                }
                _ => return Err(odd("a table is of another operator")),
            }
        }
        match &mut self.windows {
            Windows::Sliding(sliding) => sliding.restored(grouping),
            Windows::Sessions(sessions) => restore_sessions(sessions, rows),
            Windows::None(_) | Windows::Fixed(_) | Windows::Growing(_) => Ok(()),
        }
    }
}

/// Sessions come back all at once.
fn restore_sessions(sessions: &mut Sessions, rows: &[&TableRows]) -> Result<()> {
    let is_one = |rows: &&&TableRows| rows.table.place == TablePlace::Sessions;
    let batches = || rows.iter().filter(is_one).map(|rows| &rows.rows);
    let Some(first) = batches().next() else {
        return Ok(());
    };
    let all = concat_batches(&first.schema(), batches()).map_err(from_arrow)?;
    sessions.restore(&Restored::of(&all, 1)?)
}
