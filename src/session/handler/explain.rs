//! EXPLAIN: DataFusion's plan of a snapshot, the streaming plan of a live query.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{explain_stream, query};
use crate::error::{Error, Result, SqlState};
use crate::planner::Purpose;
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
            let purpose = continuous_purpose(&statement);
            let query = query_of(*statement)?;
            match purpose {
                Some(purpose) => explain_stream::plan(session, &query, purpose).await?,
                None => query::explain(session, query, analyze, verbose).await?,
            }
        }
        ExplainTarget::Progress(name) => explain_stream::progress(session, &name)?,
    };
    let lines = StringViewArray::from_iter_values(text.lines());
    let batch = RecordBatch::try_new(columns(), vec![Arc::new(lines)])?;
    Ok(Outcome::table(RowsTag::Explain, batch))
}

/// Who would take the rows, if the statement's query runs for ever.
fn continuous_purpose(statement: &Statement) -> Option<Purpose> {
    match statement {
        Statement::CreateMaterializedView(_) => Some(Purpose::View),
        Statement::CreateSink(_) => Some(Purpose::AppendSink),
        Statement::Query(query) if query.emit.is_some() => Some(Purpose::Client),
        Statement::CopyOut(copy) if copy.query.emit.is_some() => Some(Purpose::Client),
        Statement::Declare(declare) if declare.query.emit.is_some() => Some(Purpose::Client),
        _ => None,
    }
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
