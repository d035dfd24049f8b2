//! Arrays and row types, in text and in binary.

use arrow::array::{Array, ListArray};
use bytes::{BufMut, BytesMut};

use super::{Column, Format, Style, text, write_sized};
use crate::error::{Error, Result, SqlState};

/// `{1,NULL,"a b"}`
pub(super) fn write_list_text(
    list: &ListArray,
    items: &Column,
    row: usize,
    style: Style,
    out: &mut BytesMut,
) {
    out.put_u8(b'{');
    for (nth, item) in item_range(list, row).enumerate() {
        if nth > 0 {
            out.put_u8(b',');
        }
        if items.is_null(item) {
            out.put_slice(b"NULL");
        } else if matches!(items, Column::List(..)) {
            text::write(items, item, style, out);
        } else {
            let mut value = BytesMut::new();
            text::write(items, item, style, &mut value);
            write_item(&value, out);
        }
    }
    out.put_u8(b'}');
}

fn item_range(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let place = |index: usize| usize::try_from(list.value_offsets()[index]).unwrap_or_default();
    place(row)..place(row + 1)
}

fn write_item(value: &[u8], out: &mut BytesMut) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || is_space(*byte);
    let quoted =
        value.is_empty() || value.eq_ignore_ascii_case(b"null") || value.iter().any(special);
    if !quoted {
        out.put_slice(value);
        return;
    }
    out.put_u8(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// `(1,"a b",)`; a null field is empty.
pub(super) fn write_record_text(
    fields: &[(Column, u32)],
    row: usize,
    style: Style,
    out: &mut BytesMut,
) {
    out.put_u8(b'(');
    for (nth, (column, _)) in fields.iter().enumerate() {
        if nth > 0 {
            out.put_u8(b',');
        }
        if column.is_null(row) {
            continue;
        }
        let mut value = BytesMut::new();
        text::write(column, row, style, &mut value);
        let special =
            |byte: &u8| matches!(byte, b'"' | b'\\' | b'(' | b')' | b',') || is_space(*byte);
        if !value.is_empty() && !value.iter().any(special) {
            out.put_slice(&value);
            continue;
        }
        out.put_u8(b'"');
        for byte in value {
            if matches!(byte, b'"' | b'\\') {
                out.put_u8(byte);
            }
            out.put_u8(byte);
        }
        out.put_u8(b'"');
    }
    out.put_u8(b')');
}

/// ```text
/// dimensions i32 | has nulls i32 | item oid u32 | (length i32, lower bound i32).. | (size i32, item)..
/// ```
pub(super) fn write_list_binary(
    (list, items, item_oid): (&ListArray, &Column, u32),
    row: usize,
    style: Style,
    out: &mut BytesMut,
) -> Result<()> {
    let mut shape = Shape::default();
    shape.walk(list, items, row, 0)?;
    let is_empty = shape.places.is_empty();
    let innermost = innermost_oid(items, item_oid);
    out.put_i32(if is_empty {
        0
    } else {
        length(shape.lengths.len())?
    });
    out.put_i32(i32::from(shape.has_nulls));
    out.put_u32(innermost);
    if is_empty {
        return Ok(());
    }
    for dimension in &shape.lengths {
        out.put_i32(length(*dimension)?);
        out.put_i32(1);
    }
    let leaf = innermost_items(items);
    for place in &shape.places {
        write_sized(leaf, *place, Format::Binary, style, out)?;
    }
    Ok(())
}

/// The dimensions of an array of arrays, and where its innermost items are.
#[derive(Default)]
struct Shape {
    lengths: Vec<usize>,
    places: Vec<usize>,
    has_nulls: bool,
}

impl Shape {
    fn walk(&mut self, list: &ListArray, items: &Column, row: usize, depth: usize) -> Result<()> {
        let range = item_range(list, row);
        match self.lengths.get(depth) {
            Some(length) if *length != range.len() => return Err(jagged()),
            Some(_) => {}
            None => self.lengths.push(range.len()),
        }
        for item in range {
            match items {
                Column::List(inner, inner_items, _) => {
                    if inner.is_null(item) {
                        return Err(jagged());
                    }
                    self.walk(inner, inner_items, item, depth + 1)?;
                }
                leaf => {
                    self.has_nulls |= leaf.is_null(item);
                    self.places.push(item);
                }
            }
        }
        Ok(())
    }
}

fn jagged() -> Error {
    Error::user(
        SqlState::DataException,
        "multidimensional arrays must have sub-arrays with matching dimensions",
    )
    .hint("Fetch the column as text.")
}

fn innermost_items(items: &Column) -> &Column {
    match items {
        Column::List(_, inner, _) => innermost_items(inner),
        leaf => leaf,
    }
}

fn innermost_oid(items: &Column, item_oid: u32) -> u32 {
    match items {
        Column::List(_, inner, oid) => innermost_oid(inner, *oid),
        _ => item_oid,
    }
}

/// ```text
/// fields i32 | (oid u32, size i32, value)..
/// ```
pub(super) fn write_record_binary(
    fields: &[(Column, u32)],
    row: usize,
    style: Style,
    out: &mut BytesMut,
) -> Result<()> {
    out.put_i32(length(fields.len())?);
    for (column, oid) in fields {
        out.put_u32(*oid);
        write_sized(column, row, Format::Binary, style, out)?;
    }
    Ok(())
}

fn length(count: usize) -> Result<i32> {
    i32::try_from(count)
        .map_err(|_| Error::user(SqlState::ProgramLimitExceeded, "array is too long"))
}
