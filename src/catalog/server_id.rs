//! The id of a server: a file beside the catalog's, made once.
//!
//! Invariant: the id of a data directory never changes: what the outside keeps under it must be found
//! again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use uuid::Uuid;

use crate::error::{Error, Result, SqlState};

const NEEDED: &str = "Put back a copy of the file. Without it, sinks that deliver exactly once do not find \
    what they have written.";

/// The id of the server to which a data directory belongs; made if it `is_new`, which one with
/// definitions is not.
pub(super) fn of(dir: &Path, is_new: bool) -> Result<String> {
    let path = dir.join("server_id");
    let refused = |error: &std::io::Error| {
        let state = match error.kind() {
            ErrorKind::StorageFull => SqlState::DiskFull,
            _ => SqlState::IoError,
        };
        Error::external(state, true, format!("{}: {error}", path.display()))
    };
    match fs::read_to_string(&path) {
        Ok(text) => return parse(&path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound && is_new => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(gone(&path)),
        Err(error) => return Err(refused(&error)),
    }
    let (id, beside) = (new(), dir.join("server_id.new"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error| refused(&error))?;
    Ok(id)
}

/// An id that no server had before.
pub(super) fn new() -> String {
    Uuid::new_v4().to_string()
}

fn parse(path: &Path, text: &str) -> Result<String> {
    match Uuid::parse_str(text.trim()) {
        Ok(id) => Ok(id.to_string()),
        Err(error) => Err(Error::external(
            SqlState::DataCorrupted,
            false,
            format!("the server's id {} cannot be used", path.display()),
        )
        .detail(format!("It is damaged: {error}."))
        .hint(NEEDED)),
    }
}

fn gone(path: &Path) -> Error {
    let text = format!("the server's id {} is gone", path.display());
    Error::external(SqlState::DataCorrupted, false, text)
        .detail("The directory has a catalog, so it has had an id.")
        .hint(NEEDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_id() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = of(one.path(), true).unwrap();
        for is_new in [true, false] {
            assert_eq!(of(one.path(), is_new).unwrap(), id);
        }
        assert_ne!(of(two.path(), true).unwrap(), id);
    }

    #[test]
    fn a_directory_with_a_catalog_does_not_get_another_id() {
        let dir = tempfile::tempdir().unwrap();
        let error = of(dir.path(), false).unwrap_err();
        assert_eq!(error.state(), SqlState::DataCorrupted);
        assert!(!dir.path().join("server_id").exists(), "nothing is made");
    }

    #[test]
    fn a_damaged_id_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server_id");
        fs::write(&path, "1234").unwrap();
        assert_eq!(
            of(dir.path(), true).unwrap_err().state(),
            SqlState::DataCorrupted
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "1234");
    }
}
