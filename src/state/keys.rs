//! Interning of group keys: each different key gets the next number.
//!
//! Four layouts, chosen once by the key's type: no key at all; one text key, kept as bytes in an
//! arena; one number or time, by its bytes; anything else in Arrow's row format (`arrow::row`), which
//! compares as bytes.
//! NULL is a key like any other: all NULLs are one group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use arrow::row::{RowConverter, SortField};

use super::interner::Interner;
use super::packed_key::PackedKeys;
use super::recent_texts::RecentTexts;
use crate::error::{Error, Result, from_arrow};

/// Text keys that are looked for together: what is new among them is known to those that follow.
const TEXTS_TOGETHER: usize = 64;
/// Keys that are read back in one call of the converter.
const READ_TOGETHER: usize = 8_192;

/// The keys of a group table, numbered in the order in which they first came.
#[derive(Clone)]
pub struct Keys {
    layout: Layout,
}

#[derive(Clone)]
enum Layout {
    /// One group for all rows.
    None { seen: bool },
    /// One column of text.
    Text {
        interner: Interner,
        recent: RecentTexts,
    },
    /// One column of numbers or times.
    Packed(PackedKeys),
    /// Any columns.
    Rows {
        columns: usize,
        converter: Arc<RowConverter>,
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
            [field] if field.data_type() == &DataType::Utf8View => {
                let interner = Interner::new(false);
                let recent = RecentTexts::default();
                Layout::Text { interner, recent }
            }
            [field] if field.data_type().is_primitive() => packed(field.data_type())?,
            _ => {
                let sort = fields
                    .iter()
                    .map(|f| SortField::new(f.data_type().clone()))
                    .collect();
                let converter = RowConverter::new(sort).map_err(from_arrow)?;
                let fixed_width = fields
                    .iter()
                    .all(|field| has_fixed_width(field.data_type()));
                Layout::Rows {
                    columns: fields.len(),
                    converter: Arc::new(converter),
                    interner: Interner::new(fixed_width),
                }
            }
        };
        Ok(Self { layout })
    }

    /// The number of key columns.
    pub fn columns(&self) -> usize {
        match &self.layout {
            Layout::None { .. } => 0,
            Layout::Text { .. } | Layout::Packed(_) => 1,
            Layout::Rows { columns, .. } => *columns,
        }
    }

    /// One more than the greatest number of a key.
    pub fn count(&self) -> usize {
        match &self.layout {
            Layout::None { seen } => usize::from(*seen),
            Layout::Text { interner, .. } | Layout::Rows { interner, .. } => interner.len(),
            Layout::Packed(keys) => keys.len(),
        }
    }

    /// The number of keys that were not removed.
    pub fn live(&self) -> usize {
        match &self.layout {
            Layout::None { seen } => usize::from(*seen),
            Layout::Text { interner, .. } | Layout::Rows { interner, .. } => interner.live(),
            Layout::Packed(keys) => keys.live(),
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
            Layout::Text { interner, recent } => {
                intern_text((interner, recent), text(&columns[0])?, groups);
            }
            Layout::Packed(keys) => keys.intern(&columns[0], groups)?,
            Layout::Rows {
                converter,
                interner,
                ..
            } => {
                let rows = converter.convert_columns(columns).map_err(from_arrow)?;
                interner.intern(rows.num_rows(), |row| rows.row(row).data(), groups);
            }
        }
        Ok(())
    }

    /// Interns the keys of another table with the same columns; writes each one's group number to
    /// `groups`.
    pub fn intern_all(&mut self, other: &Self, groups: &mut Vec<usize>) {
        groups.clear();
        match (&mut self.layout, &other.layout) {
            (Layout::None { seen }, Layout::None { seen: other }) => {
                *seen |= other;
                groups.extend(other.then_some(0));
            }
            (Layout::Packed(keys), Layout::Packed(other)) => keys.intern_all(other, groups),
            (
                Layout::Text { interner, .. },
                Layout::Text {
                    interner: other, ..
                },
            )
            | (
                Layout::Rows { interner, .. },
                Layout::Rows {
                    interner: other, ..
                },
            ) => {
                debug_assert_eq!(other.live(), other.len(), "a removed key has no bytes");
                interner.intern(other.len(), |number| other.bytes(number), groups);
            }
            _ => unreachable!("both are of one operator"),
        }
    }

    /// Forgets a key that no row will be read back for; its number goes to a later one.
    pub fn remove(&mut self, group: usize) {
        match &mut self.layout {
            Layout::None { .. } => {}
            Layout::Text { interner, recent } => {
                interner.remove(group);
                recent.forget();
            }
            Layout::Rows { interner, .. } => interner.remove(group),
            Layout::Packed(keys) => keys.remove(group),
        }
    }

    /// The key columns of some groups.
    ///
    /// # Errors
    /// When what was interned cannot be read back, which is a mistake of ours.
    pub fn read(&self, groups: impl Iterator<Item = usize>) -> Result<Vec<ArrayRef>> {
        match &self.layout {
            Layout::None { .. } => Ok(Vec::new()),
            Layout::Text { interner, .. } => {
                let mut builder = StringViewBuilder::new();
                for group in groups {
                    builder.append_option(text_of(interner.bytes(group))?);
                }
                Ok(vec![Arc::new(builder.finish())])
            }
            Layout::Packed(keys) => Ok(vec![keys.read(groups)?]),
            Layout::Rows {
                converter,
                interner,
                ..
            } => {
                let parser = converter.parser();
                let mut rows = groups.map(|group| parser.parse(interner.bytes(group)));
                let mut read = |count| converter.convert_rows(rows.by_ref().take(count));
                // The converter lists the rows of a call before it reads them.
                let mut parts = vec![read(READ_TOGETHER).map_err(from_arrow)?];
                while parts[parts.len() - 1]
                    .first()
                    .is_some_and(|c| c.len() == READ_TOGETHER)
                {
                    parts.push(read(READ_TOGETHER).map_err(from_arrow)?);
                }
                together(parts)
            }
        }
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        match &self.layout {
            Layout::None { .. } => 0,
            Layout::Text { interner, recent } => interner.size_bytes() + recent.size_bytes(),
            Layout::Packed(keys) => keys.size_bytes(),
            Layout::Rows {
                converter,
                interner,
                ..
            } => converter.size() + interner.size_bytes(),
        }
    }
}

/// Parts one below the other, each with the same columns.
fn together(mut parts: Vec<Vec<ArrayRef>>) -> Result<Vec<ArrayRef>> {
    if parts.len() == 1 {
        return Ok(parts.swap_remove(0));
    }
    (0..parts[0].len())
        .map(|column| {
            let parts: Vec<&dyn Array> = parts.iter().map(|part| &*part[column]).collect();
            concat(&parts).map_err(from_arrow)
        })
        .collect()
}

fn packed(data_type: &DataType) -> Result<Layout> {
    let keys = PackedKeys::try_new(data_type);
    let keys = keys.ok_or_else(|| Error::internal(format!("{data_type} has no width")))?;
    Ok(Layout::Packed(keys))
}

fn text(column: &ArrayRef) -> Result<&StringViewArray> {
    column
        .as_string_view_opt()
        .ok_or_else(|| Error::internal(format!("a text key came as {}", column.data_type())))
}

fn intern_text(
    (interner, recent): (&mut Interner, &mut RecentTexts),
    column: &StringViewArray,
    groups: &mut Vec<usize>,
) {
    let rows = column.len();
    if rows < TEXTS_TOGETHER || !recent.serves() {
        return intern_texts(interner, column.iter(), groups);
    }
    let (mut unknown, mut numbers, mut unknown_in_all) = (Vec::new(), Vec::new(), 0);
    for first in (0..rows).step_by(TEXTS_TOGETHER) {
        let part = first..rows.min(first + TEXTS_TOGETHER);
        unknown.clear();
        recent.number(column, part, groups, &mut unknown);
        unknown_in_all += unknown.len();
        let texts = unknown.iter().map(|row| {
            let is_valid = column.is_valid(*row);
            is_valid.then(|| column.value(*row))
        });
        numbers.clear();
        intern_texts(interner, texts, &mut numbers);
        for (row, number) in unknown.iter().zip(&numbers) {
            groups[*row] = *number;
            if column.is_valid(*row) {
                recent.remember(column.views()[*row], *number);
            }
        }
    }
    recent.had(rows, unknown_in_all);
}

/// NULL is the empty byte string; a text is 1 followed by its bytes.
fn intern_texts<'a>(
    interner: &mut Interner,
    texts: impl ExactSizeIterator<Item = Option<&'a str>>,
    numbers: &mut Vec<usize>,
) {
    let count = texts.len();
    if count == 0 {
        return;
    }
    let mut bytes = Vec::with_capacity(count * 16);
    let mut ends = Vec::with_capacity(count + 1);
    ends.push(0);
    for text in texts {
        if let Some(text) = text {
            bytes.push(1);
            bytes.extend_from_slice(text.as_bytes());
        }
        ends.push(bytes.len());
    }
    let key = |row: usize| &bytes[ends[row]..ends[row + 1]];
    interner.intern(count, key, numbers);
}

/// Whether all values of a type, NULL too, are equally long in Arrow's row format.
fn has_fixed_width(data_type: &DataType) -> bool {
    data_type.is_primitive() || data_type == &DataType::Boolean
}

fn text_of(bytes: &[u8]) -> Result<Option<&str>> {
    let Some((_, text)) = bytes.split_first() else {
        return Ok(None);
    };
    std::str::from_utf8(text)
        .map(Some)
        .map_err(|_| Error::internal("an interned text key is not UTF-8"))
}

#[cfg(test)]
mod tests {
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
    fn texts_that_come_again_and_again_have_the_numbers_that_they_would_have_alone() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut keys = Keys::try_new(&[field("k", DataType::Utf8View)]).unwrap();
        let mut alone = Keys::try_new(&[field("k", DataType::Utf8View)]).unwrap();
        for (round, kinds) in [3, 40, 600, 100_000, 40, 40].into_iter().enumerate() {
            let text = |random: &mut fastrand::Rng| match random.u32(0..20) {
                0 => None,
                1 => Some(format!(
                    "a text of more than twelve bytes {}",
                    random.u32(0..9)
                )),
                2 => Some(String::new()),
                _ => Some(format!("key{}", random.u32(0..kinds))),
            };
            let texts: Vec<_> = (0..1_000).map(|_| text(&mut random)).collect();
            let column: ArrayRef = Arc::new(StringViewArray::from_iter(texts.clone()));
            let together = groups(&mut keys, &[Arc::clone(&column)]);
            // A row at a time nothing is remembered.
            let numbers: Vec<usize> = (0..1_000)
                .flat_map(|row| groups(&mut alone, &[column.slice(row, 1)]))
                .collect();
            assert_eq!(together, numbers, "round {round}");
            let read = keys.read(together.iter().copied()).unwrap();
            assert_eq!(&read[0], &column, "round {round}");
            for group in together
                .iter()
                .step_by(7)
                .collect::<std::collections::BTreeSet<_>>()
            {
                keys.remove(*group);
                alone.remove(*group);
            }
        }
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
    fn numbers_are_keys_by_their_bytes_and_null_is_one_too() {
        let numbers =
            |values: &[Option<i64>]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
        let mut keys = Keys::try_new(&[field("k", DataType::Int64)]).unwrap();
        let column = numbers(&[None, Some(7), Some(0), None, Some(7), Some(-1)]);
        assert_eq!(
            groups(&mut keys, &[Arc::clone(&column)]),
            [0, 1, 2, 0, 1, 3]
        );
        let sliced = column.slice(2, 3);
        assert_eq!(groups(&mut keys, &[sliced]), [2, 0, 1]);
        let read = keys.read([3, 0, 2, 1].into_iter()).unwrap();
        assert_eq!(&read[0], &numbers(&[Some(-1), None, Some(0), Some(7)]));
        let mut other = Keys::try_new(&[field("k", DataType::Int64)]).unwrap();
        groups(&mut other, &[numbers(&[Some(-1), Some(5)])]);
        let mut found = Vec::new();
        other.intern_all(&keys, &mut found);
        assert_eq!(found, [2, 3, 4, 0]);
        keys.remove(0);
        assert_eq!(groups(&mut keys, &[numbers(&[Some(9), None])]), [0, 4]);
        assert_eq!((keys.live(), keys.count()), (5, 5));
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
