//! CREATE ALERT: a query that runs, and what is told of its rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::execution::SessionState;

use super::alert_notices::{notices, refuse_senseless, refuse_twice};
use super::continuous::{Wanted, continuous};
use super::{create_sink, define, is_there, mode, notice};
use crate::alert::{AlertRules, Names, Rules, Watch, check_message, notification_schema};
use crate::catalog::{AlertDefinition, Definition, SEVERITY_DEFAULT, sql_type_name};
use crate::engine::{AlertSetup, OpenSink};
use crate::error::{Error, Result, SqlState, from_arrow, nearest};
use crate::plan::{Changelog, Emission, StreamPlan};
use crate::planner::check_condition;
use crate::session::{Outcome, Services, Session};
use crate::sql::{self, CLEAR_COLUMN, Condition, CreateAlert, Template, WHEN_COLUMN};

const TAG: &str = "CREATE ALERT";
/// Messages of a partition between two looks at the groups of an aggregate.
const ROWS_MAX: usize = 64;

pub(in crate::session) async fn run(session: &mut Session, clause: CreateAlert) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let services = Arc::clone(session.services());
    let mode = mode(clause.if_not_exists, clause.or_replace);
    refuse_twice(&clause.notify)?;
    let alert = Arc::new(AlertDefinition::try_new(&clause)?);
    let definition = Definition::Alert(Arc::clone(&alert));
    let at = |error: Error| error.at(Some(clause.name.position));
    services.catalog.check(&definition, mode).map_err(at)?;
    let seen = services.catalog.snapshot();
    let state = session.state()?;
    let (plan, watch) = planned(&services, &state, &alert).await?;
    for content in notices(&alert, &plan, &watch)? {
        notice(session, content);
    }
    let setup = setup(&services, &alert, watch)?;
    define(session, (definition, seen), mode, move |engine| {
        engine.create_alert(plan, setup, true)
    })
    .await?;
    Ok(Outcome::done(TAG))
}

/// Starts the query of an alert that is defined.
pub(in crate::session) async fn start(
    services: &Arc<Services>,
    alert: &AlertDefinition,
) -> Result<()> {
    let (plan, watch) = planned(services, services.base_state()?, alert).await?;
    let setup = setup(services, alert, watch)?;
    services.engine.create_alert(plan, setup, false)
}

/// The plan of an alert's query, and what is looked at of its rows.
///
/// # Errors
/// When it cannot be planned, a condition is none, a key is missing, or a message names what there is
/// not.
pub(in crate::session) async fn planned(
    services: &Services,
    state: &SessionState,
    alert: &AlertDefinition,
) -> Result<(StreamPlan, Watch)> {
    check_clause(state, &alert.clause)?;
    let plan = continuous(services, state, Wanted::alert(alert)).await;
    // What is wrong may stand in a view: the alert then has no place for it.
    let name = alert.clause.name.position;
    let mut plan = plan.map_err(|error| {
        let place = error.position().unwrap_or(name);
        error.at(Some(place))
    })?;
    plan.options.by_time = true;
    // A group's change in a micro-batch is its last form: short ones show what came between.
    plan.options.rows_max = plan.aggregate.as_ref().map(|_| ROWS_MAX);
    let mut watch = watch(&alert.clause, &plan)?;
    if let Some(time) = plan.tell_row_times()? {
        (watch.time, watch.is_of_groups) = (Some(time.column), time.is_of_group);
    }
    let columns = plan.schema.project(&watch.shown).map_err(from_arrow)?;
    let key = watch.key.iter().map(|column| plan.schema.field(*column));
    let key: Vec<String> = key.map(|field| field.name().clone()).collect();
    let names = Names {
        columns: &columns,
        key: &key,
    };
    let templates = [&alert.clause.message, &alert.clause.resolved];
    for Template { text, position } in templates.into_iter().flatten() {
        check_message(text, names).map_err(|error| error.at(Some(*position)))?;
    }
    refuse_senseless(&alert.clause, &plan, &watch)?;
    Ok((plan, watch))
}

/// What can be told of the clauses without the query's columns.
fn check_clause(state: &SessionState, clause: &CreateAlert) -> Result<()> {
    let conditions = [("WHEN", &clause.when), ("CLEAR WHEN", &clause.clear)];
    for (words, condition) in conditions {
        if let Some(condition) = condition {
            check_condition(state, &condition.expr, words)?;
        }
    }
    match (&clause.when, clause.lasts) {
        (None, Some((0, position))) => Err(Error::user(
            SqlState::InvalidParameterValue,
            "WHEN no data needs a FOR above zero",
        )
        .hint("A key is silent between any two rows: say for how long, as in FOR '5 minutes'.")
        .at(Some(position))),
        _ => Ok(()),
    }
}

/// What can be changed of the alert while it runs.
pub(super) fn rules(alert: &AlertDefinition) -> AlertRules {
    let clause = &alert.clause;
    let text =
        |template: &Option<Template>| template.as_ref().map(|template| template.text.clone());
    AlertRules {
        rules: Rules {
            lasts: clause.lasts.map_or(0, |(length, _)| length),
            cooldown: clause.cooldown.unwrap_or(0),
            clears: clause.clear.is_some(),
            no_data: clause.when.is_none(),
        },
        severity: clause
            .severity
            .clone()
            .unwrap_or_else(|| SEVERITY_DEFAULT.to_owned()),
        message: text(&clause.message),
        resolved: text(&clause.resolved),
    }
}

/// What the alert's query is given beside its plan.
///
/// # Errors
/// A sink that cannot be told.
pub(super) fn setup(
    services: &Services,
    alert: &AlertDefinition,
    watch: Watch,
) -> Result<AlertSetup> {
    Ok(AlertSetup {
        watch,
        rules: rules(alert),
        notify: notified(services, alert)?,
    })
}

/// Opens the sinks that an alert tells.
fn notified(services: &Services, alert: &AlertDefinition) -> Result<Vec<OpenSink>> {
    let definitions = services.catalog.snapshot();
    let schema = notification_schema();
    let open = |name: &sql::Name| {
        let at = |error: Error| error.at(Some(name.position));
        let Some(Definition::Sink(sink)) = definitions.get(&name.name) else {
            let text = format!("sink \"{}\" does not exist", name.name);
            return Err(at(Error::user(SqlState::UndefinedTable, text)));
        };
        if sink.query.is_some() {
            let text = format!("sink \"{}\" has a query of its own", name.name);
            return Err(at(Error::user(SqlState::WrongObjectType, text).hint(
                "NOTIFY takes a sink without one: CREATE SINK s WITH (connector = ..).",
            )));
        }
        create_sink::check_told(services, sink, &alert.name).map_err(at)?;
        let writer = create_sink::Writer::Alert {
            alert: &alert.name,
            sink: &sink.name,
        };
        Ok(create_sink::open_sink(
            services,
            &sink.target,
            writer,
            &schema,
        ))
    };
    alert.clause.notify.iter().map(open).collect()
}

fn watch(clause: &CreateAlert, plan: &StreamPlan) -> Result<Watch> {
    let schema = &plan.schema;
    let holds = condition(schema, WHEN_COLUMN, "WHEN", clause.when.as_ref())?;
    let clear = condition(schema, CLEAR_COLUMN, "CLEAR WHEN", clause.clear.as_ref())?;
    let hidden = |column: &usize| Some(*column) == holds || Some(*column) == clear;
    let shown: Vec<usize> = (0..schema.fields().len())
        .filter(|column| !hidden(column))
        .collect();
    let key = key(clause, schema, &shown)?;
    let named = |name: &str| {
        let is_it = |column: &&usize| {
            let field = schema.field(**column);
            field.name() == name && matches!(field.data_type(), DataType::Timestamp(..))
        };
        shown.iter().find(is_it).copied()
    };
    let is_windowed = plan
        .aggregates()
        .any(|aggregate| aggregate.window.is_some());
    let is_open = is_windowed && plan.emission != Emission::Final;
    let window = named("window_start").zip(named("window_end"));
    if is_open && window.is_none() {
        return Err(Error::user(
            SqlState::WindowingError,
            "the alert cannot tell the windows of its query apart",
        )
        .hint("Select window_start and window_end as well, or write EMIT FINAL to look at closed windows.")
        .at(Some(clause.name.position)));
    }
    let updates = plan.changelog() == Changelog::Update;
    let apart = plan.key.iter().flatten().filter(|_| updates);
    let row = apart.filter(|column| !key.contains(column)).copied();
    let mut row: Vec<usize> = row.collect();
    row.extend(
        window
            .map(|(start, _)| start)
            .filter(|start| is_open && !row.contains(start)),
    );
    Ok(Watch {
        alert: clause.name.name.clone(),
        generation: 0,
        key,
        row,
        window,
        is_open,
        time: None,
        is_of_groups: false,
        holds,
        clear,
        shown,
    })
}

/// The column of a condition, which must be boolean.
fn condition(
    schema: &Schema,
    name: &str,
    clause: &str,
    condition: Option<&Condition>,
) -> Result<Option<usize>> {
    let Some(condition) = condition else {
        return Ok(None);
    };
    let column = schema.index_of(name);
    let column = column.map_err(|_| Error::internal(format!("no column of {clause}")))?;
    let field = schema.field(column);
    if *field.data_type() == DataType::Boolean {
        return Ok(Some(column));
    }
    let found = sql_type_name(field);
    Err(Error::user(
        SqlState::DatatypeMismatch,
        format!("argument of {clause} must be type boolean, not type {found}"),
    )
    .hint("Compare it with something, as in WHEN price > 100.")
    .at(Some(condition.position)))
}

/// The columns that make the key.
fn key(clause: &CreateAlert, schema: &Schema, shown: &[usize]) -> Result<Vec<usize>> {
    let names = || {
        shown
            .iter()
            .map(|column| schema.field(*column).name().as_str())
    };
    let mut key = Vec::new();
    for wanted in &clause.key {
        let found = shown
            .iter()
            .find(|column| *schema.field(**column).name() == wanted.name);
        let Some(found) = found else {
            let text = format!(
                "column \"{}\" of KEY is not in the alert's query",
                wanted.name
            );
            let error = Error::user(SqlState::UndefinedColumn, text).at(Some(wanted.position));
            let names: Vec<&str> = names().collect();
            return Err(match nearest(&wanted.name, &names) {
                Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                None => error.hint(format!("The query has: {}.", names.join(", "))),
            });
        };
        if key.contains(found) {
            let text = format!("column \"{}\" stands in KEY twice", wanted.name);
            return Err(Error::user(SqlState::DuplicateColumn, text).at(Some(wanted.position)));
        }
        key.push(*found);
    }
    Ok(key)
}
