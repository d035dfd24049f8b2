//! Which handler a statement goes to, and what it will return before it runs.

use arrow::datatypes::FieldRef;

use super::handler::{
    alert, alter_query, alter_table, backtest, copy, create_alert, create_materialized_view,
    create_secret, create_sink, create_table, create_view, cursor, drop_object, explain, flush,
    insert, prepare, query, replay, show_objects, transaction, variable,
};
use super::{Columns, Outcome, Session, parameters};
use crate::error::Result;
use crate::sql::{Show, Statement};

/// True for the statements that are admitted in a failed transaction.
pub(super) fn ends_transaction(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Commit(_) | Statement::Rollback(_) | Statement::RollbackToSavepoint(_)
    )
}

/// Runs a statement.
pub(super) async fn run(session: &mut Session, statement: Statement) -> Result<Outcome> {
    match statement {
        Statement::Query(select) => query::run(session, select).await,
        Statement::Explain(explain) => explain::run(session, explain).await,
        Statement::CopyOut(out) => copy::run(session, out).await,
        Statement::CopyIn(_) => Err(copy::refuse_in()),
        Statement::Declare(declare) => cursor::declare(session, declare).await,
        Statement::Fetch(fetch) => cursor::fetch(session, &fetch),
        Statement::Move(fetch) => cursor::skip(session, &fetch).await,
        Statement::Close(close) => cursor::close(session, &close),
        Statement::Set(set) => variable::set(session, &set),
        Statement::SetTransaction(set) => transaction::set(session, &set),
        Statement::Reset(reset) => variable::reset(session, &reset),
        Statement::Discard(discard) => variable::discard(session, discard),
        Statement::Show(Show::Variable(name)) => variable::show(session, &name),
        Statement::Show(Show::All) => variable::show_all(session),
        Statement::Begin(modes) => transaction::begin(session, &modes),
        Statement::Commit(end) => transaction::commit(session, end),
        Statement::Rollback(end) => transaction::rollback(session, end),
        Statement::Savepoint(_) => transaction::savepoint(session),
        Statement::ReleaseSavepoint(_) => transaction::release(session),
        Statement::RollbackToSavepoint(_) => transaction::rollback_to(session),
        Statement::Prepare(prepare) => prepare::prepare(session, prepare).await,
        Statement::Execute(execute) => prepare::execute(session, execute).await,
        Statement::Deallocate(name) => prepare::deallocate(session, name.as_ref()),
        Statement::Listen(channel) => {
            session.listen(&channel.name);
            Ok(Outcome::done("LISTEN"))
        }
        Statement::Unlisten(channel) => {
            session.unlisten(channel.as_ref().map(|channel| channel.name.as_str()));
            Ok(Outcome::done("UNLISTEN"))
        }
        Statement::Notify(_) => Ok(Outcome::done("NOTIFY")),
        Statement::CreateTable(clause) => create_table::run(session, clause).await,
        Statement::CreateView(clause) => create_view::run(session, clause).await,
        Statement::CreateMaterializedView(clause) => {
            create_materialized_view::run(session, clause).await
        }
        Statement::CreateSink(clause) => create_sink::run(session, clause).await,
        Statement::CreateSecret(clause) => create_secret::run(session, &clause).await,
        Statement::CreateAlert(clause) => create_alert::run(session, *clause).await,
        Statement::Backtest(backtest) => backtest::run(session, backtest).await,
        Statement::AckAlert(ack) => alert::ack(session, ack).await,
        Statement::SilenceAlert(silence) => alert::silence(session, silence).await,
        Statement::AlterQuery(alter) => alter_query::run(session, alter).await,
        Statement::AlterTable(alter) => alter_table::run(session, alter).await,
        Statement::Drop(drop) => drop_object::run(session, drop).await,
        Statement::Show(Show::Objects { kind, like }) => {
            show_objects::objects(session, kind, like.as_deref())
        }
        Statement::Show(Show::Columns(name)) | Statement::Describe(name) => {
            show_objects::describe(session, &name).await
        }
        Statement::Show(Show::Create { kind, name }) => show_objects::create(session, kind, &name),
        Statement::Insert(insert) => insert::run(session, *insert).await,
        Statement::Replay(replay) => replay::run(session, replay).await,
        Statement::Flush => flush::run(session).await,
        Statement::CancelQuery(name) => {
            drop_object::cancel(session, &name, false)?;
            Ok(Outcome::done("CANCEL QUERY"))
        }
        Statement::Empty => Ok(Outcome::Empty),
    }
}

/// The parameters' types and the columns of a statement that has not run. `types` are the
/// parameters' types as far as the client says them.
pub(super) async fn describe(
    session: &mut Session,
    statement: &Statement,
    types: &[Option<FieldRef>],
) -> Result<(Vec<Option<FieldRef>>, Columns)> {
    let given = || types.to_vec();
    match statement {
        Statement::Query(select) => query::describe(session, select, types).await,
        Statement::Declare(declare) => {
            let (parameters, _) = query::describe(session, &declare.query, types).await?;
            Ok((parameters, None))
        }
        Statement::CopyOut(out) => {
            let (parameters, _) = query::describe(session, &out.query, types).await?;
            Ok((parameters, None))
        }
        Statement::Fetch(fetch) => {
            let portal = session.portals.get(&fetch.name.name);
            Ok((given(), portal.and_then(|portal| portal.columns.clone())))
        }
        Statement::Execute(execute) => Ok((
            given(),
            session.prepared(&execute.name.name)?.columns.clone(),
        )),
        Statement::Explain(_) => Ok((
            parameters::placeholders(statement, types),
            Some(explain::columns()),
        )),
        Statement::Insert(insert) => {
            let parameters = parameters::placeholders(statement, types);
            Ok((insert::parameter_types(session, insert, parameters), None))
        }
        Statement::Backtest(_) => Ok((given(), Some(crate::alert::notification_schema()))),
        // These read and change nothing, so running them tells their columns.
        Statement::Show(_) | Statement::Describe(_) => {
            match Box::pin(run(session, statement.clone())).await? {
                Outcome::Rows(rows) => Ok((given(), Some(rows.schema))),
                _ => Ok((given(), None)),
            }
        }
        other => Ok((parameters::placeholders(other, types), None)),
    }
}
