//! Templates of bodies and texts, in the language of Jinja.
//!
//! ```text
//! {{ market }}, {{ row.market }}          a column of the row
//! {% for r in rows %}{{ r.market }}..     the rows that go together
//! ```
//! Invariant: a field that is not there is an error, when the template is checked or else when it is used; it is
//! never an empty text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use arrow::datatypes::{DataType, Schema};
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};

use crate::error::{Culprit, Error, Result, SqlState, nearest};
use crate::format::{JsonKind, json_of, unknown_call};

const NAME: &str = "template";
/// Steps that one use of a template may take: a loop that never ends shall end.
const FUEL: u64 = 10_000_000;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// As they are.
    Nothing,
    /// `&`, `<` and `>` as Slack wants them: a value names no channel and calls no user.
    Slack,
}

/// A template that fits a schema.
#[derive(Debug)]
pub(super) struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Compiles the text of an option and checks that it uses nothing but what rows of the schema have.
    ///
    /// # Errors
    /// 42601 for what is no template, 42703 for a field that is not there.
    pub(super) fn try_new(
        option: &str,
        text: &str,
        schema: &Schema,
        escape: Escape,
    ) -> Result<Self> {
        let about = |error: Error| error.about(Culprit::Option(option.to_owned()));
        Self::checked(option, text, schema, escape).map_err(about)
    }

    fn checked(option: &str, text: &str, schema: &Schema, escape: Escape) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(move |out, _, value| {
            let text = text_of(value)?;
            match escape {
                Escape::Nothing => out.write_str(&text)?,
                Escape::Slack => out.write_str(&escaped(&text))?,
            }
            Ok(())
        });
        let broken = |error: &minijinja::Error| {
            let message = format!("invalid template in option \"{option}\": {}", told(error));
            Error::user(SqlState::SyntaxError, message)
                .hint("Templates are written as in Jinja: {{ column }}, {% if column > 1 %}..{% endif %}.")
        };
        environment
            .add_template_owned(NAME, text.to_owned())
            .map_err(|error| broken(&error))?;
        let unknown = |what: &str| {
            let message = format!("template in option \"{option}\": {what}");
            Error::user(SqlState::UndefinedFunction, message)
                .hint("Filters are those of minijinja, such as tojson, upper, round, default.")
        };
        if let Some(what) = unknown_call(text, &environment) {
            return Err(unknown(&what));
        }
        let template = Self { environment };
        template.check_names(option, schema)?;
        template.probe(schema).map_err(|error| match error.kind() {
            ErrorKind::UnknownFunction => unknown(&told(&error)),
            ErrorKind::UndefinedError => Error::user(
                SqlState::UndefinedColumn,
                format!(
                    "template in option \"{option}\" uses a field that is not there: {}",
                    told(&error)
                ),
            )
            .hint(columns_of(schema)),
            _ => broken(&error),
        })?;
        Ok(template)
    }

    /// The text for rows that go together, each a JSON object; there is at least one.
    ///
    /// # Errors
    /// What cannot be computed, as a sentence's part.
    pub(super) fn render(&self, rows: &[&[u8]]) -> Result<String, String> {
        let parsed: Result<Vec<Value>, _> =
            rows.iter().map(|row| serde_json::from_slice(row)).collect();
        let rows = parsed.map_err(|error| format!("the row is no JSON: {error}"))?;
        let rendered = self.render_values(rows);
        rendered.map_err(|error| format!("the template fails: {}", told(&error)))
    }

    /// True if it uses all rows that go together, not only the first.
    pub(super) fn uses_rows(&self) -> bool {
        self.names(false).contains("rows")
    }

    fn render_values(&self, rows: Vec<Value>) -> Result<String, minijinja::Error> {
        let first = rows.first().cloned().unwrap_or_default();
        let rows = Value::from_iter(rows);
        let template = self.environment.get_template(NAME)?;
        template.render(context! { row => first.clone(), rows => rows, ..first })
    }

    fn names(&self, nested: bool) -> BTreeSet<String> {
        let template = self.environment.get_template(NAME);
        template.map_or_else(
            |_| BTreeSet::new(),
            |template| template.undeclared_variables(nested).into_iter().collect(),
        )
    }

    fn check_names(&self, option: &str, schema: &Schema) -> Result<()> {
        let is_column = |name: &str| schema.field_with_name(name).is_ok();
        let is_global = |name: &str| self.environment.globals().any(|(global, _)| global == name);
        for path in self.names(true) {
            let mut parts = path.split('.');
            let root = parts.next().unwrap_or_default();
            let missing = match (root, parts.next()) {
                ("rows", _) | ("row", None) => None,
                ("row", Some(column)) => (!is_column(column)).then_some(column),
                (name, _) => (!is_column(name) && !is_global(name)).then_some(name),
            };
            let Some(missing) = missing else { continue };
            let text = format!(
                "template in option \"{option}\" uses \"{missing}\", which is no column of the sink's rows"
            );
            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            let error = Error::user(SqlState::UndefinedColumn, text);
            return Err(match nearest(missing, &names) {
                Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                None => error.hint(columns_of(schema)),
            });
        }
        Ok(())
    }

    /// Uses the template once with a made-up row, to find what its names do not show. Errors that come of
    /// the values, and of fields inside of columns whose fields nobody knows, are none.
    fn probe(&self, schema: &Schema) -> Result<(), minijinja::Error> {
        let opaque = schema
            .fields()
            .iter()
            .any(|field| field.data_type().is_nested() || JsonKind::of(field) == JsonKind::RawJson);
        let pairs = schema.fields().iter();
        let row: serde_json::Map<String, serde_json::Value> = pairs
            .map(|field| (field.name().clone(), made_up(field.data_type())))
            .collect();
        let text = serde_json::Value::Object(row).to_string();
        let Ok(row) = serde_json::from_str::<Value>(&text) else {
            return Ok(());
        };
        match self.render_values(vec![row.clone(), row]) {
            Err(error) => match error.kind() {
                ErrorKind::UnknownFunction
                | ErrorKind::SyntaxError
                | ErrorKind::TooManyArguments
                | ErrorKind::MissingArgument => Err(error),
                ErrorKind::UndefinedError if !opaque => Err(error),
                _ => Ok(()),
            },
            Ok(_) => Ok(()),
        }
    }
}

/// A value of a type, as JSON has it.
fn made_up(data_type: &DataType) -> serde_json::Value {
    match data_type {
        DataType::Boolean => true.into(),
        kind if kind.is_numeric() => 1.into(),
        _ => "1".into(),
    }
}

fn columns_of(schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    format!("The rows have the columns {}.", names.join(", "))
}

/// How a value is written: NULL as JSON has it, so that it is seen, and texts without quotes.
fn text_of(value: &Value) -> Result<String, minijinja::Error> {
    if value.is_undefined() {
        return Err(minijinja::Error::new(
            ErrorKind::UndefinedError,
            "a value is not there",
        ));
    }
    if let Some(json) = json_of(value) {
        return Ok(json);
    }
    let mut text = String::new();
    match value.as_str() {
        Some(own) => text.push_str(own),
        None => write!(text, "{value}").map_err(|_| ErrorKind::WriteFailure)?,
    }
    Ok(text)
}

/// As Slack wants texts that are to be shown as they are.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What is wrong, and where.
fn told(error: &minijinja::Error) -> String {
    let what = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    match error.line() {
        Some(line) if line > 1 => format!("{what} (line {line})"),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    fn schema() -> Schema {
        let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
        Schema::new(vec![
            field("market", DataType::Utf8View),
            field("price", DataType::Float64),
            field("hot", DataType::Boolean),
        ])
    }

    fn template(text: &str, escape: Escape) -> Result<Template> {
        Template::try_new("body", text, &schema(), escape)
    }

    fn rendered(text: &str, rows: &[&str]) -> Result<String, String> {
        let rows: Vec<&[u8]> = rows.iter().map(|row| row.as_bytes()).collect();
        template(text, Escape::Nothing).unwrap().render(&rows)
    }

    const ROW: &str = r#"{"market":"BTC <x>","price":1.5,"hot":null}"#;

    #[test]
    fn columns_stand_alone_and_in_row_and_in_rows() {
        for text in [
            "{{ market }} {{ price }} {{ hot }}",
            "{{ row.market }} {{ row.price }} {{ row.hot }}",
            "{% for r in rows %}{{ r.market }} {{ r.price }} {{ r.hot }}{% endfor %}",
        ] {
            assert_eq!(
                rendered(text, &[ROW]).unwrap(),
                "BTC <x> 1.5 null",
                "{text}"
            );
        }
        let two = rendered(
            "{% for r in rows %}{{ r.price + 1 }};{% endfor %}",
            &[ROW, ROW],
        );
        assert_eq!(two.unwrap(), "2.5;2.5;");
        assert_eq!(
            rendered("{{ row | tojson }}", &[r#"{"market":"a\"b"}"#]).unwrap(),
            r#"{"market": "a\"b"}"#
        );
    }

    #[test]
    fn a_field_that_is_not_there_is_an_error_when_the_template_is_made() {
        for (text, hint) in [
            ("{{ pirce }}", "Perhaps you meant \"price\"."),
            ("{{ row.pirce }}", "Perhaps you meant \"price\"."),
            (
                "{% if false %}{{ volume }}{% endif %}",
                "The rows have the columns market, price, hot.",
            ),
            (
                "{% for r in rows %}{{ r.volume }}{% endfor %}",
                "The rows have the columns market, price, hot.",
            ),
        ] {
            let error = template(text, Escape::Nothing).unwrap_err();
            assert_eq!(error.state(), SqlState::UndefinedColumn, "{text}: {error}");
            assert_eq!(error.hint_text(), Some(hint), "{text}");
        }
    }

    #[test]
    fn what_is_no_template_is_an_error_when_it_is_made() {
        for text in [
            "{{ market",
            "{% if hot %}",
            "{{ shout(market) }}",
            "{% include 'other' %}",
        ] {
            let error = template(text, Escape::Nothing).unwrap_err();
            let state = error.state();
            let known = [SqlState::SyntaxError, SqlState::UndefinedColumn];
            assert!(known.contains(&state), "{text}: {error}");
        }
    }

    #[test]
    fn a_filter_or_a_test_that_there_is_not_is_an_error_also_where_a_row_seldom_leads() {
        for text in [
            "{{ market | shout }}",
            "{% if price > 1000 %}{{ market | shout }}{% endif %}",
            "{% if market is loud %}{% endif %}",
        ] {
            let error = template(text, Escape::Nothing).unwrap_err();
            assert_eq!(
                error.state(),
                SqlState::UndefinedFunction,
                "{text}: {error}"
            );
            assert!(error.hint_text().is_some(), "{text}");
        }
    }

    #[test]
    fn fields_of_a_json_column_are_known_only_when_there_is_a_row() {
        let json = JsonKind::RawJson.mark(Field::new("values", DataType::Utf8View, true));
        let schema = Schema::new(vec![json]);
        let text = "{{ values.p }}";
        let template = Template::try_new("text", text, &schema, Escape::Nothing).unwrap();
        assert_eq!(template.render(&[br#"{"values":{"p":7}}"#]).unwrap(), "7");
        let error = template.render(&[br#"{"values":{"q":7}}"#]).unwrap_err();
        assert!(error.contains("the template fails"), "{error}");
    }

    #[test]
    fn a_value_cannot_call_anybody_in_slack() {
        let template = template("<!here> {{ market }}", Escape::Slack).unwrap();
        let row = br#"{"market":"<!channel> & co"}"#;
        let text = template.render(&[row]).unwrap();
        assert_eq!(text, "<!here> &lt;!channel&gt; &amp; co");
    }

    #[test]
    fn a_loop_without_end_ends() {
        let text = "{% for a in range(90000) %}{% for b in range(90000) %}{% if price > 1 %}{% endif %}{% endfor %}{% endfor %}";
        let error = rendered(text, &[ROW]).unwrap_err();
        assert!(error.contains("fuel"), "{error}");
    }
}
