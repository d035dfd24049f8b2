//! Directories in which no sink may write: the server's own.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{Culprit, Error, Result, SqlState};

/// Refuses a directory that is, or lies in, one of these directories.
///
/// # Errors
/// It does.
pub(super) fn check(dir: &Path, reserved: &[PathBuf]) -> Result<()> {
    match is_reserved(dir, reserved) {
        false => Ok(()),
        true => {
            let text = format!("{} is a directory of the server's own data", dir.display());
            Err(Error::user(SqlState::InsufficientPrivilege, text)
                .hint("Name a directory outside of it.")
                .about(Culprit::Option("path".to_owned())))
        }
    }
}

/// The same for a directory in which a file is about to be written: what is a link now was perhaps none before.
///
/// # Errors
/// It would lie there.
pub(super) fn check_again(dir: &Path, reserved: &[PathBuf]) -> Result<()> {
    match is_reserved(dir, reserved) {
        false => Ok(()),
        true => {
            let text = format!("{} leads into the server's own data", dir.display());
            Err(Error::external(SqlState::InsufficientPrivilege, true, text)
                .hint("Take the link away: the sink then goes on by itself."))
        }
    }
}

fn is_reserved(path: &Path, reserved: &[PathBuf]) -> bool {
    let wanted = resolved(path);
    reserved.iter().any(|own| wanted.starts_with(resolved(own)))
}

/// Where a path leads, links followed; a part that is not there is taken as it is written.
fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut found = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                found.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => found.push(part),
        }
        if let Ok(real) = fs::canonicalize(&found) {
            found = real;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_own_directory_is_refused_by_whatever_way_it_is_named() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("data");
        fs::create_dir(&own).unwrap();
        std::os::unix::fs::symlink(&own, root.path().join("link")).unwrap();
        let refused =
            |path: &str| check(&root.path().join(path), std::slice::from_ref(&own)).is_err();
        for path in [
            "data",
            "data/a/b",
            "x/../data/a",
            "link",
            "link/a",
            "./data",
        ] {
            assert!(refused(path), "{path} is the server's own");
        }
        for path in ["", "files", "data2", "data/../files", "link/../files"] {
            assert!(!refused(path), "{path} is anybody's");
        }
    }
}
