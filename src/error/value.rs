//! A text or a number that is no value of a type, in PostgreSQL's words.

use super::translate::{quoted, sql_name};
use super::{Culprit, Error, SqlState};

/// Reads Arrow's text about such a value; `None` for any other text.
pub(super) fn value_error(text: &str) -> Option<Error> {
    no_timestamp(text)
        .or_else(|| no_interval(text))
        .or_else(|| no_cast(text))
        .or_else(|| too_large(text))
}

/// `Error parsing timestamp from 'a': error parsing date`.
fn no_timestamp(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once("Error parsing timestamp from '")?;
    let (value, _) = rest.rsplit_once("': ")?;
    Some(no_value("timestamp", value))
}

/// `Invalid input syntax for type interval: "a"`.
fn no_interval(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once("Invalid input syntax for type interval: \"")?;
    let (value, _) = rest.rsplit_once('"')?;
    Some(no_value("interval", value).hint("Write it as '1 hour 30 minutes' or '01:30:00'."))
}

/// `Cannot cast string 'a' to value of Int32 type`, `Cannot cast value 'a' to value of Boolean type`.
fn no_cast(text: &str) -> Option<Error> {
    let value = quoted(text, "string '").or_else(|| quoted(text, "Cannot cast value '"))?;
    let (_, kind) = text
        .rsplit_once(" of ")
        .or_else(|| text.rsplit_once(" to "))?;
    let kind = kind
        .trim_start_matches("value of ")
        .trim_end_matches(" type");
    Some(no_value(&sql_name(kind), value))
}

fn no_value(kind: &str, value: &str) -> Error {
    let error = match kind {
        "timestamp" | "timestamp with time zone" | "date" => no_time(kind, value),
        "smallint" | "integer" | "bigint" if is_whole(value) => Error::user(
            SqlState::NumericValueOutOfRange,
            format!("value \"{value}\" is out of range for type {kind}"),
        ),
        "numeric" => no_numeric(value),
        "time" | "interval" => invalid(SqlState::InvalidDatetimeFormat, kind, value),
        _ => invalid(SqlState::InvalidTextRepresentation, kind, value),
    };
    error.about(Culprit::Text(value.to_owned()))
}

fn no_time(kind: &str, value: &str) -> Error {
    let word = value.trim().to_ascii_lowercase();
    if ["infinity", "-infinity", "+infinity"].contains(&word.as_str()) {
        return Error::user(
            SqlState::FeatureNotSupported,
            format!("{kind} \"{value}\" is not supported"),
        )
        .hint("Leave the condition out, or take a far time such as '9999-12-31 23:59:59'.");
    }
    if word.ends_with(" bc") {
        return Error::user(
            SqlState::FeatureNotSupported,
            format!("{kind} \"{value}\" is not supported: it lies before the year 1"),
        )
        .hint("Take a time from '0001-01-01' on.");
    }
    let error = invalid(SqlState::InvalidDatetimeFormat, kind, value);
    if is_length(value) {
        return error.hint(format!("A length of time is INTERVAL '{value}'."));
    }
    error.hint("Write it as '2026-01-31', '2026-01-31 12:00:00' or '2026-01-31T12:00:00Z'.")
}

/// True for what looks like `1 hour`.
fn is_length(value: &str) -> bool {
    let mut words = value.split_ascii_whitespace();
    let number = words.next().is_some_and(|word| word.parse::<f64>().is_ok());
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphabetic());
    number && words.next().is_some_and(is_word) && words.next().is_none()
}

fn no_numeric(value: &str) -> Error {
    match value.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => overflow(),
        Ok(_) => Error::user(
            SqlState::FeatureNotSupported,
            format!("numeric \"{value}\" is not supported"),
        )
        .hint("The type double precision has NaN and infinities."),
        Err(_) => invalid(SqlState::InvalidTextRepresentation, "numeric", value),
    }
}

/// `12345.0 is too large to store in a Decimal128 of precision 3. Max is 99.9`.
fn too_large(text: &str) -> Option<Error> {
    let (value, rest) = text
        .split_once(" is too large to store in a Decimal")
        .or_else(|| text.split_once(" is too small to store in a Decimal"))?;
    let (_, rest) = rest.split_once(" of precision ")?;
    let (precision, bound) = rest.split_once(". M")?;
    let (_, bound) = bound.rsplit_once(" is ")?;
    let value = value.rsplit(' ').next().unwrap_or(value);
    Some(overflow().detail(format!(
        "A numeric of {precision} digits here goes to {bound}, and the value is {value}."
    )))
}

fn overflow() -> Error {
    Error::user(SqlState::NumericValueOutOfRange, "numeric field overflow")
        .hint("Take a type with more digits before the point, such as numeric(38, 10).")
}

fn invalid(state: SqlState, kind: &str, value: &str) -> Error {
    Error::user(
        state,
        format!("invalid input syntax for type {kind}: \"{value}\""),
    )
}

fn is_whole(value: &str) -> bool {
    let digits = value.trim().trim_start_matches(['-', '+']);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &str, message: &str) {
        let error = value_error(text).expect("the text is about a value");
        assert_eq!((error.state().code(), error.message()), (code, message));
    }

    #[test]
    fn a_value_out_of_range_is_told_apart_from_no_value() {
        let cast = |value: &str, kind: &str| {
            format!("Cannot cast string '{value}' to value of {kind} type")
        };
        check(
            &cast("99999999999", "Int32"),
            "22003",
            "value \"99999999999\" is out of range for type integer",
        );
        check(
            &cast("1.5", "Int32"),
            "22P02",
            "invalid input syntax for type integer: \"1.5\"",
        );
        check(
            &cast("1e40", "Decimal128(38, 10)"),
            "22003",
            "numeric field overflow",
        );
        check(
            "12345.0 is too large to store in a Decimal128 of precision 3. Max is 99.9",
            "22003",
            "numeric field overflow",
        );
        check(
            "Parser error: Invalid input syntax for type interval: \"an hour\"",
            "22007",
            "invalid input syntax for type interval: \"an hour\"",
        );
        check(
            "Cannot cast value 'x' to value of Boolean type",
            "22P02",
            "invalid input syntax for type boolean: \"x\"",
        );
        check(
            "Error parsing timestamp from 'noon': too short",
            "22007",
            "invalid input syntax for type timestamp: \"noon\"",
        );
    }
}
