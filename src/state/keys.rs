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
pub struct Keys {
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
    /// No keys yet.
    ///
    /// # Errors
    /// When a type cannot be a key.
    pub fn try_new(fields: &[FieldRef]) -> Result<Self> {
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

    /// One more than the greatest number of a key.
    pub fn count(&self) -> usize {
        match &self.layout {
            Layout::None { seen } => usize::from(*seen),
            Layout::Text(interner) | Layout::Rows { interner, .. } => interner.len(),
        }
    }

    /// The number of keys that were not removed.
    pub fn live(&self) -> usize {
        match &self.layout {
            Layout::None { seen } => usize::from(*seen),
            Layout::Text(interner) | Layout::Rows { interner, .. } => {
                interner.len() - interner.free.len()
            }
        }
    }

    /// Writes each row's group number to `groups`.
    ///
    /// # Errors
    /// When the columns are not those of the keys, which is a mistake of ours.
    pub fn intern(
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

    /// Forgets a key that no row will be read back for; its number goes to a later one.
    pub fn remove(&mut self, group: usize) {
        match &mut self.layout {
            Layout::None { .. } => {}
            Layout::Text(interner) | Layout::Rows { interner, .. } => interner.remove(group),
        }
    }

    /// The key columns of some groups.
    ///
    /// # Errors
    /// When what was interned cannot be read back, which is a mistake of ours.
    pub fn read(&self, groups: impl Iterator<Item = usize>) -> Result<Vec<ArrayRef>> {
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
    pub fn size_bytes(&self) -> usize {
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
    /// Where each key lies in the arena.
    places: Vec<Place>,
    /// Numbers of removed keys.
    free: Vec<u32>,
    /// Bytes of removed keys that are still in the arena.
    dead_bytes: usize,
    hasher: RandomState,
}

/// A table entry holds the whole hash, so that a miss rarely touches the arena.
#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    group: u32,
}

#[derive(Clone, Copy)]
struct Place {
    start: usize,
    len: u32,
}

/// Less garbage than this is not worth moving keys for.
const DEAD_BYTES_MIN: usize = 64 << 10;

impl Interner {
    fn new() -> Self {
        Self {
            table: HashTable::new(),
            arena: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            dead_bytes: 0,
            // Numbers come in the order of arrival, never in the order of hashes.
            hasher: RandomState::with_seeds(1, 2, 3, 4),
        }
    }

    /// One more than the greatest number.
    fn len(&self) -> usize {
        self.places.len()
    }

    fn bytes(&self, group: usize) -> &[u8] {
        let Place { start, len } = self.places[group];
        &self.arena[start..start + len as usize]
    }

    fn intern(&mut self, key: &[u8]) -> usize {
        let hash = self.hasher.hash_one(key);
        let found = self.table.find(hash, |slot| {
            slot.hash == hash && self.bytes(slot.group as usize) == key
        });
        if let Some(slot) = found {
            return slot.group as usize;
        }
        let place = Place {
            start: self.arena.len(),
            len: u32::try_from(key.len()).expect("a message is shorter than 4 GiB"),
        };
        self.arena.extend_from_slice(key);
        let group = match self.free.pop() {
            Some(free) => {
                self.places[free as usize] = place;
                free
            }
            None => {
                let next = u32::try_from(self.places.len());
                self.places.push(place);
                next.expect("the memory budget ends a query before 2^32 keys")
            }
        };
        self.table
            .insert_unique(hash, Slot { hash, group }, |slot| slot.hash);
        group as usize
    }

    /// Forgets a key; its number goes to a later one.
    fn remove(&mut self, group: usize) {
        let number = u32::try_from(group).expect("it was given as one");
        let hash = self.hasher.hash_one(self.bytes(group));
        let found = self.table.find_entry(hash, |slot| slot.group == number);
        let Ok(entry) = found else { return };
        entry.remove();
        self.dead_bytes += self.places[group].len as usize;
        self.places[group].len = 0;
        self.free.push(number);
        if self.dead_bytes > DEAD_BYTES_MIN && self.dead_bytes * 2 > self.arena.len() {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.dead_bytes);
        for place in &mut self.places {
            let start = arena.len();
            arena.extend_from_slice(&self.arena[place.start..place.start + place.len as usize]);
            place.start = start;
        }
        self.arena = arena;
        self.dead_bytes = 0;
    }

    fn size_bytes(&self) -> usize {
        self.arena.capacity()
            + self.places.capacity() * size_of::<Place>()
            + self.free.capacity() * size_of::<u32>()
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
    fn a_removed_key_makes_room_for_another() {
        let mut keys = Keys::try_new(&[field("k", DataType::Int64)]).unwrap();
        let numbers =
            |from: i64| -> ArrayRef { Arc::new(Int64Array::from_iter(from..from + 9_000)) };
        assert_eq!(groups(&mut keys, &[numbers(0)]).len(), 9_000);
        (0..9_000)
            .filter(|g| g % 9 != 0)
            .for_each(|g| keys.remove(g));
        let again = groups(&mut keys, &[numbers(100_000)]);
        assert_eq!(keys.count(), 10_000, "8,000 numbers are used again");
        let read = keys.read(again.into_iter()).unwrap();
        assert_eq!(&read[0], &numbers(100_000));
        let kept = keys.read([0, 9, 8_991].into_iter()).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![0, 9, 8_991]));
        assert_eq!(&kept[0], &expected);
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
        assert_eq!(keys.count(), 0);
        let mut groups = Vec::new();
        keys.intern(&[], 3, &mut groups).unwrap();
        assert_eq!((groups, keys.count()), (vec![0, 0, 0], 1));
    }
}
