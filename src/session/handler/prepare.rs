//! PREPARE, EXECUTE, DEALLOCATE.

use arrow::datatypes::FieldRef;

use super::query;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Session};
use crate::sql::{Execute, Name, Parsed, Prepare};

pub(in crate::session) async fn prepare(
    session: &mut Session,
    prepare: Prepare,
) -> Result<Outcome> {
    let mut types: Vec<Option<FieldRef>> = Vec::new();
    for data_type in &prepare.types {
        types.push(Some(query::field_of_type(session, data_type).await?));
    }
    let parsed = Parsed {
        statement: *prepare.statement,
        text: prepare.text.clone(),
        start: prepare.name.position,
    };
    let (name, text) = (prepare.name, prepare.text);
    Box::pin(session.prepare_parsed(&name.name, Some(parsed), &types, &text)).await?;
    Ok(Outcome::done("PREPARE"))
}

pub(in crate::session) async fn execute(
    session: &mut Session,
    execute: Execute,
) -> Result<Outcome> {
    let prepared = session
        .prepared(&execute.name.name)
        .map_err(|error| error.at(Some(execute.name.position)))?;
    let wanted = prepared.parameters.len();
    if execute.arguments.len() != wanted {
        return Err(Error::user(
            SqlState::SyntaxError,
            format!(
                "wrong number of parameters for prepared statement \"{}\"",
                execute.name.name
            ),
        )
        .detail(format!(
            "Expected {wanted} parameters but got {}.",
            execute.arguments.len()
        ))
        .at(Some(execute.name.position)));
    }
    let mut values = Vec::new();
    for (argument, field) in execute.arguments.into_iter().zip(&prepared.parameters) {
        values.push(query::constant(session, argument, field.as_ref()).await?);
    }
    let Some(parsed) = prepared.parsed.clone() else {
        return Ok(Outcome::Empty);
    };
    Box::pin(session.execute(parsed, &values)).await
}

pub(in crate::session) fn deallocate(
    session: &mut Session,
    name: Option<&Name>,
) -> Result<Outcome> {
    let Some(name) = name else {
        session.forget_all_prepared();
        return Ok(Outcome::done("DEALLOCATE ALL"));
    };
    if session.forget_prepared(&name.name) {
        return Ok(Outcome::done("DEALLOCATE"));
    }
    Err(Error::user(
        SqlState::UndefinedPreparedStatement,
        format!("prepared statement \"{}\" does not exist", name.name),
    )
    .at(Some(name.position)))
}
