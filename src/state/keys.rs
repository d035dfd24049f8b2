//! Interning of group keys: each different key gets the next number.
//!
//! Three layouts, chosen once by the key's type: no key at all; one text key, kept as bytes in an
//! arena; anything else in Arrow's row format (`arrow::row`), which compares as bytes.
//! NULL is a key like any other: all NULLs are one group.

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, FieldRef};
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;

use crate::error::{Error, Result, from_arrow};

/// The keys of a group table, numbered in the order in which they first came.
pub(super) struct Keys {
    layout: Layout,
}

enum Layout {
    /// One group for all rows.
    None { seen: bool },
    /// One column of text.
    Text(Interner),
    /// Any columns.
    Rows {
        converter: RowConverter,
        interner: Interner,
    },
}

impl Keys {
    pub(super) fn try_new(fields: &[FieldRef]) -> Result<Self> {
        let layout = match fields {
            [] => Layout::None { seen: false },
            [field] if field.data_type() == &DataType::Utf8View => Layout::Text(Interner::new()),
            _ => {
                let sort = fields
                    .iter()
                    .map(|f| SortField::new(f.data_type().clone()))
                    .collect();
                let converter = RowConverter::new(sort).map_err(from_arrow)?;
                Layout::Rows {
                    converter,
                    interner: Interner::new(),
                }
            }
        };
        Ok(Self { layout })
    }

    /// The number of different keys.
    pub(super) fn len(&self) -> usize {
        match &self.layout {
            Layout::None { seen } => usize::from(*seen),
            Layout::Text(interner) | Layout::Rows { interner, .. } => interner.len(),
        }
    }

    /// Writes each row's group number to `groups`.
    pub(super) fn intern(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        groups: &mut Vec<usize>,
    ) -> Result<()> {
        groups.clear();
        match &mut self.layout {
            Layout::None { seen } => {
                *seen |= rows > 0;
                groups.resize(rows, 0);
            }
            Layout::Text(interner) => intern_text(interner, text(&columns[0])?, groups),
            Layout::Rows {
                converter,
                interner,
            } => {
                let rows = converter.convert_columns(columns).map_err(from_arrow)?;
                groups.extend(rows.iter().map(|row| interner.intern(row.data())));
            }
        }
        Ok(())
    }

    /// The key columns of some groups.
    pub(super) fn read(&self, groups: impl Iterator<Item = usize>) -> Result<Vec<ArrayRef>> {
        match &self.layout {
            Layout::None { .. } => Ok(Vec::new()),
            Layout::Text(interner) => {
                let mut builder = StringViewBuilder::new();
                for group in groups {
                    builder.append_option(text_of(interner.bytes(group))?);
                }
                Ok(vec![std::sync::Arc::new(builder.finish())])
            }
            Layout::Rows {
                converter,
                interner,
            } => {
                let parser = converter.parser();
                let rows = groups.map(|group| parser.parse(interner.bytes(group)));
                converter.convert_rows(rows).map_err(from_arrow)
            }
        }
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        match &self.layout {
            Layout::None { .. } => 0,
            Layout::Text(interner) => interner.size_bytes(),
            Layout::Rows {
                converter,
                interner,
            } => converter.size() + interner.size_bytes(),
        }
    }
}

fn text(column: &ArrayRef) -> Result<&StringViewArray> {
    column
        .as_string_view_opt()
        .ok_or_else(|| Error::internal(format!("a text key came as {}", column.data_type())))
}

/// NULL is the empty byte string; a text is 1 followed by its bytes.
fn intern_text(interner: &mut Interner, column: &StringViewArray, groups: &mut Vec<usize>) {
    let mut key = Vec::with_capacity(64);
    let mut last: Option<(&str, usize)> = None;
    for value in column {
        let Some(value) = value else {
            groups.push(interner.intern(&[]));
            continue;
        };
        if let Some((text, group)) = last
            && text == value
        {
            groups.push(group);
            continue;
        }
        key.clear();
        key.push(1);
        key.extend_from_slice(value.as_bytes());
        let group = interner.intern(&key);
        last = Some((value, group));
        groups.push(group);
    }
}

fn text_of(bytes: &[u8]) -> Result<Option<&str>> {
    let Some((_, text)) = bytes.split_first() else {
        return Ok(None);
    };
    std::str::from_utf8(text)
        .map(Some)
        .map_err(|_| Error::internal("an interned text key is not UTF-8"))
}

/// Byte strings, numbered, in one arena.
struct Interner {
    table: HashTable<Slot>,
    arena: Vec<u8>,
    /// Where each key ends in the arena; it starts where the one before ends.
    ends: Vec<usize>,
    hasher: RandomState,
}

/// A table entry holds the whole hash, so that a miss rarely touches the arena.
#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    group: u32,
}

impl Interner {
    fn new() -> Self {
        Self {
            table: HashTable::new(),
            arena: Vec::new(),
            ends: Vec::new(),
            // Numbers come in the order of arrival, never in the order of hashes.
            hasher: RandomState::with_seeds(1, 2, 3, 4),
        }
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn bytes(&self, group: usize) -> &[u8] {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        &self.arena[start..self.ends[group]]
    }

    fn intern(&mut self, key: &[u8]) -> usize {
        let hash = self.hasher.hash_one(key);
        let found = self.table.find(hash, |slot| {
            slot.hash == hash && {
                let group = slot.group as usize;
                let start = if group == 0 { 0 } else { self.ends[group - 1] };
                &self.arena[start..self.ends[group]] == key
            }
        });
        if let Some(slot) = found {
            return slot.group as usize;
        }
        let group = self.ends.len();
        let number = u32::try_from(group).expect("the memory budget ends a query before 2^32 keys");
        self.arena.extend_from_slice(key);
        self.ends.push(self.arena.len());
        self.table.insert_unique(
            hash,
            Slot {
                hash,
                group: number,
            },
            |slot| slot.hash,
        );
        group
    }

    fn size_bytes(&self) -> usize {
        self.arena.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.table.capacity() * (size_of::<Slot>() + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::Field;

    use super::*;

    fn field(name: &str, data_type: DataType) -> FieldRef {
        Arc::new(Field::new(name, data_type, true))
    }

    fn groups(keys: &mut Keys, columns: &[ArrayRef]) -> Vec<usize> {
        let mut groups = Vec::new();
        keys.intern(columns, columns[0].len(), &mut groups).unwrap();
        groups
    }

    #[test]
    fn text_keys_are_numbered_in_order_of_arrival_and_null_is_a_key() {
        let mut keys = Keys::try_new(&[field("k", DataType::Utf8View)]).unwrap();
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some("b"),
            None,
            Some("a"),
            Some("b"),
            Some(""),
            None,
            Some("a key that is longer than twelve bytes"),
        ]));
        assert_eq!(groups(&mut keys, &[column]), [0, 1, 2, 0, 3, 1, 4]);
        let read = keys.read([4, 1, 3, 0].into_iter()).unwrap();
        let expected: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some("a key that is longer than twelve bytes"),
            None,
            Some(""),
            Some("b"),
        ]));
        assert_eq!(&read[0], &expected);
    }

    #[test]
    fn several_columns_make_one_key() {
        let mut keys =
            Keys::try_new(&[field("k", DataType::Utf8View), field("n", DataType::Int64)]).unwrap();
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), Some("a"), None]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(1)]));
        let columns = [Arc::clone(&text), Arc::clone(&number)];
        assert_eq!(groups(&mut keys, &columns), [0, 1, 2]);
        assert_eq!(
            groups(&mut keys, &columns),
            [0, 1, 2],
            "the second time they are known"
        );
        let read = keys.read(0..3).unwrap();
        assert_eq!((&read[0], &read[1]), (&text, &number));
    }

    #[test]
    fn without_keys_all_rows_are_one_group_and_no_row_is_none() {
        let mut keys = Keys::try_new(&[]).unwrap();
        assert_eq!(keys.len(), 0);
        let mut groups = Vec::new();
        keys.intern(&[], 3, &mut groups).unwrap();
        assert_eq!((groups, keys.len()), (vec![0, 0, 0], 1));
    }
}
