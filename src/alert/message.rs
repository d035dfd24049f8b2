//! The text of a notification: a template over the row's columns.
//!
//! Invariant: a template that was taken names no field that there is not.

use minijinja::{Environment, ErrorKind, Template, UndefinedBehavior};
use serde_json::{Map, Value};

use crate::error::{Error, Result, SqlState, nearest};
use crate::format::unknown_call;

/// Fields that a template may name beside the row's columns.
const FIELDS: [&str; 6] = ["alert", "event_time", "key", "severity", "state", "values"];
/// Steps that the rendering of one message may take.
const STEPS_MAX: u64 = 100_000;
/// A rendered message is cut after so many characters.
const CHARS_MAX: usize = 4_000;

/// Checks a template: it can be read, and there are the fields that it names.
///
/// # Errors
/// 42601 for what cannot be read, 42703 for an unknown field, 42883 for an unknown filter or function.
pub fn check_message(template: &str, columns: &[&str]) -> Result<()> {
    let environment = environment();
    let read = environment.template_from_str(template);
    let read = read.map_err(|error| {
        let what = error.detail().unwrap_or("it is no template").to_owned();
        Error::user(SqlState::SyntaxError, format!("message template: {what}"))
            .hint("A column stands in two braces, as in 'price of {{ symbol }} is {{ price }}'.")
    })?;
    let mut unknown: Vec<String> = read.undeclared_variables(false).into_iter().collect();
    unknown.retain(|name| !FIELDS.contains(&name.as_str()) && !columns.contains(&name.as_str()));
    unknown.sort_unstable();
    let Some(name) = unknown.first() else {
        return check_calls(template, &environment, &read, columns);
    };
    let text = format!("message template: there is no field \"{name}\"");
    let error = Error::user(SqlState::UndefinedColumn, text);
    Err(match nearest(name, columns) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None => error.hint(format!(
            "There are the query's columns ({}), and {}.",
            columns.join(", "),
            FIELDS.join(", ")
        )),
    })
}

/// What a template calls: filters and tests by its text, and the rest by rendering it once with made-up values.
fn check_calls(
    template: &str,
    environment: &Environment<'_>,
    read: &Template<'_, '_>,
    columns: &[&str],
) -> Result<()> {
    let refused = |what: &str| {
        let text = format!("message template: {what}");
        Err(Error::user(SqlState::UndefinedFunction, text)
            .hint("Filters are those of minijinja, such as upper, round, default, replace."))
    };
    if let Some(unknown) = unknown_call(template, environment) {
        return refused(&unknown);
    }
    let names = FIELDS.iter().chain(columns);
    let made_up: Map<String, Value> = names.map(|name| ((*name).to_owned(), "1".into())).collect();
    match read.render(minijinja::value::Serde(&made_up)) {
        Err(error) if error.kind() == ErrorKind::UnknownFunction => {
            refused(error.detail().unwrap_or("it calls what there is not"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The text for these fields. A template that cannot be rendered with them gives a text that says why:
/// an alert is told all the same.
pub(super) fn message(template: &str, fields: &Map<String, Value>) -> String {
    let environment = environment();
    let rendered = environment
        .template_from_str(template)
        .and_then(|read| read.render(minijinja::value::Serde(fields)));
    match rendered {
        Ok(text) if text.chars().nth(CHARS_MAX).is_some() => text.chars().take(CHARS_MAX).collect(),
        Ok(text) => text,
        Err(error) => format!("{template} ({error})"),
    }
}

fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(STEPS_MAX));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let columns = ["symbol", "price"];
        let fields = serde_json::json!({
            "symbol": "BTC", "price": 71.5, "alert": "a", "state": "firing", "severity": "warning",
            "key": {"symbol": "BTC"}, "values": {}, "event_time": "2026-01-01T00:00:00Z",
        });
        let found = match check_message(template, &columns) {
            Ok(()) => message(template, fields.as_object().expect("an object")),
            Err(error) => format!("{} {}", error.state().code(), error.message()),
        };
        assert_eq!(found, expected, "{template}");
    }

    #[test]
    fn columns_and_what_else_is_known_stand_in_two_braces() {
        check("{{ symbol }} at {{ price }}", "BTC at 71.5");
        check("{{ key.symbol }} {{ state | upper }}", "BTC FIRING");
        check("{% if price > 70 %}high{% endif %}", "high");
        check("no field", "no field");
    }

    #[test]
    fn what_is_not_there_is_refused() {
        check(
            "{{ sybol }}",
            "42703 message template: there is no field \"sybol\"",
        );
        check(
            "{{ symbol ",
            "42601 message template: unexpected end of input, expected end of variable block",
        );
        check(
            "{{ symbol | uper }}",
            "42883 message template: filter uper is unknown",
        );
        check(
            "{% if price > 1000 %}{{ symbol | uper }}{% endif %}",
            "42883 message template: filter uper is unknown",
        );
        check(
            "{% if price is nan %}{% endif %}",
            "42883 message template: test nan is unknown",
        );
        // What only these values cannot do may do with others.
        check("{{ key.symbol | upper }}", "BTC");
    }
}
