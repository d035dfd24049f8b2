//! The lock that keeps a second process away from a directory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// A directory is ours as long as this lives.
#[derive(Debug)]
pub struct DirectoryLock(File);

impl DirectoryLock {
    /// Takes the directory, which is made if it is not there. It holds a file `lock` from then on.
    ///
    /// # Errors
    /// [`std::fs::TryLockError::WouldBlock`] when another holds it; otherwise what the system says.
    pub fn acquire(dir: &Path) -> Result<Self, fs::TryLockError> {
        let file = open(dir).map_err(fs::TryLockError::Error)?;
        file.try_lock()?;
        Ok(Self(file))
    }
}

fn open(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
}

impl Drop for DirectoryLock {
    /// Closing alone would leave the lock to a child process that is being started just now: it
    /// holds a copy of the file until it runs its program.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "a data directory stays locked until the process ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::TryLockError;

    use super::DirectoryLock;

    #[test]
    fn a_directory_has_one_holder_and_is_free_after_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("made");
        let held = DirectoryLock::acquire(&dir).unwrap();
        let refused = DirectoryLock::acquire(&dir).unwrap_err();
        assert!(matches!(refused, TryLockError::WouldBlock), "{refused}");
        drop(held);
        DirectoryLock::acquire(&dir).unwrap();
    }

    #[test]
    fn a_copy_of_the_file_does_not_keep_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirectoryLock::acquire(dir.path()).unwrap();
        let _copy = held.0.try_clone().unwrap();
        drop(held);
        DirectoryLock::acquire(dir.path()).unwrap();
    }
}
