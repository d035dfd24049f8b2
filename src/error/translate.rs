//! DataFusion's and Arrow's errors in our words: the one place where they are translated.
//!
//! Owns the choice of SQLSTATE, text and hint. A position comes from DataFusion's diagnostic, and
//! counts in the text that was parsed. An error of ours that travelled through DataFusion comes
//! out as it went in.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};

use super::clause::wrong_clause;
use super::signature::{no_function, no_operator};
use super::value::value_error;
use super::{Culprit, Error, Position, SqlState};

/// A missing column is told with those that there are, if they are no more.
const COLUMNS_TOLD_MAX: usize = 12;

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        translate(&error)
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        arrow(&error)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// Translates an error of DataFusion: whose fault, which SQLSTATE, where in the statement.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the function of map_err"
)]
pub fn from_datafusion(error: DataFusionError) -> Error {
    translate(&error)
}

/// Translates an error of Arrow.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the function of map_err"
)]
pub fn from_arrow(error: ArrowError) -> Error {
    arrow(&error)
}

fn translate(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) => translate(inner),
        DataFusionError::Shared(inner) => translate(inner),
        DataFusionError::Collection(errors) => errors
            .first()
            .map_or_else(|| Error::internal("an error without a cause"), translate),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let position = diagnostic
                .span
                .filter(|span| span.start.line > 0)
                .map(|span| Position {
                    line: span.start.line,
                    column: span.start.column,
                });
            let translated = translate(inner);
            if translated.position().is_some() {
                translated
            } else {
                translated.at(position)
            }
        }
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => arrow(inner),
        DataFusionError::SchemaError(inner, _) => schema(inner),
        DataFusionError::SQL(inner, _) => {
            Error::user(SqlState::SyntaxError, polished(&inner.to_string()))
        }
        DataFusionError::Plan(text) => plan(text),
        DataFusionError::NotImplemented(text) => match text.strip_prefix("Unsupported SQL type ") {
            Some(name) => Error::user(
                SqlState::UndefinedObject,
                format!("type \"{}\" does not exist", name.to_lowercase()),
            ),
            None => worded(SqlState::FeatureNotSupported, text),
        },
        DataFusionError::Configuration(text) => worded(SqlState::InvalidParameterValue, text),
        DataFusionError::Execution(text) => {
            pattern(text).unwrap_or_else(|| worded(execution_state(text), text))
        }
        DataFusionError::ResourcesExhausted(text) => worded(SqlState::OutOfMemory, text),
        DataFusionError::IoError(inner) => {
            Error::external(SqlState::IoError, true, inner.to_string())
        }
        other => Error::internal(polished(&other.strip_backtrace())),
    }
}

fn external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return translate(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow(inner);
    }
    let text = error.to_string();
    pattern(&text).unwrap_or_else(|| Error::internal(text))
}

/// The error of a regular expression that is none.
fn pattern(text: &str) -> Option<Error> {
    let told = text.contains("regex parse error") || text.contains("did not compile");
    let reason = text.trim().lines().last().unwrap_or_default();
    let reason = reason.trim_start_matches("error:").trim();
    told.then(|| {
        let state = SqlState::InvalidRegularExpression;
        Error::user(state, format!("invalid regular expression: {reason}"))
    })
}

fn arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => external(inner.as_ref()),
        ArrowError::DivideByZero => Error::user(SqlState::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(text) => worded(SqlState::NumericValueOutOfRange, text),
        ArrowError::CastError(text) => {
            value_error(text).unwrap_or_else(|| worded(SqlState::InvalidTextRepresentation, text))
        }
        ArrowError::ParseError(text) => {
            value_error(text).unwrap_or_else(|| worded(SqlState::InvalidTextRepresentation, text))
        }
        ArrowError::InvalidArgumentError(text) | ArrowError::ComputeError(text) => {
            let told = value_error(text).or_else(|| pattern(text));
            told.unwrap_or_else(|| worded(execution_state(text), text))
        }
        ArrowError::NotYetImplemented(text) => worded(SqlState::FeatureNotSupported, text),
        other => Error::internal(other.to_string()),
    }
}

/// PostgreSQL's name of an Arrow type.
pub fn sql_name(arrow: &str) -> String {
    if let Some(element) = inside(arrow, "List").or_else(|| inside(arrow, "LargeList")) {
        return format!("{}[]", sql_name(element.trim_start_matches("non-null ")));
    }
    let name = match arrow {
        "Boolean" => "boolean",
        "Int8" | "Int16" | "UInt8" => "smallint",
        "Int32" | "UInt16" => "integer",
        "Int64" | "UInt32" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Binary" | "LargeBinary" | "BinaryView" => "bytea",
        "Date32" | "Date64" => "date",
        "Null" => "unknown",
        decimal if decimal.starts_with("Decimal") || decimal == "UInt64" => "numeric",
        zoned if zoned.starts_with("Timestamp") && zoned.contains('"') => {
            "timestamp with time zone"
        }
        timestamp if timestamp.starts_with("Timestamp") => "timestamp",
        interval if interval.starts_with("Interval") || interval.starts_with("Duration") => {
            "interval"
        }
        time if time.starts_with("Time") => "time",
        row if row.starts_with("Struct") => "record",
        other => other,
    };
    name.to_owned()
}

/// What stands in parentheses after `name`.
fn inside<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.strip_prefix(name)?
        .strip_prefix('(')?
        .strip_suffix(')')
}

fn execution_state(text: &str) -> SqlState {
    let lower = text.to_ascii_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        SqlState::DivisionByZero
    } else if lower.contains("overflow") || lower.contains("out of range") {
        SqlState::NumericValueOutOfRange
    } else if lower.contains("parsing") || lower.contains("parse") || lower.contains("cast") {
        SqlState::InvalidTextRepresentation
    } else {
        SqlState::DataException
    }
}

fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let message = match &field.relation {
                Some(relation) => {
                    format!("column {}.{} does not exist", relation.table(), field.name)
                }
                None => format!("column \"{}\" does not exist", field.name),
            };
            let error = Error::user(SqlState::UndefinedColumn, message).at(column_position(field));
            let names: Vec<&str> = valid_fields
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            match nearest(&field.name, &names) {
                Some(near) => error.hint(format!("Perhaps you meant the column \"{near}\".")),
                None if ["window_start", "window_end", "window_time"].contains(&&*field.name) => {
                    error.hint("Windows have it: FROM TUMBLE(t, time_column, INTERVAL '1 minute').")
                }
                None if (1..=COLUMNS_TOLD_MAX).contains(&names.len()) => {
                    error.hint(format!("The columns here are {}.", names.join(", ")))
                }
                None => error,
            }
        }
        SchemaError::AmbiguousReference { field } => Error::user(
            SqlState::AmbiguousColumn,
            format!("column reference \"{}\" is ambiguous", field.name),
        )
        .hint(format!("Say whose it is, such as a.{}.", field.name))
        .at(column_position(field)),
        SchemaError::DuplicateQualifiedField { qualifier, .. } => Error::user(
            SqlState::DuplicateAlias,
            format!(
                "table name \"{}\" specified more than once",
                qualifier.table()
            ),
        )
        .hint("Give each of them an alias: FROM t AS a JOIN t AS b ON ..")
        .about(Culprit::Join),
        SchemaError::DuplicateUnqualifiedField { name } => Error::user(
            SqlState::DuplicateColumn,
            format!("column \"{name}\" specified more than once"),
        )
        .hint("Give each of them a name of its own with AS."),
    }
}

fn column_position(column: &Column) -> Option<Position> {
    let span = column.spans.first()?;
    (span.start.line > 0).then_some(Position {
        line: span.start.line,
        column: span.start.column,
    })
}

/// The name most like `wanted`, if any is like it.
pub fn nearest<'a>(wanted: &str, names: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(wanted, name);
    let best = names.iter().copied().min_by_key(|name| distance(name))?;
    (distance(best) <= (wanted.len() / 3).max(1)).then_some(best)
}

fn plan(text: &str) -> Error {
    if let Some(name) = quoted(text, "table function '") {
        return Error::user(
            SqlState::UndefinedFunction,
            format!("function {name} does not exist"),
        );
    }
    if let Some(error) = no_function(text) {
        return error;
    }
    if let Some((_, reason)) = text.split_once("user-defined coercion failed with: ") {
        let reason = reason.trim_start_matches("Error during planning: ");
        let reason = reason.split(". No function matches").next();
        let reason = reason.and_then(|reason| reason.lines().next());
        let error = worded(SqlState::UndefinedFunction, reason.unwrap_or(text));
        return match quoted(text, "Function '") {
            Some(name) => error.about(Culprit::Function(name.to_owned())),
            None => error,
        };
    }
    if let Some(error) = no_operator(text).or_else(|| wrong_clause(text)) {
        return error;
    }
    if let Some(name) = quoted(text, "table '").filter(|_| text.contains("not found")) {
        let short = name.rsplit('.').next().unwrap_or(name);
        return Error::user(
            SqlState::UndefinedTable,
            format!("relation \"{short}\" does not exist"),
        )
        .hint("SHOW TABLES, SHOW VIEWS and SHOW MATERIALIZED VIEWS list what there is.");
    }
    if let Some(name) = quoted(text, "Invalid function '") {
        let error = Error::user(
            SqlState::UndefinedFunction,
            format!("function {name} does not exist"),
        );
        return match quoted(text, "Did you mean '").and_then(|near| nearest(name, &[near])) {
            Some(near) => error.hint(format!("Perhaps you meant {near}.")),
            None => error,
        };
    }
    if let Some((_, rest)) = text.split_once("column \"")
        && let Some((name, _)) = rest.split_once("\" must appear in the GROUP BY")
    {
        return Error::user(
            SqlState::GroupingError,
            format!(
                "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
            ),
        );
    }
    worded(plan_state(text), text)
}

fn plan_state(text: &str) -> SqlState {
    let has = |part: &str| text.contains(part);
    if has("No function matches") || has("Failed to coerce arguments") || has("does not support") {
        SqlState::UndefinedFunction
    } else if has("Cannot coerce") || has("Cannot infer common argument type") {
        SqlState::DatatypeMismatch
    } else if has("must be in GROUP BY") || has("must appear in the GROUP BY") {
        SqlState::GroupingError
    } else if has("Unsupported") || has("not supported") || has("not implemented") {
        SqlState::FeatureNotSupported
    } else if has("Ambiguous") {
        SqlState::AmbiguousColumn
    } else {
        SqlState::SyntaxErrorOrAccessRuleViolation
    }
}

/// What stands in single quotes after `prefix`.
pub(super) fn quoted<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(prefix)?;
    rest.split_once('\'').map(|(name, _)| name)
}

/// The first line as the message, what follows as the detail.
pub(super) fn worded(state: SqlState, text: &str) -> Error {
    let (first, rest) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
    let error = Error::user(state, polished(first));
    if rest.trim().is_empty() {
        error
    } else {
        error.detail(rest.trim())
    }
}

/// PostgreSQL's rules for a message: lower case at its start, no full stop at its end.
fn polished(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::{Diagnostic, Location, Span};

    use super::*;

    fn check(error: &DataFusionError, code: &str, message: &str) -> Error {
        let error = translate(error);
        assert_eq!((error.state().code(), error.message()), (code, message));
        error
    }

    #[test]
    fn errors_get_the_code_and_the_words_that_drivers_expect() {
        let plan = |text: &str| DataFusionError::Plan(text.to_owned());
        let arrow = |error| DataFusionError::ArrowError(Box::new(error), None);
        let cast = "Cannot cast string 'a' to value of Int32 type".to_owned();
        let cases = [
            (
                plan("table 'headwater.public.tradez' not found"),
                "42P01",
                "relation \"tradez\" does not exist",
            ),
            (
                plan("table function 'nope' not found"),
                "42883",
                "function nope does not exist",
            ),
            (
                DataFusionError::NotImplemented("This feature.".into()),
                "0A000",
                "this feature",
            ),
            (
                arrow(ArrowError::CastError(cast)),
                "22P02",
                "invalid input syntax for type integer: \"a\"",
            ),
            (arrow(ArrowError::DivideByZero), "22012", "division by zero"),
            (
                plan("Cannot coerce arithmetic expression Utf8View + Int32 to valid types"),
                "42883",
                "operator does not exist: text + integer",
            ),
            (
                plan(
                    "Column in SELECT must be in GROUP BY or an aggregate function: While expanding \
                     wildcard, column \"c.who\" must appear in the GROUP BY clause or must be part of \
                     an aggregate function",
                ),
                "42803",
                "column \"c.who\" must appear in the GROUP BY clause or be used in an aggregate function",
            ),
        ];
        for (error, code, message) in &cases {
            check(error, code, message);
        }
        let near = plan("Invalid function 'summ'.\nDid you mean 'sum'?");
        let error = check(&near, "42883", "function summ does not exist");
        assert_eq!(error.hint_text(), Some("Perhaps you meant sum."));
        let far = plan("Invalid function 'frobnicate'.\nDid you mean 'cot'?");
        assert_eq!(
            check(&far, "42883", "function frobnicate does not exist").hint_text(),
            None
        );
    }

    #[test]
    fn a_missing_column_names_the_nearest_one_and_keeps_its_place() {
        let missing = DataFusionError::SchemaError(
            Box::new(SchemaError::FieldNotFound {
                field: Box::new(Column::from_name("prise")),
                valid_fields: vec![
                    Column::new(Some("trades"), "price"),
                    Column::from_name("id"),
                ],
            }),
            Box::new(None),
        );
        let span = Span::new(
            Location { line: 2, column: 8 },
            Location {
                line: 2,
                column: 13,
            },
        );
        let diagnostic = Diagnostic::new_error("column", Some(span));
        let wrapped = DataFusionError::Diagnostic(Box::new(diagnostic), Box::new(missing));
        let error = check(&wrapped, "42703", "column \"prise\" does not exist");
        assert_eq!(error.position(), Some(Position { line: 2, column: 8 }));
        assert_eq!(
            error.hint_text(),
            Some("Perhaps you meant the column \"price\"."),
        );
    }

    #[test]
    fn an_error_of_ours_passes_through_unchanged() {
        let ours =
            Error::user(SqlState::WindowingError, "window of zero length").hint("Make it longer.");
        let inner = DataFusionError::from(ours);
        let error = check(
            &inner.context("in a plan"),
            "42P20",
            "window of zero length",
        );
        assert_eq!(error.hint_text(), Some("Make it longer."));
    }
}
