//! Which groups have changed since they were last emitted, and what was emitted of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, UInt32Array};
use arrow::compute::take;
use arrow::row::{Row, RowConverter};

use super::image::odd;
use crate::error::{Result, from_arrow};

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
#[derive(Default)]
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

    /// Which of `groups`, whose values are `values`, differ from what was emitted
    /// last? Remembers the values as emitted. Those that are not there, by their place in `groups`, have none.
    pub(super) fn differences<'a>(
        &mut self,
        groups: &[usize],
        values: impl Iterator<Item = Row<'a>>,
        is_there: impl Fn(usize) -> bool,
    ) -> Differences {
        let mut found = Differences::default();
        for (index, (new, &group)) in (0u32..).zip(values.zip(groups)) {
            if !is_there(index as usize) {
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

    /// True when nothing is remembered as emitted.
    pub(super) fn has_none_emitted(&self) -> bool {
        self.emitted_bytes == 0
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
    /// Adds those of further groups, of which the first is asked about at the place `first`.
    pub(super) fn extend(&mut self, first: usize, further: Self) {
        let first = u32::try_from(first).expect("fewer than 2^32 groups change at once");
        let changed = further.changed.into_iter();
        self.changed.extend(changed.map(|index| first + index));
        self.old.extend(further.old);
        let gone = further.gone.into_iter();
        self.gone
            .extend(gone.map(|(index, old)| (first + index, old)));
    }

    /// Of something that each group asked about has, that of the replaced and that of the changed ones.
    pub(super) fn split<T: Copy>(&self, of_each: &[T]) -> (Vec<T>, Vec<T>) {
        let of = |index: &u32| of_each[*index as usize];
        (
            self.replaced_places().map(|index| of(&index)).collect(),
            self.changed.iter().map(of).collect(),
        )
    }

    /// Which of the groups asked about had been emitted before.
    fn replaced_places(&self) -> impl Iterator<Item = u32> {
        let changed = self.changed.iter().zip(&self.old);
        let replaced = changed.filter(|(_, old)| old.is_some());
        let gone = self.gone.iter().map(|(index, _)| index);
        replaced.map(|(index, _)| index).chain(gone).copied()
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
        let picked = UInt32Array::from_iter_values(self.replaced_places());
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
        assert!(changes.has_none_emitted());
        let first = changes.differences(&[1, 0], rows(&[7, 8]).iter(), |_| true);
        assert_eq!(first.changed, [0, 1]);
        assert!(first.old.iter().all(Option::is_none), "nothing was emitted");
        let second = changes.differences(&[1, 0], rows(&[7, 9]).iter(), |_| true);
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
        let mut changes = Changes::default();
        changes.differences(&[3], row(Some(7)).iter(), |_| true);
        assert!(!changes.has_none_emitted());
        let gone = changes.differences(&[3], row(None).iter(), |_| false);
        assert!(gone.changed.is_empty());
        assert_eq!(gone.picked(&[3]), [3]);
        assert_eq!(gone.replaced_places().count(), 1);
        assert!(changes.has_none_emitted());
        let still = changes.differences(&[3], row(None).iter(), |_| false);
        assert_eq!((still.changed.len(), still.gone.len()), (0, 0));
        let back = changes.differences(&[3], row(Some(7)).iter(), |_| true);
        assert_eq!((back.replaced_places().count(), back.changed), (0, vec![0]));
    }

    #[test]
    fn differences_of_several_tables_are_told_by_their_places_among_all_groups() {
        let converter = RowConverter::new(vec![SortField::new(DataType::Int64)]).unwrap();
        let rows = |numbers: &[i64]| {
            let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
            converter.convert_columns(&[column]).unwrap()
        };
        let (mut one, mut other) = (Changes::default(), Changes::default());
        one.differences(&[0, 1], rows(&[1, 2]).iter(), |_| true);
        other.differences(&[0, 1], rows(&[3, 4]).iter(), |_| true);
        let mut found = one.differences(&[0, 1, 2], rows(&[1, 5, 6]).iter(), |_| true);
        found.extend(
            3,
            other.differences(&[0, 1], rows(&[7, 0]).iter(), |place| place != 1),
        );
        assert_eq!(found.changed, [1, 2, 3]);
        let gone: Vec<u32> = found.gone.iter().map(|(index, _)| *index).collect();
        assert_eq!(gone, [4]);
        let (replaced, changed) = found.split(&["a0", "a1", "a2", "b0", "b1"]);
        assert_eq!(
            (replaced, changed),
            (vec!["a1", "b0", "b1"], vec!["a1", "a2", "b0"])
        );
        let old = columns_of(found.old_values(), &converter).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![2, 3, 4]));
        assert_eq!(&old[0], &expected);
    }
}
