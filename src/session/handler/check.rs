//! Checking a statement without running it: nothing is asked of a broker, nothing is started.
//!
//! Definitions are kept in the session's catalog, so that the statements after them can be checked
//! too. A materialized view is kept as a view: what reads it only needs its columns.

use std::sync::Arc;

use super::continuous::{Wanted, continuous, logical_of, options};
use super::{
    alter_query, alter_table, create_alert, create_secret, create_sink, create_view, infer, insert,
    mode, replay,
};
use crate::catalog::{
    AlertDefinition, CreateMode, Definition, MaterializedViewDefinition, SinkDefinition,
    TableDefinition, ViewDefinition,
};
use crate::error::{Error, Result, SqlState};
use crate::planner::check_table;
use crate::session::{Session, dispatch};
use crate::sql::{
    CreateAlert, CreateMaterializedView, CreateSink, CreateTable, CreateView, ExplainTarget, Name,
    ObjectKind, Statement, StreamQuery,
};
use crate::types::KafkaConnection;

/// Checks one statement.
///
/// # Errors
/// What running it would report before it asks a broker.
pub(in crate::session) async fn run(session: &mut Session, statement: Statement) -> Result<()> {
    match statement {
        Statement::CreateTable(clause) => table(session, &clause),
        Statement::CreateMaterializedView(clause) => materialized_view(session, clause).await,
        Statement::CreateView(clause) => create_view::check(session, &clause).await,
        Statement::CreateSink(clause) => sink(session, &clause).await,
        Statement::CreateSecret(clause) => create_secret::keep(session, &clause).await.map(drop),
        Statement::CreateAlert(clause) => alert(session, &clause).await,
        Statement::Query(query) => plan(session, &query).await,
        Statement::CopyOut(copy) => plan(session, &copy.query).await,
        Statement::Declare(declare) => plan(session, &declare.query).await,
        Statement::Insert(statement) => insert::check(session, *statement).await,
        Statement::Explain(explain) => match explain.target {
            ExplainTarget::Statement(inner) => Box::pin(run(session, *inner)).await,
            ExplainTarget::Progress(_) => Ok(()),
        },
        Statement::Drop(mut drop) => {
            if drop.kind == ObjectKind::MaterializedView {
                drop.kind = ObjectKind::View;
            }
            dispatch::run(session, Statement::Drop(drop))
                .await
                .map(|_| ())
        }
        Statement::AlterQuery(alter) => alter_query::check(session, &alter),
        Statement::Replay(statement) => replay::check(session, statement).await,
        Statement::AlterTable(alter) => alter_table::check(session, &alter).await,
        // These need neither a broker nor rows.
        statement @ (Statement::Prepare(_)
        | Statement::Deallocate(_)
        | Statement::Show(_)
        | Statement::Describe(_)
        | Statement::Set(_)
        | Statement::SetTransaction(_)
        | Statement::Reset(_)
        | Statement::Discard(_)
        | Statement::CopyIn(_)) => dispatch::run(session, statement).await.map(|_| ()),
        // Nothing in these can be told from the text alone.
        Statement::Empty
        | Statement::Execute(_)
        | Statement::Fetch(_)
        | Statement::Move(_)
        | Statement::Close(_)
        | Statement::Begin(_)
        | Statement::Commit(_)
        | Statement::Rollback(_)
        | Statement::Savepoint(_)
        | Statement::ReleaseSavepoint(_)
        | Statement::RollbackToSavepoint(_)
        | Statement::Listen(_)
        | Statement::Unlisten(_)
        | Statement::Notify(_)
        | Statement::Flush
        | Statement::AckAlert(_)
        | Statement::SilenceAlert(_)
        | Statement::Backtest(_)
        | Statement::CancelQuery(_) => Ok(()),
    }
}

/// The cluster of tables that name none; which one it is decides nothing here.
fn defaults(session: &Session) -> KafkaConnection {
    let configured = session.services().config.kafka.connection();
    configured.unwrap_or_else(|| KafkaConnection {
        bootstrap_servers: "localhost:9092".to_owned(),
        ..KafkaConnection::default()
    })
}

fn table(session: &mut Session, clause: &CreateTable) -> Result<()> {
    if infer::is_asked_for(clause) {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            "the columns of this table are only known to a server",
        )
        .hint("Create it once, and put what SHOW CREATE TABLE says into the file.")
        .at(Some(clause.name.position)));
    }
    let table = TableDefinition::try_new(clause, Some(&defaults(session)))?;
    let state = session.state()?;
    check_table(&table, &state)?;
    let mode = mode(clause.if_not_exists, clause.or_replace);
    keep(
        session,
        Definition::Table(Arc::new(table)),
        mode,
        &clause.name,
    )
}

async fn materialized_view(session: &mut Session, clause: CreateMaterializedView) -> Result<()> {
    let services = Arc::clone(session.services());
    let view = MaterializedViewDefinition::try_new(&clause)?;
    let state = session.state()?;
    continuous(&services, &state, Wanted::view(&view)).await?;
    let kept = ViewDefinition::try_new(&CreateView {
        name: clause.name.clone(),
        if_not_exists: clause.if_not_exists,
        or_replace: clause.or_replace,
        columns: clause.columns,
        query: StreamQuery {
            emit: None,
            emit_position: None,
            ..clause.query
        },
        text: clause.text,
    })?;
    let mode = mode(clause.if_not_exists, clause.or_replace);
    keep(
        session,
        Definition::View(Arc::new(kept)),
        mode,
        &clause.name,
    )
}

async fn sink(session: &mut Session, clause: &CreateSink) -> Result<()> {
    let services = Arc::clone(session.services());
    let sink = SinkDefinition::try_new(clause, Some(&defaults(session)))?;
    let state = session.state()?;
    match sink.query {
        Some(_) => drop(create_sink::planned(&services, &state, &sink).await?),
        None => create_sink::check_alone(&services, clause, &sink)?,
    }
    let mode = mode(clause.if_not_exists, clause.or_replace);
    keep(
        session,
        Definition::Sink(Arc::new(sink)),
        mode,
        &clause.name,
    )
}

async fn alert(session: &mut Session, clause: &CreateAlert) -> Result<()> {
    let services = Arc::clone(session.services());
    let alert = AlertDefinition::try_new(clause)?;
    let state = session.state()?;
    create_alert::planned(&services, &state, &alert).await?;
    let mode = mode(clause.if_not_exists, clause.or_replace);
    keep(
        session,
        Definition::Alert(Arc::new(alert)),
        mode,
        &clause.name,
    )
}

/// Keeps a definition for the statements after it.
fn keep(session: &Session, definition: Definition, mode: CreateMode, name: &Name) -> Result<()> {
    let catalog = &session.services().catalog;
    let kept = catalog.create(definition, mode);
    kept.map(|_| ())
        .map_err(|error| error.at(Some(name.position)))
}

async fn plan(session: &mut Session, query: &StreamQuery) -> Result<()> {
    if query.emit.is_some() {
        let services = Arc::clone(session.services());
        let options = options(session)?;
        let state = session.state()?;
        continuous(&services, &state, Wanted::live(query, options)).await?;
        return Ok(());
    }
    let plan = logical_of(session, query).await?;
    session.state()?.optimize(&plan)?;
    Ok(())
}
