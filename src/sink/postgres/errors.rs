//! What the database's errors mean: whether to try again, and what to do.

use std::error::Error as _;

use crate::error::{Culprit, Error, SqlState};

/// The error of something that the database refused, or did not answer.
pub(super) fn told(what: &str, error: &postgres::Error) -> Error {
    match error.as_db_error() {
        Some(refused) => refusal(what, refused),
        None => lost(what, error),
    }
}

/// The same where the client hands it on as an error of writing.
pub(super) fn told_writing(what: &str, error: &std::io::Error) -> Error {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<postgres::Error>()) {
        Some(error) => told(what, error),
        None => Error::external(
            SqlState::ConnectionFailure,
            true,
            format!("{what}: {error}"),
        ),
    }
}

/// No answer of the database: the connection is lost, or there never was one.
fn lost(what: &str, error: &postgres::Error) -> Error {
    let cause = error.source().map(ToString::to_string);
    let text = match cause {
        Some(cause) => format!("{what}: {error}: {cause}"),
        None => format!("{what}: {error}"),
    };
    // The client says so when a password is wanted and none was given; it has no type for it.
    if text.contains("password missing") {
        let error = Error::external(SqlState::InvalidAuthorizationSpecification, false, text);
        return error.hint("Give the user's password in the option password.");
    }
    if text.contains("does not support TLS") || text.contains("certificate") {
        let error = Error::external(SqlState::ConnectionUnable, false, text);
        return error.hint("Look at the options sslmode and sslrootcert.");
    }
    Error::external(SqlState::ConnectionFailure, true, text)
}

fn refusal(what: &str, refused: &postgres::error::DbError) -> Error {
    let code = refused.code().code();
    let (state, retry, hint) = meaning(code);
    let text = format!("{what}: {}", refused.message());
    let error = Error::external(state, retry, text);
    let error = match is_of_row(code) {
        true => error.about(Culprit::Row),
        false => error,
    };
    let error = match refused.detail() {
        Some(detail) => error.detail(detail),
        None => error,
    };
    match hint.or(refused.hint()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Whether a row is refused for what it holds: its values, a constraint, a limit, or what a trigger raises.
fn is_of_row(code: &str) -> bool {
    let classes = ["22", "23", "44", "54", "P0"];
    classes.iter().any(|class| code.starts_with(class))
}

/// What a SQLSTATE is here, whether trying again may help, and what to do.
fn meaning(code: &str) -> (SqlState, bool, Option<&'static str>) {
    let hint = match code {
        "28P01" | "28000" => "Look at the options user and password.",
        "3D000" => "Create the database, or name another one in the option database.",
        "42501" => "Grant the sink's user what it needs, or create the tables for it.",
        "42P10" => "Give the table a PRIMARY KEY or a UNIQUE index on exactly the key columns.",
        "23505" => {
            "Rows that only add cannot repeat a key of the table. Use mode = 'upsert' with key_columns, \
             or drop the table's key."
        }
        _ => "",
    };
    let hint = Some(hint).filter(|hint| !hint.is_empty());
    let state = match code {
        "28P01" | "28000" => SqlState::InvalidAuthorizationSpecification,
        "3D000" => SqlState::UndefinedDatabase,
        "3F000" => SqlState::UndefinedSchema,
        "42501" => SqlState::InsufficientPrivilege,
        "42P01" => SqlState::UndefinedTable,
        "42703" => SqlState::UndefinedColumn,
        "42804" => SqlState::DatatypeMismatch,
        "42809" => SqlState::WrongObjectType,
        "42P10" => SqlState::InvalidColumnReference,
        "22P02" => SqlState::InvalidTextRepresentation,
        "22003" => SqlState::NumericValueOutOfRange,
        "22021" | "22P05" => SqlState::CharacterNotInRepertoire,
        "23502" => SqlState::NotNullViolation,
        "23505" => SqlState::UniqueViolation,
        "53100" => SqlState::DiskFull,
        "53200" => SqlState::OutOfMemory,
        "53300" => SqlState::TooManyConnections,
        "57P01" | "57P02" | "57P03" => SqlState::AdminShutdown,
        "57014" | "55P03" | "40001" | "40P01" => SqlState::ObjectInUse,
        _ if code.starts_with("08") => SqlState::ConnectionFailure,
        _ => SqlState::DataException,
    };
    // The connection, resources, whoever stopped the server, locks and conflicts pass.
    let passes = ["08", "53", "57", "58", "40"];
    let retry = code == "55P03" || passes.iter().any(|class| code.starts_with(class));
    (state, retry, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_the_rest_is_not() {
        for code in ["08006", "53300", "57P01", "57014", "55P03", "40P01"] {
            assert!(meaning(code).1, "{code}");
        }
        for code in [
            "28P01", "3D000", "42501", "42804", "22P02", "23505", "23514",
        ] {
            assert!(!meaning(code).1, "{code}");
        }
        assert_eq!(meaning("23505").0, SqlState::UniqueViolation);
    }

    #[test]
    fn a_row_is_refused_for_what_it_holds_and_not_for_the_state_of_the_database() {
        for code in ["22P02", "23502", "23505", "23514", "54000", "P0001"] {
            assert!(is_of_row(code), "{code}");
        }
        for code in ["08006", "25006", "28P01", "42501", "42P01", "53100"] {
            assert!(!is_of_row(code), "{code}");
        }
    }
}
