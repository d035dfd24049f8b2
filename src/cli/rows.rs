//! Result rows on standard output: as a table for people, as CSV or NDJSON for programs.
//!
//! Values look as they do in psql.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::BytesMut;

use crate::error::Result;
use crate::format::JsonEncoder;
use crate::server::encode::{self, Column, Style};

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RowFormat {
    /// Aligned, for people.
    Table,
    /// A header and comma-separated values; NULL is nothing at all, empty text is "".
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// Turns batches of one result into text, piece by piece.
pub(super) enum RowPrinter {
    Table(TablePrinter),
    Csv(SchemaRef),
    Ndjson(Box<JsonEncoder>),
}

impl RowPrinter {
    /// A printer for rows of this schema.
    ///
    /// # Errors
    /// When a column's type has no form in JSON.
    pub(super) fn try_new(format: RowFormat, schema: &SchemaRef) -> Result<Self> {
        Ok(match format {
            RowFormat::Table => Self::Table(TablePrinter::new(Arc::clone(schema))),
            RowFormat::Csv => Self::Csv(Arc::clone(schema)),
            RowFormat::Ndjson => Self::Ndjson(Box::new(JsonEncoder::try_new(Arc::clone(schema))?)),
        })
    }

    /// What comes before all rows.
    pub(super) fn head(&self) -> String {
        match self {
            Self::Table(_) | Self::Ndjson(_) => String::new(),
            Self::Csv(schema) => {
                let names = schema.fields().iter().map(|field| csv_field(field.name()));
                names.collect::<Vec<_>>().join(",") + "\n"
            }
        }
    }

    /// The text of these rows. A table has its header before the first ones.
    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<String> {
        match self {
            Self::Table(table) => table.rows(batch),
            Self::Csv(_) => csv_rows(batch),
            Self::Ndjson(encoder) => {
                let encoded = encoder.encode(batch)?;
                Ok(String::from_utf8_lossy(encoded.lines()).into_owned())
            }
        }
    }

    /// What comes after all rows.
    pub(super) fn tail(&mut self) -> String {
        match self {
            Self::Table(table) => table.tail(),
            Self::Csv(_) | Self::Ndjson(_) => String::new(),
        }
    }
}

/// Cells of one batch as text; `None` is NULL.
fn cells(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let columns = encode::columns(batch)?;
    let style = Style {
        zone: "UTC".parse().expect("UTC is a zone"),
    };
    let row = |row| {
        columns
            .iter()
            .map(|column| cell(column, row, style))
            .collect()
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

fn cell(column: &Column, row: usize, style: Style) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let mut out = BytesMut::new();
    encode::write_text(column, row, style, &mut out);
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn csv_rows(batch: &RecordBatch) -> Result<String> {
    let mut out = String::new();
    for row in cells(batch)? {
        let fields: Vec<String> = row
            .iter()
            .map(|cell| cell.as_deref().map_or_else(String::new, csv_field))
            .collect();
        out.push_str(&fields.join(","));
        out.push('\n');
    }
    Ok(out)
}

/// Quotes where CSV needs it; and empty text, so that it is not taken for NULL.
fn csv_field(text: &str) -> String {
    if text.is_empty() || text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Aligns columns by the rows that come first; wider ones later stick out, as in psql.
pub(super) struct TablePrinter {
    schema: SchemaRef,
    /// Empty until the first rows have come.
    widths: Vec<usize>,
    rows: u64,
}

impl TablePrinter {
    fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            widths: Vec::new(),
            rows: 0,
        }
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<String> {
        let cells = cells(batch)?;
        self.rows += cells.len() as u64;
        let mut out = String::new();
        if self.widths.is_empty() {
            out.push_str(&self.header(&cells));
        }
        for row in cells {
            out.push_str(&self.line(&row));
        }
        Ok(out)
    }

    fn tail(&mut self) -> String {
        let header = if self.widths.is_empty() {
            self.header(&[])
        } else {
            String::new()
        };
        let noun = if self.rows == 1 { "row" } else { "rows" };
        format!("{header}({} {noun})\n", self.rows)
    }

    /// Decides the widths by the names and these rows.
    fn header(&mut self, cells: &[Vec<Option<String>>]) -> String {
        let fields = self.schema.fields();
        self.widths = fields.iter().map(|f| f.name().chars().count()).collect();
        for row in cells {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                let len = cell.as_ref().map_or(0, |cell| cell.chars().count());
                *width = len.max(*width);
            }
        }
        let names = fields.iter().zip(&self.widths);
        let names: Vec<String> = names
            .map(|(field, width)| format!(" {:^width$} ", field.name()))
            .collect();
        let rules: Vec<String> = self.widths.iter().map(|w| "-".repeat(w + 2)).collect();
        format!("{}\n{}\n", names.join("|"), rules.join("+"))
    }

    fn line(&self, row: &[Option<String>]) -> String {
        let mut cells = Vec::with_capacity(row.len());
        for ((cell, width), field) in row.iter().zip(&self.widths).zip(self.schema.fields()) {
            let text = cell.as_deref().unwrap_or_default();
            cells.push(if is_number(field.data_type()) {
                format!(" {text:>width$} ")
            } else {
                format!(" {text:<width$} ")
            });
        }
        cells.join("|").trim_end().to_owned() + "\n"
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
