//! The catalog's one file, and the lock that keeps a second server away.
//!
//! Invariant: the file on disk is whole at every moment: it is written beside, synced, and renamed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::directory_lock::DirectoryLock;
use crate::error::{Error, Result, SqlState};

/// The version of the file's form.
const VERSION: u32 = 1;

/// The file in its directory, locked as long as this lives.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    _lock: DirectoryLock,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// The CREATE statements, each after what it depends on, and what was altered after them.
    statements: Vec<String>,
    /// CRC-32C of the statements, each followed by a zero byte.
    checksum: u32,
}

impl Store {
    /// Takes the directory, which is made if it is not there.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let refused =
            |error: &std::io::Error| {
                Error::external(
                SqlState::IoError,
                false,
                format!("the data directory {} cannot be written: {error}", dir.display()),
            )
            .hint("Choose another one with --data-dir, or give this user the right to write there.")
            };
        match DirectoryLock::acquire(dir) {
            Ok(lock) => Ok(Self {
                dir: dir.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::external(
                SqlState::LockFileExists,
                false,
                format!(
                    "the data directory is in use by another server: {}",
                    dir.display()
                ),
            )
            .hint("Stop that server, or choose another directory with --data-dir.")),
            Err(TryLockError::Error(error)) => Err(refused(&error)),
        }
    }

    /// The statements that were written last.
    pub(super) fn read(&self) -> Result<Vec<String>> {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(&path, &error)),
        };
        let damaged = |detail: String| {
            Error::external(
                SqlState::DataCorrupted,
                false,
                format!("the catalog {} cannot be used", path.display()),
            )
            .detail(detail)
            .hint("Put back a copy of the file, or move it away to begin with an empty catalog.")
        };
        let contents: Contents = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("It is damaged: {error}.")))?;
        if contents.version != VERSION {
            let version = contents.version;
            return Err(damaged(format!(
                "It has version {version}; this server knows {VERSION}."
            )));
        }
        if checksum(&contents.statements) != contents.checksum {
            return Err(damaged(
                "Its checksum does not match: it was changed.".to_owned(),
            ));
        }
        Ok(contents.statements)
    }

    /// Writes statements; they last when this returns.
    pub(super) fn write<'a>(&self, statements: impl Iterator<Item = &'a str>) -> Result<()> {
        let statements: Vec<String> = statements.map(str::to_owned).collect();
        let checksum = checksum(&statements);
        let contents = Contents {
            version: VERSION,
            statements,
            checksum,
        };
        let text = serde_json::to_vec_pretty(&contents)
            .map_err(|error| Error::internal(format!("the catalog has no JSON form: {error}")))?;
        let (path, new) = (self.path(), self.dir.join("catalog.new"));
        let write = || -> std::io::Result<()> {
            let mut file = private(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| io(&path, &error))
    }

    fn path(&self) -> PathBuf {
        self.dir.join("catalog.json")
    }
}

/// A new file that others cannot read: statements may hold passwords.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn checksum(statements: &[String]) -> u32 {
    statements.iter().fold(0, |sum, text| {
        crc32c::crc32c_append(crc32c::crc32c_append(sum, text.as_bytes()), &[0])
    })
}

fn io(path: &Path, error: &std::io::Error) -> Error {
    let state = match error.kind() {
        ErrorKind::StorageFull => SqlState::DiskFull,
        _ => SqlState::IoError,
    };
    let error = Error::external(state, true, format!("{}: {error}", path.display()));
    match state {
        SqlState::DiskFull => error.hint("Make room in the data directory, then try again."),
        _ => error,
    }
}
