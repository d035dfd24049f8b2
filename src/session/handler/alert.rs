//! ACK ALERT, SILENCE ALERT, UNSILENCE ALERT: what people say of an alert.

use std::sync::Arc;

use serde_json::Value;

use super::notice;
use crate::alert::{Names, Phase, check_message};
use crate::catalog::{AlertDefinition, Definition};
use crate::engine::AlertShared;
use crate::error::{Error, Result, SqlState, nearest};
use crate::session::{Outcome, Session};
use crate::sql::{AckAlert, Name, OptionClause, OptionValue, SilenceAlert};
use crate::task;

/// The alert of a name.
///
/// # Errors
/// There is none.
pub(super) fn find(session: &Session, name: &Name) -> Result<Arc<AlertDefinition>> {
    let definitions = session.services().catalog.snapshot();
    let error = match definitions.get(&name.name) {
        Some(Definition::Alert(alert)) => return Ok(Arc::clone(alert)),
        Some(other) => {
            let text = format!("\"{}\" is a {}, not an alert", name.name, other.kind_name());
            Error::user(SqlState::WrongObjectType, text)
        }
        None => {
            let text = format!("alert \"{}\" does not exist", name.name);
            let alerts = definitions
                .all()
                .filter(|d| matches!(d, Definition::Alert(_)));
            let names: Vec<&str> = alerts.map(Definition::name).collect();
            let error = Error::user(SqlState::UndefinedTable, text);
            match nearest(&name.name, &names) {
                Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                None => error.hint("SHOW ALERTS lists them."),
            }
        }
    };
    Err(error.at(Some(name.position)))
}

pub(in crate::session) async fn ack(session: &mut Session, ack: AckAlert) -> Result<Outcome> {
    find(session, &ack.name)?;
    let engine = session.services().engine.clone();
    let name = ack.name.name.clone();
    let alert = engine.alert(&name);
    if let (Some(alert), Some(key)) = (&alert, &ack.key)
        && key.len() != alert.key_columns().len()
    {
        let columns = alert.key_columns();
        let text = format!(
            "the key of alert \"{name}\" has {} values, not {}",
            columns.len(),
            key.len()
        );
        return Err(Error::user(SqlState::SyntaxError, text)
            .hint(format!("It is KEY ({}).", columns.join(", ")))
            .at(Some(ack.name.position)));
    }
    let keys = alert.map(|alert| firing(&alert, ack.key.as_deref()));
    let keys = keys.unwrap_or_default();
    if keys.is_empty() {
        if let Some(key) = &ack.key {
            let text = format!("key ({}) of alert \"{name}\" is not firing", key.join(", "));
            return Err(Error::user(SqlState::UndefinedObject, text)
                .hint("SELECT * FROM headwater.alerts shows what is.")
                .at(Some(ack.name.position)));
        }
        let text = format!("no key of alert \"{name}\" is firing");
        notice(session, Error::user(SqlState::SuccessfulCompletion, text));
    }
    task::spawn_blocking(move || engine.alert_events().ack(&name, keys)).await?;
    Ok(Outcome::done("ACK ALERT"))
}

/// The keys that fire, each with its transition; only the one of these values, if some are given.
fn firing(alert: &AlertShared, values: Option<&[String]>) -> Vec<(String, u64)> {
    let columns = alert.key_columns();
    let is_meant = |key: &str| {
        let Some(values) = values else { return true };
        let Ok(Value::Object(fields)) = serde_json::from_str(key) else {
            return false;
        };
        let own = columns.iter().map(|column| fields.get(column));
        own.zip(values)
            .all(|(own, given)| own.is_some_and(|own| is_same(own, given)))
    };
    let keys = alert.keys().into_iter();
    let firing = keys
        .filter(|(key, own)| matches!(own.state.phase(), Phase::Firing { .. }) && is_meant(key));
    firing
        .map(|(key, own)| (key, own.state.transitions()))
        .collect()
}

/// Whether a key's value is the one that is written down.
fn is_same(own: &Value, given: &str) -> bool {
    let is_text = |word: &&str| word.eq_ignore_ascii_case(given);
    match own {
        Value::String(text) => text == given,
        Value::Number(number) => {
            let (own, given) = (number.to_string(), given.trim());
            let numbers = (own.parse::<f64>(), given.parse::<f64>());
            // Two integers that are one as floating point numbers are two keys all the same.
            let are_whole = own.parse::<i128>().is_ok() && given.parse::<i128>().is_ok();
            own == given || (!are_whole && matches!(numbers, (Ok(own), Ok(given)) if own == given))
        }
        Value::Bool(true) => ["true", "t", "yes", "on", "1"].iter().any(is_text),
        Value::Bool(false) => ["false", "f", "no", "off", "0"].iter().any(is_text),
        Value::Null => given == "null",
        Value::Array(_) | Value::Object(_) => own.to_string().as_str() == given,
    }
}

pub(in crate::session) async fn silence(
    session: &mut Session,
    silence: SilenceAlert,
) -> Result<Outcome> {
    find(session, &silence.name)?;
    let engine = session.services().engine.clone();
    let now = session.services().clock.now().0;
    let until = (silence.length > 0).then(|| now.saturating_add(silence.length));
    let name = silence.name.name;
    task::spawn_blocking(move || engine.alert_events().silence(&name, until)).await?;
    let tag = if until.is_some() {
        "SILENCE ALERT"
    } else {
        "UNSILENCE ALERT"
    };
    Ok(Outcome::done(tag))
}

/// Checks the messages that `ALTER ALERT .. SET (..)` sets, as far as the alert runs.
///
/// # Errors
/// A template that names what there is not.
pub(super) fn check_set(session: &Session, name: &str, set: &[OptionClause]) -> Result<()> {
    let Some(alert) = session.services().engine.alert(name) else {
        return Ok(());
    };
    let (columns, key) = (alert.columns(), alert.key_columns());
    let names = Names {
        columns: &columns,
        key: &key,
    };
    let is_message =
        |option: &&OptionClause| ["message", "resolved_message"].contains(&option.name.as_str());
    for option in set.iter().filter(is_message) {
        let OptionValue::Text(text) = &option.value else {
            continue;
        };
        let at = |error: Error| error.at(Some(option.value_position));
        check_message(text, names).map_err(at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_same;

    #[test]
    fn a_value_of_a_key_is_the_one_that_is_written_in_another_form_too() {
        for (own, given, expected) in [
            (json!("1.50"), "1.5", false),
            (json!(1.5), "1.50", true),
            (json!(1e300), "1e+300", true),
            (json!(0.0), "0", true),
            (json!(9_007_199_254_740_993_i64), "9007199254740992", false),
            (json!(7), "7", true),
            (json!(true), "t", true),
            (json!(false), "true", false),
            (json!(null), "null", true),
        ] {
            assert_eq!(is_same(&own, given), expected, "{own} {given}");
        }
    }
}
