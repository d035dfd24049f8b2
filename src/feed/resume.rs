//! The file that remembers how far a feed came.
//!
//! It is written after the broker has confirmed the messages: after a crash some come again, none is
//! left out. Invariant: the file on disk is whole at every moment: it is written beside, synced, and
//! renamed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::position::Position;
use crate::error::{Error, Result, SqlState};

/// Remembers the position of one feed.
#[derive(Debug, Clone)]
pub(super) struct Resume {
    path: PathBuf,
    feed: String,
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    /// From where to where: a file is not taken for another feed's.
    feed: String,
    position: Position,
}

impl Resume {
    /// Reads how far this feed came; `None` when the file is not there yet.
    ///
    /// # Errors
    /// When the file cannot be read, is no such file, or is another feed's.
    pub(super) fn open(path: PathBuf, feed: String) -> Result<(Self, Option<Position>)> {
        let position = match fs::read(&path) {
            Ok(text) => Some(position_in(&path, &text, &feed)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io(&path, &error)),
        };
        Ok((Self { path, feed }, position))
    }

    /// Writes how far it came; it lasts when this returns. Blocks.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn save(&self, position: Position) -> Result<()> {
        let contents = Contents {
            feed: self.feed.clone(),
            position,
        };
        let text = serde_json::to_vec(&contents)
            .map_err(|error| Error::internal(format!("a position has no JSON form: {error}")))?;
        self.replace(&text).map_err(|error| io(&self.path, &error))
    }

    fn replace(&self, text: &[u8]) -> std::io::Result<()> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let mut file = private(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

/// A new file that others cannot read: an address may hold a password.
fn private(path: &OsStr) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn position_in(path: &Path, text: &[u8], feed: &str) -> Result<Position> {
    let contents: Contents = serde_json::from_slice(text).map_err(|error| {
        let message = format!("{} does not say how far a feed came", path.display());
        Error::external(SqlState::DataCorrupted, false, message)
            .detail(format!("It cannot be read: {error}."))
            .hint("Name another file for --resume, or remove this one to begin anew.")
    })?;
    if contents.feed != feed {
        let message = format!("{} belongs to another feed", path.display());
        return Err(Error::user(SqlState::InvalidParameterValue, message)
            .detail(format!("It is of {}; this is {feed}.", contents.feed))
            .hint("Give each feed a file of its own."));
    }
    Ok(contents.position)
}

fn io(path: &Path, error: &std::io::Error) -> Error {
    let state = match error.kind() {
        ErrorKind::StorageFull => SqlState::DiskFull,
        _ => SqlState::IoError,
    };
    Error::external(state, false, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{Position, Resume};

    fn open(
        path: &std::path::Path,
        feed: &str,
    ) -> crate::error::Result<(Resume, Option<Position>)> {
        Resume::open(path.to_owned(), feed.to_owned())
    }

    #[test]
    fn what_was_saved_last_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resume");
        let (resume, position) = open(&path, "a to b").unwrap();
        assert_eq!(position, None);
        for offset in [1, 2] {
            resume.save(Position::File { offset }).unwrap();
        }
        let (_, position) = open(&path, "a to b").unwrap();
        assert_eq!(position, Some(Position::File { offset: 2 }));
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside it");
    }

    #[test]
    fn another_feed_s_file_and_a_damaged_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resume");
        let (resume, _) = open(&path, "a to b").unwrap();
        resume.save(Position::File { offset: 1 }).unwrap();
        let error = open(&path, "a to c").unwrap_err();
        assert!(
            error.message().ends_with("belongs to another feed"),
            "{error}"
        );
        std::fs::write(&path, "{").unwrap();
        assert!(open(&path, "a to b").unwrap_err().hint_text().is_some());
    }
}
