//! Rows with which something cannot be computed: a division by zero, a sum that does not fit.
//!
//! Expressions run over whole batches, and one row's error is that of all. Halving finds the row:
//!
//! ```text
//! 8 rows: error → rows 1–4: done
//!                 rows 5–8: error → rows 5–6: done
//!                                   rows 7–8: error → row 7: refused, row 8: done
//! ```
//! Invariant: a row is refused only when it fails alone, so that it does not depend on its
//! neighbours, nor on where a micro-batch is cut.

use std::ops::Range;

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::{Error, Result};

/// How many columns of a row its description names at the most.
const COLUMNS_TOLD: usize = 4;

/// A row of a batch with which something cannot be computed.
#[derive(Debug, Clone)]
pub struct RefusedRow {
    /// Its number in the batch.
    pub row: usize,
    /// Why.
    pub error: Error,
}

/// Rows of a result that are none, since a value of theirs cannot be computed.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    /// How many.
    pub count: u64,
    /// Why the last one is none.
    pub last: Option<Error>,
}

impl Refusals {
    /// Notes a row of a batch.
    pub(super) fn note(&mut self, rows: &RecordBatch, row: usize, error: Error) {
        self.count += 1;
        let told = described(rows, row);
        let detail = match error.detail_text() {
            Some(detail) => format!("{detail} The row of the result was: {told}."),
            None => format!("The row of the result was: {told}."),
        };
        self.last = Some(error.detail(detail));
    }

    /// Adds those of another part of the result.
    pub fn absorb(&mut self, other: Self) {
        self.count += other.count;
        self.last = other.last.or(self.last.take());
    }
}

/// Does `work` on all rows at once, or, where that fails by a row's fault, on ever smaller halves.
/// What was made comes in the order of the rows.
///
/// # Errors
/// When `work` fails and no row is at fault.
pub fn by_halves<T>(
    rows: Range<usize>,
    work: &mut impl FnMut(Range<usize>) -> Result<T>,
    made: &mut Vec<T>,
    refused: &mut Vec<RefusedRow>,
) -> Result<()> {
    match work(rows.clone()) {
        Ok(done) => made.push(done),
        Err(error) if !error.is_of_data() => return Err(error),
        Err(error) if rows.len() <= 1 => refused.push(RefusedRow {
            row: rows.start,
            error,
        }),
        Err(_) => {
            let middle = rows.start + rows.len() / 2;
            by_halves(rows.start..middle, work, made, refused)?;
            by_halves(middle..rows.end, work, made, refused)?;
        }
    }
    Ok(())
}

/// The first columns of a row, as text.
fn described(rows: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let schema = rows.schema();
    let columns = rows.columns().iter().zip(schema.fields());
    let told = columns.take(COLUMNS_TOLD).map(|(column, field)| {
        let value = ArrayFormatter::try_new(column, &options);
        let value = value.map_or_else(|_| "..".to_owned(), |value| value.value(row).to_string());
        format!("{} {value}", field.name())
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    fn halve(bad: &[usize]) -> (Vec<Range<usize>>, Vec<usize>) {
        let (mut made, mut refused) = (Vec::new(), Vec::new());
        let mut work = |rows: Range<usize>| match bad.iter().any(|bad| rows.contains(bad)) {
            true => Err(Error::user(SqlState::DivisionByZero, "division by zero")),
            false => Ok(rows),
        };
        by_halves(0..8, &mut work, &mut made, &mut refused).unwrap();
        (
            made,
            refused.into_iter().map(|refused| refused.row).collect(),
        )
    }

    #[test]
    fn only_rows_that_fail_alone_are_refused() {
        assert_eq!(halve(&[6]), (vec![0..4, 4..6, 7..8], vec![6]));
        assert_eq!(halve(&[]).0.len(), 1, "all at once");
        assert_eq!(halve(&[0, 7]).1, [0, 7]);
        assert!(halve(&(0..8).collect::<Vec<_>>()).0.is_empty());
    }

    #[test]
    fn an_error_that_is_no_rows_fault_is_the_whole_ones() {
        let mut work = |_: Range<usize>| Err::<(), _>(Error::internal("broken"));
        let failed = by_halves(0..8, &mut work, &mut Vec::new(), &mut Vec::new());
        assert!(failed.is_err());
    }
}
