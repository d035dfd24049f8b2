//! Which folder a row belongs to, as Hive names folders: `column=value/..`.
//!
//! A column whose value is in the folder's name is in no file; one of which only the time is told stays.
//! Invariant: a folder's name tells its values apart from all others, and holds no character that a file system or a
//! reader takes for another.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, Timelike, Utc};

use super::{PartitionBy, PartitionUnit};
use crate::error::{Error, Result, SqlState, from_arrow, sql_name};
use crate::sink::texts::Texts;

/// The folder's value of rows that have none, as Hive has it.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Characters that Hive escapes in names, beside control characters.
const ESCAPED: &str = "\"#%'*/:=?\\{[]^\u{7f}";
/// A file system takes no longer name.
const NAME_BYTES_MAX: usize = 255;

/// Why no file system has such a folder; `None`: it may have it.
pub(super) fn refused(folder: &str) -> Option<String> {
    let is_too_long = |name: &str| name.len() > NAME_BYTES_MAX;
    let long = folder.split('/').any(is_too_long);
    long.then(|| format!("a folder's name would be longer than {NAME_BYTES_MAX} bytes"))
}

/// Rows of one folder.
#[derive(Debug)]
pub(super) struct Part {
    /// Without a slash at its ends; empty where there are no partitions.
    pub(super) folder: String,
    pub(super) rows: RecordBatch,
}

/// Splits rows by their folders.
#[derive(Debug)]
pub(super) struct Partitioner {
    levels: Vec<Level>,
    /// The columns that are in files.
    kept: Vec<usize>,
    schema: SchemaRef,
}

#[derive(Debug)]
struct Level {
    column: usize,
    /// `column=`, escaped.
    prefix: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Value(Texts),
    Time(PartitionUnit),
}

impl PartitionUnit {
    /// As it is written, and as folders are called.
    fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
        }
    }
}

impl Partitioner {
    /// # Errors
    /// A column that is not there or whose values name no folder; when no column is left for the files.
    pub(super) fn try_new(partitions: &[PartitionBy], schema: &Schema) -> Result<Self> {
        let levels = partitions.iter().map(|by| Level::try_new(by, schema));
        let levels = levels.collect::<Result<Vec<Level>>>()?;
        let is_in_name = |column: usize| {
            let in_name = |level: &Level| matches!(level.form, Form::Value(_));
            levels
                .iter()
                .any(|level| level.column == column && in_name(level))
        };
        let kept: Vec<usize> = (0..schema.fields().len())
            .filter(|column| !is_in_name(*column))
            .collect();
        if kept.is_empty() {
            let text = "no column is left for the files: partition_by names all of them";
            return Err(Error::user(SqlState::InvalidTableDefinition, text).hint(
                "The values of these columns are in the folders' names; select a further column.",
            ));
        }
        let inside = schema.project(&kept).map_err(from_arrow)?;
        Ok(Self {
            levels,
            kept,
            schema: Arc::new(inside),
        })
    }

    /// The schema of what is in files.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Splits rows, in their order within each folder; folders come by their names.
    ///
    /// # Errors
    /// A value that has no form as text.
    pub(super) fn split(&self, rows: &RecordBatch) -> Result<Vec<Part>> {
        let inside = rows.project(&self.kept).map_err(from_arrow)?;
        if self.levels.is_empty() {
            let folder = String::new();
            return Ok(vec![Part {
                folder,
                rows: inside,
            }]);
        }
        let names = self.levels.iter().map(|level| level.names(rows));
        let names = names.collect::<Result<Vec<_>>>()?;
        let mut by_folder: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for row in 0..rows.num_rows() {
            let row_names: Vec<&str> = names.iter().map(|level| level[row].as_str()).collect();
            let number = u32::try_from(row).map_err(|_| Error::internal("a batch is too long"))?;
            by_folder
                .entry(row_names.join("/"))
                .or_default()
                .push(number);
        }
        if by_folder.len() == 1 {
            let folder = by_folder.into_keys().next().unwrap_or_default();
            return Ok(vec![Part {
                folder,
                rows: inside,
            }]);
        }
        let part = |(folder, numbers): (String, Vec<u32>)| {
            let rows = take_record_batch(&inside, &UInt32Array::from(numbers));
            let rows = rows.map_err(from_arrow)?;
            Ok(Part { folder, rows })
        };
        by_folder.into_iter().map(part).collect()
    }
}

impl Level {
    fn try_new(by: &PartitionBy, schema: &Schema) -> Result<Self> {
        let Some((column, field)) = schema.column_with_name(&by.column) else {
            let text = format!(
                "column \"{}\" of partition_by is not in the sink's query",
                by.column
            );
            return Err(Error::user(SqlState::UndefinedColumn, text));
        };
        let of = field.data_type();
        let refused = |what: &str, hint: &str| {
            let name = sql_name(&of.to_string());
            let text = format!("{what} column \"{}\" of type {name}", by.column);
            Error::user(SqlState::DatatypeMismatch, text).hint(hint)
        };
        let (name, form) = match by.unit {
            None => {
                if of.is_nested() || of.is_binary() {
                    let hint = "Name a column of numbers, texts or times.";
                    return Err(refused("folders cannot be named after", hint));
                }
                let own = Arc::new(Schema::new(vec![field.clone()]));
                (escaped(&by.column), Form::Value(Texts::try_new(&own)?))
            }
            Some(unit) => {
                if !matches!(of, DataType::Timestamp(_, _) | DataType::Date32) {
                    let what = format!("{}(..) is no part of", unit.name());
                    let hint = "Name a column of times, or the column alone.";
                    return Err(refused(&what, hint));
                }
                let name = format!("{}_{}", escaped(&by.column), unit.name());
                (name, Form::Time(unit))
            }
        };
        Ok(Self {
            column,
            prefix: format!("{name}="),
            form,
        })
    }

    /// The folder of each row.
    fn names(&self, rows: &RecordBatch) -> Result<Vec<String>> {
        let column = rows.column(self.column);
        let name = |value: Option<String>| {
            let value = value.unwrap_or_else(|| NULL.to_owned());
            format!("{}{value}", self.prefix)
        };
        match &self.form {
            Form::Value(texts) => {
                let field = rows.schema_ref().field(self.column).clone();
                let own = Arc::new(Schema::new(vec![field]));
                let own = RecordBatch::try_new(own, vec![Arc::clone(column)]);
                let written = texts.write(&own.map_err(from_arrow)?)?;
                let value = |row| written.value(row, 0).map(escaped);
                Ok((0..rows.num_rows()).map(|row| name(value(row))).collect())
            }
            Form::Time(unit) => {
                let times = micros(column)?;
                let value = |row| times.is_valid(row).then(|| told(times.value(row), *unit));
                Ok((0..rows.num_rows()).map(|row| name(value(row))).collect())
            }
        }
    }
}

fn micros(column: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    let times = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None));
    let times = times.map_err(from_arrow)?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().clone())
}

/// A time in UTC, as exactly as the unit has it.
fn told(micros: i64, unit: PartitionUnit) -> String {
    let Some(at) = DateTime::<Utc>::from_timestamp_micros(micros) else {
        return micros.to_string();
    };
    let mut text = format!("{:04}", at.year());
    let rest = [
        (PartitionUnit::Month, at.month()),
        (PartitionUnit::Day, at.day()),
        (PartitionUnit::Hour, at.hour()),
        (PartitionUnit::Minute, at.minute()),
    ];
    let count = match unit {
        PartitionUnit::Year => 0,
        PartitionUnit::Month => 1,
        PartitionUnit::Day => 2,
        PartitionUnit::Hour => 3,
        PartitionUnit::Minute => 4,
    };
    for (_, number) in &rest[..count] {
        write!(text, "-{number:02}").expect("a String takes all text");
    }
    text
}

/// A value as a folder's name may hold it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_control() || ESCAPED.contains(c) {
            write!(out, "%{:02X}", u32::from(c)).expect("a String takes all text");
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn rows() -> RecordBatch {
        let texts = [Some("a/b"), None, Some(""), Some("a/b")];
        let at = |hour: i64| Some(1_767_225_600_000_000 + hour * 3_600_000_000);
        let times = TimestampMicrosecondArray::from(vec![at(1), at(1), None, at(30)]);
        RecordBatch::try_from_iter([
            ("k", Arc::new(StringArray::from(texts.to_vec())) as ArrayRef),
            ("at", Arc::new(times) as ArrayRef),
            (
                "n",
                Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef,
            ),
        ])
        .unwrap()
    }

    fn by(column: &str, unit: Option<PartitionUnit>) -> PartitionBy {
        let column = column.to_owned();
        PartitionBy { column, unit }
    }

    fn split(partitions: &[PartitionBy]) -> Vec<(String, usize)> {
        let rows = rows();
        let partitioner = Partitioner::try_new(partitions, &rows.schema()).unwrap();
        let parts = partitioner.split(&rows).unwrap();
        for part in &parts {
            assert_eq!(part.rows.schema(), *partitioner.schema());
        }
        let shown = parts
            .into_iter()
            .map(|part| (part.folder, part.rows.num_rows()));
        shown.collect()
    }

    #[test]
    fn folders_are_named_by_values_and_times() {
        assert_eq!(split(&[]), [(String::new(), 4)]);
        let named = |parts: &[(&str, usize)]| -> Vec<(String, usize)> {
            let owned = parts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count));
            owned.collect()
        };
        let texts = named(&[
            ("k=", 1),
            ("k=__HIVE_DEFAULT_PARTITION__", 1),
            ("k=a%2Fb", 2),
        ]);
        assert_eq!(split(&[by("k", None)]), texts);
        let days = named(&[
            ("at_day=2026-01-01", 2),
            ("at_day=2026-01-02", 1),
            ("at_day=__HIVE_DEFAULT_PARTITION__", 1),
        ]);
        assert_eq!(split(&[by("at", Some(PartitionUnit::Day))]), days);
        let both = split(&[by("at", Some(PartitionUnit::Hour)), by("n", None)]);
        assert_eq!(both.len(), 4);
        assert_eq!(both[0].0, "at_hour=2026-01-01-01/n=1");
    }

    #[test]
    fn a_column_in_the_name_is_not_in_the_file() {
        let schema = rows().schema();
        let hour = by("at", Some(PartitionUnit::Hour));
        let partitioner = Partitioner::try_new(&[by("k", None), hour], &schema).unwrap();
        let fields = partitioner.schema().fields().iter();
        let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["at", "n"]);
        let all = ["k", "at", "n"].map(|name| by(name, None));
        let error = Partitioner::try_new(&all, &schema).unwrap_err();
        assert_eq!(error.state(), SqlState::InvalidTableDefinition);
    }

    #[test]
    fn a_column_that_names_no_folder_is_refused() {
        let schema = rows().schema();
        let refused = |by: PartitionBy| Partitioner::try_new(&[by], &schema).unwrap_err().state();
        assert_eq!(refused(by("x", None)), SqlState::UndefinedColumn);
        let hour = by("n", Some(PartitionUnit::Hour));
        assert_eq!(refused(hour), SqlState::DatatypeMismatch);
    }

    #[test]
    fn too_long_a_name_is_no_folder() {
        let of = |length: usize| format!("at=1/k={}", "x".repeat(length));
        assert_eq!(refused(&of(253)), None);
        assert!(refused(&of(254)).is_some());
        assert_eq!(refused(""), None);
    }
}
