//! EXPLAIN: DataFusion's plan of a snapshot, the streaming plan of a live query.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::query;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, RowsTag, Session};
use crate::sql::{Explain, ExplainTarget, Statement, StreamQuery};

/// What every EXPLAIN returns: lines of text.
pub(in crate::session) fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "QUERY PLAN",
        DataType::Utf8View,
        false,
    )]))
}

pub(in crate::session) async fn run(session: &mut Session, explain: Explain) -> Result<Outcome> {
    let (analyze, verbose) = (explain.analyze, explain.verbose);
    let text = match explain.target {
        ExplainTarget::Statement(statement) => {
            let query = query_of(*statement)?;
            query::explain(session, query, analyze, verbose).await?
        }
        ExplainTarget::Progress(name) => {
            return Err(Error::user(
                SqlState::FeatureNotSupported,
                "EXPLAIN PROGRESS is not supported yet",
            )
            .at(Some(name.position)));
        }
    };
    let lines = StringViewArray::from_iter_values(text.lines());
    let batch = RecordBatch::try_new(columns(), vec![Arc::new(lines)])?;
    Ok(Outcome::table(RowsTag::Explain, batch))
}

/// The query in a statement that has one.
fn query_of(statement: Statement) -> Result<StreamQuery> {
    match statement {
        Statement::Query(query) => Ok(query),
        Statement::CreateMaterializedView(create) => Ok(create.query),
        Statement::CreateSink(create) => Ok(create.query),
        Statement::CreateView(create) => Ok(create.query),
        Statement::CopyOut(copy) => Ok(copy.query),
        Statement::Declare(declare) => Ok(declare.query),
        _ => Err(
            Error::user(SqlState::FeatureNotSupported, "this statement has no plan")
                .hint("EXPLAIN takes a SELECT, a COPY, or a CREATE of a view or sink."),
        ),
    }
}
