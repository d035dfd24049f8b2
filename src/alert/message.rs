//! The text of a notification: a template over the row's columns.
//!
//! Invariant: a template that was taken names no field that there is not.

use std::collections::HashSet;

use arrow::datatypes::{Field, Schema};
use minijinja::{Environment, ErrorKind, Template, UndefinedBehavior, escape_formatter};
use serde_json::{Map, Value};

use crate::error::{Error, Result, SqlState, nearest};
use crate::format::{JsonKind, json_of, unknown_call};

/// Fields that a template may name beside the row's columns.
const FIELDS: [&str; 6] = ["alert", "event_time", "key", "severity", "state", "values"];
/// Steps that the rendering of one message may take.
const STEPS_MAX: u64 = 100_000;
/// A rendered message is cut after so many characters.
const CHARS_MAX: usize = 4_000;

/// What a template can name beside what is known of each alert.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The query's own columns.
    pub columns: &'a Schema,
    /// Those that make the key.
    pub key: &'a [String],
}

impl Names<'_> {
    fn columns(&self) -> Vec<&str> {
        let fields = self.columns.fields().iter();
        fields.map(|field| field.name().as_str()).collect()
    }

    /// The part of a path that names nothing, with what could stand there and what it stands behind.
    fn missing<'p>(&self, path: &'p str) -> Option<(&'p str, Option<&'p str>, Vec<&str>)> {
        let mut parts = path.split('.');
        let mut part = parts.next()?;
        let mut behind = None;
        let mut there = self.columns();
        let is_column = there.contains(&part);
        if !is_column && !FIELDS.contains(&part) {
            return Some((part, behind, there));
        }
        if !is_column && ["key", "values"].contains(&part) {
            behind = Some(part);
            if part == "key" {
                there = self.key.iter().map(String::as_str).collect();
            }
            part = parts.next()?;
            if !there.contains(&part) {
                return Some((part, behind, there));
            }
        }
        let has_fields = |field: &Field| {
            field.data_type().is_nested() || JsonKind::of(field) == JsonKind::RawJson
        };
        let found = self.columns.field_with_name(part).ok();
        match parts.next() {
            Some(next) if !found.is_some_and(has_fields) => Some((next, Some(part), Vec::new())),
            Some(_) | None => None,
        }
    }
}

/// Checks a template: it can be read, and there are the fields that it names.
///
/// # Errors
/// 42601 for what cannot be read, 42703 for an unknown field, 42883 for an unknown filter or function.
pub fn check_message(template: &str, names: Names<'_>) -> Result<()> {
    let environment = environment();
    let read = environment.template_from_str(template);
    let read = read.map_err(|error| {
        let what = error.detail().unwrap_or("it is no template").to_owned();
        Error::user(SqlState::SyntaxError, format!("message template: {what}"))
            .hint("A column stands in two braces, as in 'price of {{ symbol }} is {{ price }}'.")
    })?;
    let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
    let mut paths: Vec<String> = read.undeclared_variables(true).into_iter().collect();
    paths.retain(|path| !globals.contains(&path.as_str()));
    paths.sort_unstable();
    match paths.iter().find_map(|path| names.missing(path)) {
        Some((name, behind, there)) => Err(no_field(name, behind, &there)),
        None => check_calls(template, &environment, &read, &names.columns()),
    }
}

fn no_field(name: &str, behind: Option<&str>, there: &[&str]) -> Error {
    let whose = behind.map_or(String::new(), |behind| format!(" in {behind}"));
    let text = format!("message template: there is no field \"{name}\"{whose}");
    let error = Error::user(SqlState::UndefinedColumn, text);
    let all = there.join(", ");
    match (nearest(name, there), behind) {
        (Some(near), _) => error.hint(format!("Perhaps you meant \"{near}\".")),
        (None, None) => error.hint(format!(
            "There are the query's columns ({all}), and {}.",
            FIELDS.join(", ")
        )),
        (None, Some(_)) if there.is_empty() => {
            error.hint("Only a column of type json, a row or a map has fields.")
        }
        (None, Some(behind)) => error.hint(format!("{behind} has: {all}.")),
    }
}

/// The columns that a template names and that hide a field of the same name.
pub fn hiding<'a>(template: &str, columns: &'a Schema) -> Vec<&'a str> {
    let environment = environment();
    let used = environment.template_from_str(template);
    let used = used.map_or_else(|_| HashSet::new(), |read| read.undeclared_variables(false));
    let columns = columns.fields().iter().map(|field| field.name().as_str());
    let hides = |name: &&str| FIELDS.contains(name) && used.contains(*name);
    columns.filter(hides).collect()
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
    environment.set_formatter(|out, state, value| match json_of(value) {
        Some(json) => Ok(out.write_str(&json)?),
        None => escape_formatter(out, state, value),
    });
    environment
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let columns = Schema::new(vec![
            Field::new("symbol", DataType::Utf8View, true),
            Field::new("price", DataType::Float64, true),
            JsonKind::RawJson.mark(Field::new("details", DataType::Utf8View, true)),
        ]);
        let fields = serde_json::json!({
            "symbol": "BTC", "price": 71.5, "details": {"venue": "north"}, "alert": "a", "state": "firing",
            "severity": "warning", "key": {"symbol": "BTC"}, "event_time": "2026-01-01T00:00:00Z",
            "values": {"symbol": "BTC", "price": 71.5, "details": {"venue": "north"}},
        });
        let key = ["symbol".to_owned()];
        let names = Names {
            columns: &columns,
            key: &key,
        };
        let found = match check_message(template, names) {
            Ok(()) => message(template, fields.as_object().expect("an object")),
            Err(error) => format!("{} {}", error.state().code(), error.message()),
        };
        assert_eq!(found, expected, "{template}");
    }

    #[test]
    fn columns_and_what_else_is_known_stand_in_two_braces() {
        check("{{ symbol }} at {{ price }}", "BTC at 71.5");
        check(
            "{{ true }} {{ none }} {{ symbol == 'x' }}",
            "true null false",
        );
        check("{{ key.symbol }} {{ state | upper }}", "BTC FIRING");
        check(
            "{{ values.price }} {{ values.details.venue }} {{ details.venue }}",
            "71.5 north north",
        );
        check("{% for name in key %}{{ name }}{% endfor %}", "symbol");
        check("{{ dict(a=1) }}", "{\"a\":1}");
        check("{% if price > 70 %}high{% endif %}", "high");
        check("no field", "no field");
    }

    #[test]
    fn what_holds_fields_is_written_as_json() {
        check("{{ key }}", "{\"symbol\":\"BTC\"}");
        check("{{ [symbol, none] }}", "[\"BTC\",null]");
    }

    #[test]
    fn a_field_behind_a_field_is_looked_for() {
        check(
            "{{ key.price }}",
            "42703 message template: there is no field \"price\" in key",
        );
        check(
            "{% if price > 1000 %}{{ values.nope }}{% endif %}",
            "42703 message template: there is no field \"nope\" in values",
        );
        check(
            "{{ price.nope }}",
            "42703 message template: there is no field \"nope\" in price",
        );
        check(
            "{{ state.nope }}",
            "42703 message template: there is no field \"nope\" in state",
        );
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
