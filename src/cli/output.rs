//! Standard output: whole lines, flushed, and an error when nobody reads them any more.

use std::io::{ErrorKind, Write};

use crate::error::{Error, Result, SqlState};

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
                "nobody reads the output any more".to_owned()
            } else {
                format!("could not write the output: {error}")
            };
            Error::external(SqlState::IoError, false, what)
        })
}
