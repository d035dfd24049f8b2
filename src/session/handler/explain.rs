//! EXPLAIN: DataFusion's plan of a snapshot, the streaming plan of a live query.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::continuous::{Wanted, options};
use super::{explain_stream, query, subscribe};
use crate::catalog::{AlertDefinition, MaterializedViewDefinition, SinkDefinition};
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
            plan_of(session, *statement, (analyze, verbose)).await?
        }
        ExplainTarget::Progress(name) => explain_stream::progress(session, &name)?,
    };
    let lines = StringViewArray::from_iter_values(text.lines());
    let batch = RecordBatch::try_new(columns(), vec![Arc::new(lines)])?;
    Ok(Outcome::table(RowsTag::Explain, batch))
}

/// The plan of the query in a statement.
async fn plan_of(
    session: &mut Session,
    statement: Statement,
    (analyze, verbose): (bool, bool),
) -> Result<String> {
    match statement {
        Statement::CreateMaterializedView(clause) => {
            let view = MaterializedViewDefinition::try_new(&clause)?;
            explain_stream::plan(session, Wanted::view(&view)).await
        }
        Statement::CreateSink(clause) => {
            let defaults = session.services().config.kafka.connection();
            let sink = SinkDefinition::try_new(&clause, defaults.as_ref())?;
            let wanted = Wanted::sink(&sink).ok_or_else(no_plan)?;
            explain_stream::plan(session, wanted).await
        }
        Statement::CreateAlert(clause) => {
            explain_stream::alert(session, &AlertDefinition::try_new(&clause)?).await
        }
        other => {
            let query = query_of(other)?;
            if let Some(subscription) = &query.subscription
                && subscribe::followed(session, subscription)?.is_some()
            {
                let name = subscription.relation.as_ref().map_or("", |name| &name.name);
                return explain_stream::followed(session, name);
            }
            if query.emit.is_none() {
                return query::explain(session, query, analyze, verbose).await;
            }
            let options = options(session)?;
            explain_stream::plan(session, Wanted::live(&query, options)).await
        }
    }
}

/// The query in a statement that has one.
fn query_of(statement: Statement) -> Result<StreamQuery> {
    match statement {
        Statement::Query(query) => Ok(query),
        Statement::CreateView(create) => Ok(create.query),
        Statement::CopyOut(copy) => Ok(copy.query),
        Statement::Declare(declare) => Ok(declare.query),
        _ => Err(no_plan()),
    }
}

fn no_plan() -> Error {
    Error::user(SqlState::FeatureNotSupported, "this statement has no plan")
        .hint("EXPLAIN takes a SELECT, a COPY, or a CREATE of a view, sink or alert.")
}
