//! Continuous queries: planning them, and live rows for a client.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;

use super::subscribe;
use crate::catalog::{
    AlertDefinition, Definition, MaterializedViewDefinition, SinkDefinition, SinkRows,
    query_options,
};
use crate::engine::{Emitted, LiveRows, LiveStart};
use crate::error::{Culprit, Error, Result, SqlState, from_arrow, from_datafusion};
use crate::plan::{QueryOptions, StreamPlan};
use crate::planner::{Purpose, Request, placed, plan_query, plan_stream};
use crate::session::{Rows, Services, Session, pg_catalog};
use crate::sql::{Identifier, StreamQuery};
use crate::types::EventTime;

/// A continuous query that is to be planned.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct Wanted<'a> {
    /// The query.
    pub query: &'a StreamQuery,
    /// Names for its first columns.
    pub columns: &'a [String],
    /// Who takes the rows.
    pub purpose: Purpose,
    /// The columns by which an alert tells rows apart.
    pub key: &'a [Identifier],
    /// What is set beside its SQL.
    pub options: QueryOptions,
}

impl<'a> Wanted<'a> {
    /// For a client.
    pub(in crate::session) fn live(query: &'a StreamQuery, options: QueryOptions) -> Self {
        Self {
            query,
            columns: &[],
            purpose: Purpose::Client,
            key: &[],
            options,
        }
    }

    /// For an alert.
    pub(in crate::session) fn alert(alert: &'a AlertDefinition) -> Self {
        Self {
            query: &alert.watched,
            columns: &[],
            purpose: Purpose::Alert,
            key: &alert.clause.key,
            options: alert.options,
        }
    }

    /// For a materialized view.
    pub(in crate::session) fn view(view: &'a MaterializedViewDefinition) -> Self {
        Self {
            query: &view.query,
            columns: &view.columns,
            purpose: Purpose::View,
            key: &[],
            options: view.options,
        }
    }

    /// For a sink; `None` if it has no query.
    pub(in crate::session) fn sink(sink: &'a SinkDefinition) -> Option<Self> {
        Some(Self {
            query: sink.query.as_ref()?,
            columns: &[],
            purpose: match sink.target.rows() {
                SinkRows::Added => Purpose::AppendSink,
                SinkRows::Newest => Purpose::UpsertSink,
                SinkRows::Changes => Purpose::ChangelogSink,
            },
            key: &[],
            options: sink.query_options,
        })
    }
}

/// Plans a continuous query; its columns get the names wanted, or the ones PostgreSQL would give.
pub(in crate::session) async fn continuous(
    services: &Services,
    state: &SessionState,
    wanted: Wanted<'_>,
) -> Result<StreamPlan> {
    let Wanted {
        query,
        columns,
        purpose,
        key,
        options,
    } = wanted;
    let rewritten = pg_catalog::rewrite((*query.query).clone(), &query.text);
    let query = StreamQuery {
        query: Box::new(rewritten.query),
        ..query.clone()
    };
    let definitions = services.catalog.snapshot();
    let request = Request {
        query: &query,
        definitions: &definitions,
        purpose,
        key,
        options,
    };
    let mut plan = plan_stream(state, request).await?;
    let shown: Vec<String> = plan
        .schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| match columns.get(index) {
            Some(name) => name.clone(),
            None => rewritten.renamed.shown(field.name()).to_owned(),
        })
        .collect();
    if columns.len() > shown.len() {
        return Err(Error::user(
            SqlState::InvalidTableDefinition,
            format!("{} column names for {} columns", columns.len(), shown.len()),
        ));
    }
    if purpose != Purpose::Client {
        check_unique(&shown).map_err(|error| placed(error, &query.query))?;
    }
    plan.rename(&shown);
    Ok(plan)
}

pub(super) fn check_unique(names: &[String]) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(Error::user(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            )
            .hint("Give each column a name with AS.")
            .about(Culprit::Item(index)));
        }
    }
    Ok(())
}

/// The rows of a live query, as they are emitted.
pub(in crate::session) async fn live(session: &mut Session, query: StreamQuery) -> Result<Rows> {
    if let Some(subscription) = query.subscription.clone() {
        return subscribe::rows(session, query, &subscription).await;
    }
    let rows = start(session, query, false).await?;
    let schema = rows.schema();
    let added = rows.filter_map(async |emitted| match emitted {
        Ok(Emitted::Changes { changes, .. }) => Some(changes.added().map_err(from_arrow)),
        Ok(Emitted::Watermark { .. }) => None,
        Err(error) => Some(Err(error)),
    });
    Ok(Rows::live(schema, added.boxed()))
}

/// Starts a live query. `progress`: it also tells how the watermark moves.
pub(in crate::session) async fn start(
    session: &mut Session,
    query: StreamQuery,
    progress: bool,
) -> Result<LiveRows> {
    let services = Arc::clone(session.services());
    let start = live_start(&session.variable("live_start")?)?;
    let options = options(session)?;
    let state = session.state()?;
    let planning = Arc::clone(&services);
    let mut planning = services.compute.spawn_scoped("plan", async move {
        continuous(&planning, &state, Wanted::live(&query, options)).await
    });
    let plan = planning.join().await??;
    services.engine.live(plan, start, progress)
}

/// What the session's variables set for live queries.
pub(in crate::session) fn options(session: &Session) -> Result<QueryOptions> {
    query_options(
        &session.variable("state_ttl")?,
        &session.variable("allowed_lateness")?,
        &session.variable("trigger")?,
    )
}

/// What the variable `live_start` says.
pub(in crate::session) fn live_start(value: &str) -> Result<LiveStart> {
    match value {
        "open windows" => Ok(LiveStart::Now),
        "latest" => Ok(LiveStart::Latest),
        "earliest" => Ok(LiveStart::Earliest),
        time => match arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(time) {
            Ok(nanos) => Ok(LiveStart::Timestamp(EventTime(nanos.div_euclid(1_000)))),
            Err(_) => Err(Error::user(
                SqlState::InvalidParameterValue,
                format!("invalid value for parameter \"live_start\": \"{time}\""),
            )
            .hint(
                "Use 'open windows', 'latest', 'earliest', or a time such as '2026-01-31T12:00:00Z'.",
            )),
        },
    }
}

/// Plans a query as a snapshot, without running it.
pub(in crate::session) async fn logical_of(
    session: &mut Session,
    query: &StreamQuery,
) -> Result<LogicalPlan> {
    let state = session.state()?;
    let planned = plan_query(&state, query.query.clone()).await;
    planned.map_err(from_datafusion)
}

/// The columns of a view, a materialized view or a sink.
pub(in crate::session) async fn columns_of(
    session: &mut Session,
    definition: &Definition,
) -> Result<SchemaRef> {
    let (query, names) = match definition {
        Definition::Table(table) => {
            let fields: Vec<_> = table.columns.iter().map(|c| Arc::clone(&c.field)).collect();
            return Ok(Arc::new(Schema::new(fields)));
        }
        Definition::View(view) => (&view.query, view.columns.as_slice()),
        Definition::MaterializedView(view) => {
            if let Some(rows) = session.services().engine.materialized(&view.name) {
                return Ok(rows.schema());
            }
            (&view.query, view.columns.as_slice())
        }
        Definition::Alert(alert) => (&alert.clause.query, [].as_slice()),
        Definition::Sink(sink) => match &sink.query {
            Some(query) => (query, [].as_slice()),
            None => return Ok(Arc::new(Schema::empty())),
        },
        Definition::Secret(_) => return Ok(Arc::new(Schema::empty())),
    };
    let plan = logical_of(session, query).await?;
    let fields: Vec<Field> = plan
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| match names.get(index) {
            Some(name) => Field::clone(field).with_name(name),
            None => Field::clone(field),
        })
        .collect();
    Ok(Arc::new(Schema::new(fields)))
}
