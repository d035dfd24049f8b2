//! Errors as people read them on a terminal: what, where with a caret, and what to do.

use std::io::Write;

use crate::error::{Error, Position};

/// Prints an error to standard error.
pub(super) fn error(error: &Error) {
    write(&render(error));
}

/// Prints an error of a statement in a file.
pub(super) fn error_in(error: &Error, file: &str, text: &str) {
    write(&render_in(error, file, text));
}

/// Prints a message that is not an error.
pub(super) fn notice(notice: &Error) {
    let mut out = format!("notice: {}\n", notice.message());
    push_rest(&mut out, notice);
    write(&out);
}

fn write(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn render(error: &Error) -> String {
    let mut out = format!("error: {}\n", error.message());
    push_rest(&mut out, error);
    out
}

fn render_in(error: &Error, file: &str, text: &str) -> String {
    let mut out = format!("error: {} ({})\n", error.message(), error.state().code());
    if let Some(position) = error.position() {
        push_place(&mut out, position, file, text);
    }
    push_rest(&mut out, error);
    out
}

/// The file, the line, and a caret under the place.
fn push_place(out: &mut String, position: Position, file: &str, text: &str) {
    let Position { line, column } = position;
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    out.push_str(&format!("{margin}--> {file}:{line}:{column}\n"));
    let nth = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(source) = text.lines().nth(nth) else {
        return;
    };
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    // Tabs stay tabs, so that the caret stands where the eye looks for it.
    let pad: String = source
        .chars()
        .take(before)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    out.push_str(&format!(
        "{margin} |\n{number} | {source}\n{margin} | {pad}^\n"
    ));
}

fn push_rest(out: &mut String, error: &Error) {
    if let Some(detail) = error.detail_text() {
        out.push_str(&format!("detail: {detail}\n"));
    }
    if let Some(hint) = error.hint_text() {
        out.push_str(&format!("hint: {hint}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::{render, render_in};
    use crate::error::{Error, Position, SqlState};

    #[test]
    fn an_error_shows_its_place_and_what_to_do() {
        let error = Error::user(SqlState::UndefinedColumn, "column \"prise\" does not exist")
            .hint("Did you mean \"price\"?")
            .at(Some(Position { line: 2, column: 9 }));
        assert_eq!(
            render_in(
                &error,
                "q.sql",
                "-- a comment\n\tSELECT prise FROM trades;\n"
            ),
            "error: column \"prise\" does not exist (42703)\n \
             --> q.sql:2:9\n  \
             |\n\
             2 | \tSELECT prise FROM trades;\n  \
             | \t       ^\n\
             hint: Did you mean \"price\"?\n"
        );
    }

    #[test]
    fn a_place_after_the_end_shows_no_line() {
        let error = Error::user(SqlState::SyntaxError, "unexpected end")
            .at(Some(Position { line: 9, column: 1 }));
        assert_eq!(
            render_in(&error, "q.sql", "SELECT\n"),
            "error: unexpected end (42601)\n --> q.sql:9:1\n"
        );
    }

    #[test]
    fn details_are_shown_before_hints() {
        let error = Error::internal("m").hint("H.").detail("D.");
        assert_eq!(render(&error), "error: m\ndetail: D.\nhint: H.\n");
    }
}
