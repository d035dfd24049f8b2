//! A clause whose argument has the wrong type or value, in PostgreSQL's words.

use super::translate::{quoted, sql_name};
use super::{Culprit, Error, SqlState};

/// Reads DataFusion's text about such a clause; `None` for any other text.
pub(super) fn wrong_clause(text: &str) -> Option<Error> {
    not_boolean(text)
        .or_else(|| not_a_count(text))
        .or_else(|| negative_count(text))
}

/// `Cannot create filter with non-boolean predicate 'n' returning Int32`.
fn not_boolean(text: &str) -> Option<Error> {
    if let Some((_, rest)) = text.split_once("filter with non-boolean predicate ") {
        let (_, given) = rest.rsplit_once(" returning ")?;
        let error = wrong_type("WHERE", "boolean", given);
        return Some(
            error
                .hint("Compare it with something, such as x <> 0.")
                .about(Culprit::Where),
        );
    }
    let (_, given) = text.split_once("operator 'NOT' requires a boolean expression, got ")?;
    let error = wrong_type("NOT", "boolean", given);
    Some(error.hint("Compare it with something, such as NOT x = 0."))
}

/// `Expected LIMIT to be an integer or null, but got Utf8`.
fn not_a_count(text: &str) -> Option<Error> {
    let (what, given) = text.split_once(" to be an integer or null, but got ")?;
    let what = what.rsplit(' ').next()?;
    let error = wrong_type(what, "bigint", given);
    Some(
        error
            .hint("Write a number of rows, such as 10.")
            .about(count(what)),
    )
}

/// `LIMIT must be >= 0, '-1' was provided`.
fn negative_count(text: &str) -> Option<Error> {
    let (what, _) = text
        .split_once(" must be >= 0, ")
        .or_else(|| text.split_once(" must be >=0, "))?;
    let what = what.rsplit(' ').next()?;
    let given = quoted(text, "0, '")?;
    Some(
        Error::user(
            SqlState::InvalidParameterValue,
            format!("{what} must not be negative, and {given} is"),
        )
        .hint("Write a number of rows, or leave it out for all of them.")
        .about(count(what)),
    )
}

fn count(what: &str) -> Culprit {
    match what {
        "LIMIT" => Culprit::Limit,
        _ => Culprit::Offset,
    }
}

fn wrong_type(what: &str, wanted: &str, given: &str) -> Error {
    let given = sql_name(given.trim());
    Error::user(
        SqlState::DatatypeMismatch,
        format!("argument of {what} must be type {wanted}, not type {given}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &str, message: &str) {
        let error = wrong_clause(text).expect("the text is about a clause");
        assert_eq!((error.state().code(), error.message()), (code, message));
        assert!(error.hint_text().is_some(), "{text}");
    }

    #[test]
    fn a_clause_says_which_type_or_value_it_takes() {
        check(
            "Cannot create filter with non-boolean predicate 't.n' returning Int32",
            "42804",
            "argument of WHERE must be type boolean, not type integer",
        );
        check(
            "Expected LIMIT to be an integer or null, but got Utf8",
            "42804",
            "argument of LIMIT must be type bigint, not type text",
        );
        check(
            "OFFSET must be >=0, '-2' was provided",
            "22023",
            "OFFSET must not be negative, and -2 is",
        );
    }
}
