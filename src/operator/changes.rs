//! Which groups have changed since they were last emitted, and what was emitted of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, UInt32Array};
use arrow::compute::take;
use arrow::row::{RowConverter, Rows};

use super::image::odd;
use crate::error::{Result, from_arrow};
use crate::state::Refused;

/// The groups touched since the last emission, and the values last emitted of each.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In the order in which they were touched.
    touched: Vec<usize>,
    is_touched: Vec<bool>,
    /// Each group's values in Arrow's row format.
    emitted: Vec<Option<Box<[u8]>>>,
    emitted_bytes: usize,
}

/// What differs from what was emitted last.
pub(super) struct Differences {
    /// Which of the groups asked about differ, by their place in the question.
    pub changed: Vec<u32>,
    /// For each of `changed` its old values, if any were emitted.
    pub old: Vec<Option<Box<[u8]>>>,
    /// Those that have no values any more, and what was emitted of them.
    pub gone: Vec<(u32, Box<[u8]>)>,
}

impl Changes {
    /// Rows came for these groups.
    pub(super) fn touch(&mut self, groups: &[usize]) {
        for &group in groups {
            if group >= self.is_touched.len() {
                self.is_touched.resize(group + 1, false);
            }
            if !self.is_touched[group] {
                self.is_touched[group] = true;
                self.touched.push(group);
            }
        }
    }

    /// The groups touched since the last call.
    pub(super) fn take(&mut self) -> Vec<usize> {
        for &group in &self.touched {
            self.is_touched[group] = false;
        }
        std::mem::take(&mut self.touched)
    }

    /// Which of `groups`, whose values are the rows of `values`, differ from what was emitted
    /// last? Remembers the values as emitted. The `refused` of them have none.
    pub(super) fn differences(
        &mut self,
        groups: &[usize],
        values: &Rows,
        refused: &Refused,
    ) -> Differences {
        let mut found = Differences {
            changed: Vec::new(),
            old: Vec::new(),
            gone: Vec::new(),
        };
        for (index, (new, &group)) in (0u32..).zip(values.iter().zip(groups)) {
            if !refused.is_empty() && refused.contains_key(&(index as usize)) {
                found
                    .gone
                    .extend(self.forget(group).map(|old| (index, old)));
                continue;
            }
            if group >= self.emitted.len() {
                self.emitted.resize(group + 1, None);
            }
            let emitted = &mut self.emitted[group];
            if emitted.as_deref() == Some(new.data()) {
                continue;
            }
            let old = emitted.replace(new.data().into());
            self.emitted_bytes += new.data().len();
            self.emitted_bytes -= old.as_ref().map_or(0, |old| old.len());
            found.changed.push(index);
            found.old.push(old);
        }
        found
    }

    /// Forgets a group; gives what was emitted of it.
    pub(super) fn forget(&mut self, group: usize) -> Option<Box<[u8]>> {
        if self.is_touched.get(group) == Some(&true) {
            self.is_touched[group] = false;
            self.touched.retain(|touched| *touched != group);
        }
        let old = self.emitted.get_mut(group)?.take()?;
        self.emitted_bytes -= old.len();
        Some(old)
    }

    /// What was emitted last of some groups, in row format; NULL: nothing.
    pub(super) fn emitted_of(&self, groups: impl Iterator<Item = usize>) -> ArrayRef {
        let emitted = groups.map(|group| self.emitted.get(group).and_then(Option::as_deref));
        Arc::new(emitted.collect::<BinaryArray>())
    }

    /// Takes in what was emitted last of some groups. They are looked at again.
    pub(super) fn restore(&mut self, groups: &[usize], emitted: &ArrayRef) -> Result<()> {
        let emitted = emitted.as_binary_opt::<i32>();
        let emitted = emitted.ok_or_else(|| odd("what was emitted is of another type"))?;
        self.touch(groups);
        for (&group, emitted) in groups.iter().zip(emitted) {
            if group >= self.emitted.len() {
                self.emitted.resize(group + 1, None);
            }
            self.emitted_bytes += emitted.map_or(0, <[u8]>::len);
            self.emitted[group] = emitted.map(Into::into);
        }
        Ok(())
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.touched.capacity() * size_of::<usize>()
            + self.is_touched.capacity()
            + self.emitted.capacity() * size_of::<Option<Box<[u8]>>>()
            + self.emitted_bytes
    }
}

impl Differences {
    /// How many had been emitted before.
    pub(super) fn replaced(&self) -> usize {
        self.old.iter().flatten().count() + self.gone.len()
    }

    /// The groups asked about that differ.
    pub(super) fn picked(&self, groups: &[usize]) -> Vec<usize> {
        let gone = self.gone.iter().map(|(index, _)| index);
        let changed = self.changed.iter().chain(gone);
        changed.map(|index| groups[*index as usize]).collect()
    }

    /// The rows of `columns`, one a group asked about, that differ.
    pub(super) fn changed_of(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let picked = UInt32Array::from(self.changed.clone());
        columns
            .iter()
            .map(|column| take(column, &picked, None).map_err(from_arrow))
            .collect()
    }

    /// The rows of `columns`, one a group asked about, that had been emitted before.
    pub(super) fn replaced_of(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let changed = self.changed.iter().zip(&self.old);
        let replaced = changed.filter(|(_, old)| old.is_some());
        let gone = self.gone.iter().map(|(index, _)| index);
        let picked = replaced.map(|(index, _)| index).chain(gone);
        let picked = UInt32Array::from_iter_values(picked.copied());
        columns
            .iter()
            .map(|column| take(column, &picked, None).map_err(from_arrow))
            .collect()
    }

    /// The old values of those that had been emitted before, in row format.
    pub(super) fn old_values(&self) -> impl Iterator<Item = &Box<[u8]>> {
        let gone = self.gone.iter().map(|(_, old)| old);
        self.old.iter().flatten().chain(gone)
    }
}

/// Values in row format as columns.
pub(super) fn columns_of<'a>(
    rows: impl Iterator<Item = &'a Box<[u8]>>,
    converter: &RowConverter,
) -> Result<Vec<ArrayRef>> {
    let parser = converter.parser();
    let columns = converter
        .convert_rows(rows.map(|row| parser.parse(row)))
        .map_err(from_arrow)?;
    Ok(columns.iter().map(Arc::clone).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::DataType;
    use arrow::row::SortField;

    use super::*;
    use crate::error::Error;

    #[test]
    fn a_group_is_emitted_again_only_when_its_values_changed() {
        let converter = RowConverter::new(vec![SortField::new(DataType::Int64)]).unwrap();
        let rows = |numbers: &[i64]| {
            let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
            converter.convert_columns(&[column]).unwrap()
        };
        let mut changes = Changes::default();
        changes.touch(&[1, 0, 1]);
        assert_eq!(changes.take(), [1, 0]);
        assert_eq!(changes.take(), Vec::<usize>::new());
        let none = Refused::new();
        let first = changes.differences(&[1, 0], &rows(&[7, 8]), &none);
        assert_eq!(first.changed, [0, 1]);
        assert!(first.old.iter().all(Option::is_none), "nothing was emitted");
        let second = changes.differences(&[1, 0], &rows(&[7, 9]), &none);
        assert_eq!(second.changed, [1]);
        let old = columns_of(second.old_values(), &converter).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![8]));
        assert_eq!(&old[0], &expected);
        assert!(changes.forget(0).is_some());
        assert!(changes.forget(0).is_none());
    }

    #[test]
    fn a_group_without_values_is_gone_until_it_has_some() {
        let converter = RowConverter::new(vec![SortField::new(DataType::Int64)]).unwrap();
        let row = |number: Option<i64>| {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![number]));
            converter.convert_columns(&[column]).unwrap()
        };
        let none = Refused::new();
        let refused = Refused::from([(0, Error::internal("too large"))]);
        let mut changes = Changes::default();
        changes.differences(&[3], &row(Some(7)), &none);
        let gone = changes.differences(&[3], &row(None), &refused);
        assert!(gone.changed.is_empty());
        assert_eq!(gone.picked(&[3]), [3]);
        assert_eq!(gone.replaced(), 1);
        let still = changes.differences(&[3], &row(None), &refused);
        assert_eq!((still.changed.len(), still.gone.len()), (0, 0));
        let back = changes.differences(&[3], &row(Some(7)), &none);
        assert_eq!((back.replaced(), back.changed), (0, vec![0]));
    }
}
