//! Where a query must begin to read again, so that nothing of its open windows is missing.
//!
//! Invariant: a position on disk is whole: it is written beside, synced, and renamed into place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SqlState};
use crate::types::{Offset, PartitionId};

/// The version of the file's form.
const VERSION: u32 = 2;

/// Where a query must begin to read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    version: u32,
    /// The statement that it belongs to; a changed one cannot go on from it.
    pub text: String,
    /// The epoch that wrote it.
    pub epoch: u64,
    /// Windows that end at or before this were emitted. Microseconds since the Unix epoch.
    pub emitted_until: i64,
    /// For each of the query's inputs, the first offset to read of each partition.
    pub next: Vec<BTreeMap<PartitionId, Offset>>,
}

impl Position {
    /// A position of a query's statement.
    pub fn new(
        text: String,
        epoch: u64,
        emitted_until: i64,
        next: Vec<BTreeMap<PartitionId, Offset>>,
    ) -> Self {
        Self {
            version: VERSION,
            text,
            epoch,
            emitted_until,
            next,
        }
    }
}

/// One query's place on disk.
#[derive(Debug, Clone)]
pub struct PositionStore {
    dir: PathBuf,
}

impl PositionStore {
    /// The place of the query `name` under the data directory.
    pub fn new(data_dir: &Path, name: &str) -> Self {
        // Hexadecimal, since a name may hold any character.
        let file: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        Self {
            dir: data_dir.join("queries").join(file),
        }
    }

    /// The position that was written last, if any.
    ///
    /// # Errors
    /// When the file cannot be read, or holds what was never written.
    pub fn read(&self) -> Result<Option<Position>> {
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&path, &error)),
        };
        let damaged = |detail: String| {
            Error::external(
                SqlState::DataCorrupted,
                false,
                format!("the checkpoint {} cannot be used", path.display()),
            )
            .detail(detail)
            .hint("Put back the file, or drop the query and create it again: it then starts anew.")
        };
        let position: Position = serde_json::from_str(&text)
            .map_err(|error| damaged(format!("It is damaged: {error}.")))?;
        if position.version != VERSION {
            let detail = format!(
                "It has version {}, and this server knows {VERSION}.",
                position.version
            );
            return Err(damaged(detail));
        }
        Ok(Some(position))
    }

    /// Writes a position; it lasts when this returns.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, position: &Position) -> Result<()> {
        fs::create_dir_all(&self.dir).map_err(|error| io(&self.dir, &error))?;
        let (path, new) = (self.path(), self.dir.join("position.new"));
        let text = serde_json::to_vec(position)
            .map_err(|error| Error::internal(format!("a position has no JSON form: {error}")))?;
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| io(&path, &error))
    }

    /// Forgets the query.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io(&self.dir, &error)),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("position.json")
    }
}

fn io(path: &Path, error: &std::io::Error) -> Error {
    let state = match error.kind() {
        ErrorKind::StorageFull => SqlState::DiskFull,
        _ => SqlState::IoError,
    };
    Error::external(state, true, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written_and_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = PositionStore::new(dir.path(), "a/name");
        assert_eq!(store.read().unwrap(), None);
        let next = vec![BTreeMap::from([(PartitionId(3), Offset(7))])];
        let position = Position::new("SELECT 1".to_owned(), 5, -60, next);
        store.write(&position).unwrap();
        assert_eq!(store.read().unwrap(), Some(position));
        store.remove().unwrap();
        assert_eq!(store.read().unwrap(), None);
    }

    #[test]
    fn a_damaged_position_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = PositionStore::new(dir.path(), "q");
        store
            .write(&Position::new(String::new(), 1, 0, Vec::new()))
            .unwrap();
        fs::write(store.path(), "{\"version\":1,").unwrap();
        assert_eq!(store.read().unwrap_err().state(), SqlState::DataCorrupted);
    }
}
