//! SELECT: a snapshot, which DataFusion runs, or a live query, which the engine runs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use sqlparser::ast;
use tokio::sync::mpsc;

use super::subscribe;
use crate::error::{Error, Result, SqlState};
use crate::planner::{placed, plan_query};
use crate::session::{Columns, Notice, Outcome, Rows, Session, Severity, parameters, pg_catalog};
use crate::sql::{Renamed, StreamQuery};
use crate::task::Scoped;

/// Batches between the query's task and whoever takes its rows.
const BATCHES_QUEUED_MAX: usize = 2;

pub(in crate::session) async fn run(session: &mut Session, query: StreamQuery) -> Result<Outcome> {
    let is_subscription = query.subscription.is_some();
    let rows = rows(session, query).await?;
    if rows.live && session.variable("application_name")? == "psql" {
        session.notice(plain_psql(is_subscription));
    }
    Ok(Outcome::Rows(rows))
}

/// psql collects the rows of a statement before it shows the first.
fn plain_psql(is_subscription: bool) -> Notice {
    let content = Error::user(
        SqlState::SuccessfulCompletion,
        "psql shows no rows of a live query until it ends",
    );
    // Before version 17 psql uses a cursor only for what begins with SELECT or VALUES.
    let content = match is_subscription {
        true => content.hint(
            "Press Ctrl-C and use COPY (SUBSCRIBE ..) TO STDOUT; psql from version 17 on also \
             shows rows as they come after \\set FETCH_COUNT 1.",
        ),
        false => content.hint(
            "Press Ctrl-C, run \\set FETCH_COUNT 1 and try again, or use COPY (SELECT ..) TO STDOUT.",
        ),
    };
    Notice {
        severity: Severity::Notice,
        content,
    }
}

/// The rows of a query, as they are produced.
pub(in crate::session) async fn rows(session: &mut Session, query: StreamQuery) -> Result<Rows> {
    match query.emit {
        None => snapshot(session, query).await,
        Some(_) => super::continuous::live(session, query).await,
    }
}

async fn snapshot(session: &mut Session, query: StreamQuery) -> Result<Rows> {
    let state = session.state()?;
    let rewritten = pg_catalog::rewrite(*query.query, &query.text);
    // For the places of what only shows itself when the rows are computed.
    let text = rewritten.query.clone();
    let query = text.clone();
    let mut planning = session.services.compute.spawn_scoped("plan", async move {
        let (state, plan) = logical(&state, rewritten.query).await?;
        let schema = shown(&plan, &rewritten.renamed);
        let physical = state.create_physical_plan(&plan).await;
        let physical = physical.map_err(|error| placed(error.into(), &query))?;
        Ok::<_, Error>((state, schema, physical))
    });
    let (state, schema, physical) = planning.join().await??;
    let (sender, receiver) = mpsc::channel(BATCHES_QUEUED_MAX);
    let plan = Arc::clone(&physical);
    let reading = session
        .services
        .compute
        .spawn_scoped("snapshot", async move {
            let mut batches = match execute_stream(physical, state.task_ctx()) {
                Ok(batches) => batches,
                Err(error) => {
                    // The receiver is gone only when nobody wants the rows.
                    let _ = sender.send(Err(placed(error.into(), &text))).await;
                    return;
                }
            };
            while let Some(batch) = batches.next().await {
                let failed = batch.is_err();
                let batch = batch.map_err(|error| placed(error.into(), &text));
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        });
    let reading = Reading {
        receiver,
        task: Some(reading),
    };
    let stream = futures::stream::unfold(reading, Reading::next).boxed();
    Ok(Rows::snapshot(schema, stream, plan))
}

/// The plan of a query, as text. `analyze` runs it to its end and tells what it took.
pub(in crate::session) async fn explain(
    session: &mut Session,
    query: StreamQuery,
    analyze: bool,
    verbose: bool,
) -> Result<String> {
    let state = session.state()?;
    let rewritten = pg_catalog::rewrite(*query.query, &query.text);
    let mut planning = session
        .services
        .compute
        .spawn_scoped("explain", async move {
            let (state, plan) = logical(&state, rewritten.query).await?;
            let physical = state.create_physical_plan(&plan).await?;
            if analyze {
                let mut batches = execute_stream(Arc::clone(&physical), state.task_ctx())?;
                while let Some(batch) = batches.next().await {
                    batch?;
                }
            }
            let shown = if analyze {
                DisplayableExecutionPlan::with_metrics(physical.as_ref())
            } else {
                DisplayableExecutionPlan::new(physical.as_ref())
            };
            Ok::<_, Error>(shown.indent(verbose).to_string())
        });
    planning.join().await?
}

/// A snapshot being read; dropping it ends the reading.
struct Reading {
    receiver: mpsc::Receiver<Result<arrow::array::RecordBatch>>,
    task: Option<Scoped<()>>,
}

impl Reading {
    async fn next(mut self) -> Option<(Result<arrow::array::RecordBatch>, Self)> {
        if let Some(batch) = self.receiver.recv().await {
            return Some((batch, self));
        }
        // The task is over; whether it came to its end or panicked is known only from itself.
        let panicked = self.task.take()?.join().await.err()?;
        Some((Err(panicked), self))
    }
}

/// Plans a query, and makes sure that it only reads.
async fn logical(state: &SessionState, query: ast::Query) -> Result<(SessionState, LogicalPlan)> {
    let mut state = state.clone();
    state.mark_start_execution();
    let plan = plan_query(&state, Box::new(query)).await?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)?;
    Ok((state, plan))
}

/// A plan's columns under the names that the client sees.
fn shown(plan: &LogicalPlan, renamed: &Renamed) -> SchemaRef {
    let schema = plan.schema().as_arrow();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            field
                .as_ref()
                .clone()
                .with_name(renamed.shown(field.name()))
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// The types of a query's parameters and its columns, without running it.
pub(in crate::session) async fn describe(
    session: &mut Session,
    query: &StreamQuery,
    types: &[Option<FieldRef>],
) -> Result<(Vec<Option<FieldRef>>, Columns)> {
    let Some(subscription) = &query.subscription else {
        return describe_rows(session, query, types).await;
    };
    let (known, rows) = match subscribe::followed(session, subscription)? {
        Some(view) => (types.to_vec(), Some(view.schema())),
        None => describe_rows(session, query, types).await?,
    };
    let columns = rows.map(|rows| subscribe::columns(&rows, subscription.progress));
    Ok((known, columns))
}

/// The same without what SUBSCRIBE adds.
async fn describe_rows(
    session: &mut Session,
    query: &StreamQuery,
    types: &[Option<FieldRef>],
) -> Result<(Vec<Option<FieldRef>>, Columns)> {
    let mut known = parameters::placeholders_of_query(&query.query, types);
    let state = session.state()?;
    let mut ast = (*query.query).clone();
    let arrays = if known.iter().any(Option::is_none) {
        parameters::unwrap_any(&mut ast)
    } else {
        Vec::new()
    };
    let given: Vec<Option<FieldRef>> = known
        .iter()
        .enumerate()
        .map(|(index, field)| field.clone().filter(|_| !arrays.contains(&index)))
        .collect();
    parameters::cast_known(&mut ast, &given);
    let text = if known.is_empty() {
        query.text.clone()
    } else {
        ast.to_string()
    };
    let rewritten = pg_catalog::rewrite(ast, &text);
    let mut planning = session.services.compute.spawn_scoped("plan", async move {
        let (_, plan) = logical(&state, rewritten.query).await?;
        let inferred = inferred(&plan)?;
        Ok::<_, Error>((shown(&plan, &rewritten.renamed), inferred))
    });
    let (schema, inferred) = planning.join().await??;
    for (index, field) in known.iter_mut().enumerate() {
        if field.is_none()
            && let Some((_, data_type)) = inferred.iter().find(|(place, _)| *place == index)
        {
            let data_type = match data_type {
                DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
                other => other.clone(),
            };
            let data_type = if arrays.contains(&index) {
                DataType::List(Arc::new(Field::new_list_field(data_type, true)))
            } else {
                data_type
            };
            *field = Some(Arc::new(Field::new("", data_type, true)));
        }
    }
    Ok((known, Some(schema)))
}

/// The types that a plan's parameters have by what they are compared with, cast to or counted by.
fn inferred(plan: &LogicalPlan) -> Result<Vec<(usize, DataType)>> {
    let mut found = Vec::new();
    let index = |id: &str| id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(parameter) = count.as_ref()
                    && let Some(place) = index(&parameter.id)
                {
                    found.push((place, DataType::Int64));
                }
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Expr::Placeholder(parameter) = cast.expr.as_ref()
                    && let Some(place) = index(&parameter.id)
                {
                    found.push((place, cast.field.data_type().clone()));
                }
                if let Expr::Placeholder(parameter) = expr
                    && let (Some(place), Some(field)) = (index(&parameter.id), &parameter.field)
                {
                    found.push((place, field.data_type().clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The value of an expression without columns, as the type of `field` if there is one.
pub(in crate::session) async fn constant(
    session: &mut Session,
    expr: ast::Expr,
    field: Option<&FieldRef>,
) -> Result<ScalarValue> {
    let expr = parameters::typed(expr, field);
    let rows = select(session, expr).await?;
    let batches: Vec<_> = rows.stream.collect().await;
    let Some(Ok(batch)) = batches
        .into_iter()
        .find(|batch| batch.as_ref().map_or(true, |batch| batch.num_rows() > 0))
    else {
        return Err(Error::internal("an expression without a value"));
    };
    let value = ScalarValue::try_from_array(batch.column(0), 0)?;
    match field {
        Some(field) => Ok(value.cast_to(field.data_type())?),
        None => Ok(value),
    }
}

/// The Arrow field of an SQL type.
pub(in crate::session) async fn field_of_type(
    session: &mut Session,
    data_type: &ast::DataType,
) -> Result<FieldRef> {
    let null = ast::Expr::Value(ast::Value::Null.into());
    let cast = ast::Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(null),
        data_type: data_type.clone(),
        array: false,
        format: None,
    };
    let rows = select(session, cast).await?;
    Ok(Arc::clone(&rows.schema.fields()[0]))
}

/// The rows of `SELECT expr`.
async fn select(session: &mut Session, expr: ast::Expr) -> Result<Rows> {
    let text = format!("SELECT {expr}");
    let mut parsed = crate::sql::parse(&text)?;
    match parsed.pop().map(|parsed| parsed.statement) {
        Some(crate::sql::Statement::Query(query)) => snapshot(session, query).await,
        _ => Err(Error::internal("SELECT of an expression is a query")),
    }
}
