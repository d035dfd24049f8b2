//! DataFusion's and Arrow's errors in our terms: the one place that reads them.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use super::{Error, Position, SqlState};

/// Translates an error of DataFusion: whose fault, which SQLSTATE, where in the statement.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the function of map_err"
)]
pub fn from_datafusion(error: DataFusionError) -> Error {
    let position = error
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .map(|span| Position {
            line: span.start.line,
            column: span.start.column,
        });
    let root = error.find_root();
    if let DataFusionError::External(inner) = root
        && let Some(ours) = inner.downcast_ref::<Error>()
    {
        return ours.clone().at(position);
    }
    let translated = match root {
        DataFusionError::ArrowError(inner, _) => return arrow_error(inner).at(position),
        DataFusionError::SQL(inner, _) => Error::user(SqlState::SyntaxError, inner.to_string()),
        DataFusionError::SchemaError(inner, _) => schema_error(inner),
        DataFusionError::NotImplemented(text) => Error::user(SqlState::FeatureNotSupported, text),
        DataFusionError::ResourcesExhausted(text) => Error::user(SqlState::OutOfMemory, text),
        DataFusionError::Plan(text) => plan_error(text),
        DataFusionError::Configuration(text) => Error::user(SqlState::InvalidParameterValue, text),
        DataFusionError::Execution(text) => Error::user(SqlState::DataException, text),
        other => Error::internal(other.strip_backtrace()),
    };
    translated.at(position)
}

/// Translates an error of Arrow.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the function of map_err"
)]
pub fn from_arrow(error: ArrowError) -> Error {
    arrow_error(&error)
}

fn arrow_error(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::user(SqlState::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(text) => {
            Error::user(SqlState::NumericValueOutOfRange, text.to_lowercase())
        }
        ArrowError::CastError(text) | ArrowError::ParseError(text) => {
            Error::user(SqlState::InvalidTextRepresentation, text)
        }
        ArrowError::ComputeError(text) | ArrowError::InvalidArgumentError(text) => {
            Error::user(SqlState::DataException, text)
        }
        ArrowError::NotYetImplemented(text) => Error::user(SqlState::FeatureNotSupported, text),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => ours.clone(),
            None => Error::internal(inner.to_string()),
        },
        other => Error::internal(other.to_string()),
    }
}

fn schema_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let error = Error::user(
                SqlState::UndefinedColumn,
                format!("column \"{}\" does not exist", field.flat_name()),
            );
            let names: Vec<&str> = valid_fields.iter().map(|c| c.name()).collect();
            match nearest(field.name(), &names) {
                Some(name) => error.hint(format!("Perhaps you meant the column \"{name}\".")),
                None => error,
            }
        }
        SchemaError::AmbiguousReference { field } => Error::user(
            SqlState::AmbiguousColumn,
            format!("column reference \"{}\" is ambiguous", field.flat_name()),
        ),
        SchemaError::DuplicateUnqualifiedField { name } => Error::user(
            SqlState::DuplicateColumn,
            format!("column \"{name}\" specified more than once"),
        ),
        other => Error::user(SqlState::DuplicateColumn, other.to_string()),
    }
}

fn plan_error(text: &str) -> Error {
    let lower = text.to_lowercase();
    if lower.contains("table") && lower.contains("not found") {
        let name = text
            .split('\'')
            .nth(1)
            .map_or(text, |full| full.rsplit('.').next().unwrap_or(full));
        return Error::user(
            SqlState::UndefinedTable,
            format!("relation \"{name}\" does not exist"),
        )
        .hint("SHOW TABLES, SHOW VIEWS and SHOW MATERIALIZED VIEWS list what there is.");
    }
    let state = if lower.contains("invalid function") {
        SqlState::UndefinedFunction
    } else if lower.contains("must appear in the group by") || lower.contains("aggregat") {
        SqlState::GroupingError
    } else if lower.contains("coerc") || lower.contains("cannot infer common") {
        SqlState::DatatypeMismatch
    } else {
        SqlState::SyntaxError
    };
    Error::user(state, text)
}

/// The name most like `wanted`, if any is like it.
pub fn nearest<'a>(wanted: &str, names: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(wanted, name);
    let best = names.iter().copied().min_by_key(|name| distance(name))?;
    (distance(best) <= (wanted.len() / 3).max(1)).then_some(best)
}
