//! A call that no function takes, and an operator between types that it does not have, in
//! PostgreSQL's words: `function sum(text) does not exist`.

use super::translate::sql_name;
use super::{Culprit, Error, SqlState};

/// Reads DataFusion's text about such a call; `None` for any other text.
pub(super) fn no_function(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once("name and argument types '")?;
    let (call, rest) = rest.split_once("'. You might need")?;
    let (name, types) = call.strip_suffix(')')?.split_once('(')?;
    let types: Vec<String> = parts(types).into_iter().map(sql_name).collect();
    let error = Error::user(
        SqlState::UndefinedFunction,
        format!("function {name}({}) does not exist", types.join(", ")),
    );
    let hint = match reason(text) {
        Some(reason) => reason,
        None => takes(name, rest),
    };
    Some(error.hint(hint).about(Culprit::Function(name.to_owned())))
}

/// Reads DataFusion's text about an operator between such types; `None` for any other text.
pub(super) fn no_operator(text: &str) -> Option<Error> {
    let sides = match text.split_once("Cannot infer common argument type for ") {
        Some((_, rest)) => rest.split_once(" operation ")?.1,
        None => {
            let (_, rest) = text.split_once("Cannot coerce arithmetic expression ")?;
            rest.strip_suffix(" to valid types")?
        }
    };
    let (left, operator, right) = operands(sides)?;
    let error = Error::user(
        SqlState::UndefinedFunction,
        format!(
            "operator does not exist: {} {operator} {}",
            sql_name(left),
            sql_name(right)
        ),
    );
    Some(error.hint("Give one side the other's type with a cast: (..)::type."))
}

/// `Int32 = Timestamp(µs, "+00:00")`: a type, an operator, a type. A type has blanks only inside
/// parentheses.
fn operands(text: &str) -> Option<(&str, &str, &str)> {
    let mut depth = 0_usize;
    let mut blanks = text.char_indices().filter_map(|(at, letter)| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (letter == ' ' && depth == 0).then_some(at)
    });
    let first = blanks.next()?;
    let last = blanks.last()?;
    Some((
        &text[..first],
        text[first..last].trim(),
        text[last..].trim(),
    ))
}

/// What a function of ours says itself about its arguments.
fn reason(text: &str) -> Option<String> {
    let (_, reason) = text.split_once("user-defined coercion failed with: ")?;
    let reason = reason
        .split(". No function matches")
        .next()?
        .lines()
        .next()?;
    let reason = reason.trim_start_matches("Error during planning: ");
    reason
        .starts_with("Write ")
        .then(|| format!("{}.", reason.trim_end_matches('.')))
}

/// What the function takes, of all its forms.
fn takes(name: &str, rest: &str) -> String {
    let mut forms: Vec<String> = Vec::new();
    for line in rest.lines().map(str::trim) {
        let Some(types) = line.strip_prefix(name).and_then(|l| l.strip_prefix('(')) else {
            continue;
        };
        let types = types.strip_suffix(')').unwrap_or(types);
        let types: Option<Vec<String>> = parts(types).into_iter().map(class).collect();
        let Some(types) = types else { continue };
        let form = format!("{name}({})", types.join(", "));
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    match forms.as_slice() {
        [] => format!("Look at the number and the types of the arguments of {name}."),
        [form] => format!("There is {form}. A cast gives an argument another type: (..)::type."),
        forms => format!(
            "There are {}. A cast gives an argument another type: (..)::type.",
            forms.join(", ")
        ),
    }
}

/// A class of types as DataFusion's signatures name them; `None` for one that SQL has no name for.
fn class(of: &str) -> Option<String> {
    let of = of.rsplit(": ").next().unwrap_or(of);
    let name = match of {
        "Decimal" => "numeric",
        "Integer" | "Int64" => "bigint",
        "Float" | "Float64" => "double precision",
        "String" => "text",
        "Timestamp" => "timestamp",
        "Time" => "time",
        "Date" => "date",
        "Interval" => "interval",
        "Binary" => "bytea",
        "Any" => "any",
        numeric if numeric.starts_with("Numeric") => "number",
        "UInt64" | "UInt32" | "Duration" | "Null" | "UserDefined" => return None,
        other => return Some(sql_name(other)),
    };
    Some(name.to_owned())
}

/// What stands between the commas that are in no parentheses.
fn parts(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(list[start..].trim());
    found.retain(|part| !part.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, message: &str, hint: &str) {
        let error = no_function(text).expect("the text is about a call");
        assert_eq!(error.message(), message);
        assert_eq!(error.hint_text(), Some(hint));
    }

    #[test]
    fn a_call_that_no_function_takes_is_told_as_postgresql_does() {
        check(
            "Internal error: Function 'sum' failed to match any signature. No function matches the \
             given name and argument types 'sum(Decimal128(10, 2), Timestamp(\u{b5}s, \"+00:00\"))'. You \
             might need to add explicit type casts.\n\tCandidate functions:\n\tsum(Decimal)\n\t\
             sum(UInt64)\n\tsum(Int64)",
            "function sum(numeric, timestamp with time zone) does not exist",
            "There are sum(numeric), sum(bigint). A cast gives an argument another type: (..)::type.",
        );
        check(
            "Execution error: Function 'vwap' user-defined coercion failed with: Error during \
             planning: Write vwap(price, volume) with two numbers. No function matches the given \
             name and argument types 'vwap(Utf8View)'. You might need to add explicit type casts.",
            "function vwap(text) does not exist",
            "Write vwap(price, volume) with two numbers.",
        );
    }
}
