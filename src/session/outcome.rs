//! What a statement leads to: a tag, or rows that come as they are produced.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;
use futures::stream::{BoxStream, StreamExt};

use crate::error::{Error, Result};
use crate::scan;
use crate::sql::CopyOptions;

/// Batches of rows, as they are produced. Dropping it ends the work behind it.
pub type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// What a statement leads to.
#[derive(Debug)]
pub enum Outcome {
    /// The statement was empty.
    Empty,
    /// It is done; the tag says what (`CREATE TABLE`).
    Command {
        /// PostgreSQL's command tag.
        tag: String,
    },
    /// It has rows.
    Rows(Rows),
    /// It has rows that go out as a COPY.
    CopyOut(CopyOut),
}

impl Outcome {
    /// A statement that is done.
    pub fn done(tag: impl Into<String>) -> Self {
        Self::Command { tag: tag.into() }
    }

    /// A statement whose few rows are all there.
    pub fn table(tag: RowsTag, batch: RecordBatch) -> Self {
        Self::Rows(Rows::from_batch(tag, batch))
    }
}

/// The word that tells at the end which kind of statement the rows came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsTag {
    /// A query; its tag has the number of rows.
    Select,
    /// Rows of a cursor; its tag has the number of rows.
    Fetch,
    /// The value of a variable, or a list of what there is.
    Show,
    /// A plan.
    Explain,
    /// The columns of a relation.
    Describe,
}

impl RowsTag {
    /// The tag after `rows` rows.
    pub fn text(self, rows: u64) -> String {
        match self {
            Self::Select => format!("SELECT {rows}"),
            Self::Fetch => format!("FETCH {rows}"),
            Self::Show => "SHOW".to_owned(),
            Self::Explain => "EXPLAIN".to_owned(),
            Self::Describe => "DESCRIBE".to_owned(),
        }
    }
}

/// Rows that come as they are produced.
pub struct Rows {
    /// The columns as the client sees them: names may repeat.
    pub schema: SchemaRef,
    /// The batches; their columns match `schema` by place.
    pub stream: RowStream,
    /// True if the rows come from a live query.
    pub live: bool,
    /// What kind of statement it was.
    pub tag: RowsTag,
    rest: Option<RecordBatch>,
    ended: bool,
    /// The plan behind a snapshot's rows.
    plan: Option<Arc<dyn ExecutionPlan>>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("schema", &self.schema)
            .field("live", &self.live)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl Rows {
    /// The rows of a query that ends.
    pub fn new(schema: SchemaRef, stream: RowStream) -> Self {
        Self {
            schema,
            stream,
            live: false,
            tag: RowsTag::Select,
            rest: None,
            ended: false,
            plan: None,
        }
    }

    /// The rows of a snapshot with this plan.
    pub(super) fn snapshot(
        schema: SchemaRef,
        stream: RowStream,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Self {
        Self {
            plan: Some(plan),
            ..Self::new(schema, stream)
        }
    }

    /// How far a snapshot has read its topics; `None` for rows that come from elsewhere.
    pub fn progress(&self) -> Option<scan::Progress> {
        scan::progress(self.plan.as_ref()?)
    }

    /// The rows of a live query.
    pub fn live(schema: SchemaRef, stream: RowStream) -> Self {
        Self {
            live: true,
            ..Self::new(schema, stream)
        }
    }

    /// The same rows, as another kind of statement's.
    #[must_use]
    pub fn tagged(mut self, tag: RowsTag) -> Self {
        self.tag = tag;
        self
    }

    /// Rows that are all there.
    pub fn from_batch(tag: RowsTag, batch: RecordBatch) -> Self {
        let schema = batch.schema();
        Self {
            tag,
            ..Self::new(schema, futures::stream::iter([Ok(batch)]).boxed())
        }
    }

    /// The next rows, at most `rows_max` (0: as many as came together); `None` at the end.
    ///
    /// Cancel-safe: a dropped call loses no row.
    ///
    /// # Errors
    /// What the query behind it reports; nothing comes after it.
    pub async fn next(&mut self, rows_max: usize) -> Option<Result<RecordBatch>> {
        loop {
            if let Some(batch) = self.rest.take().filter(|batch| batch.num_rows() > 0) {
                if rows_max == 0 || batch.num_rows() <= rows_max {
                    return Some(Ok(batch));
                }
                self.rest = Some(batch.slice(rows_max, batch.num_rows() - rows_max));
                return Some(Ok(batch.slice(0, rows_max)));
            }
            if self.ended {
                return None;
            }
            match self.stream.next().await {
                Some(Ok(batch)) => self.rest = Some(batch),
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                None => self.ended = true,
            }
        }
    }
}

/// Rows that go out as a COPY.
#[derive(Debug)]
pub struct CopyOut {
    /// The rows.
    pub rows: Rows,
    /// How they are written.
    pub options: CopyOptions,
}

/// A message to the client that is not an error.
#[derive(Debug, Clone)]
pub struct Notice {
    /// How important it is.
    pub severity: Severity,
    /// The text, state, detail and hint.
    pub content: Error,
}

/// How important a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Probably not what was meant.
    Warning,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array};

    use super::*;

    fn numbers(values: &[i32]) -> RecordBatch {
        let array: ArrayRef = Arc::new(Int32Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("n", array)]).unwrap()
    }

    #[tokio::test]
    async fn rows_are_cut_to_what_was_asked_for() {
        let batches = [numbers(&[1, 2, 3]), numbers(&[]), numbers(&[4])];
        let schema = batches[0].schema();
        let mut rows = Rows::new(schema, futures::stream::iter(batches.map(Ok)).boxed());
        let mut sizes = Vec::new();
        while let Some(batch) = rows.next(2).await {
            sizes.push(batch.unwrap().num_rows());
        }
        assert_eq!(sizes, [2, 1, 1]);
    }
}
