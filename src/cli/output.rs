//! Standard output: whole lines, flushed, and an error when nobody reads them any more.

use std::io::{ErrorKind, Write};

use crate::error::{Error, Result, SqlState};

/// What is said of a closed pipe.
const READER_GONE: &str = "nobody reads the output any more";

/// True for the error of a closed pipe, as `head` leaves behind: nobody is left to be told.
pub(super) fn reader_is_gone(error: &Error) -> bool {
    error.message() == READER_GONE
}

/// Prints a line.
///
/// # Errors
/// When standard output cannot be written, for example because the reader has gone.
pub(super) fn line(text: &str) -> Result<()> {
    self::text(&format!("{text}\n"))
}

/// Prints text that has its line ends.
///
/// # Errors
/// When standard output cannot be written, for example because the reader has gone.
pub(super) fn text(whole_lines: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(whole_lines.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| {
            let what = if error.kind() == ErrorKind::BrokenPipe {
                READER_GONE.to_owned()
            } else {
                format!("could not write the output: {error}")
            };
            Error::external(SqlState::IoError, false, what)
        })
}
