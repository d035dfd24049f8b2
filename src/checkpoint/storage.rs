//! Where checkpoints lie: objects with names, in one flat place.
//!
//! Knows nothing of what the objects hold. Invariant: an object is there whole, or not at all.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IntoInnerError, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::store::NEW;
use crate::error::{Error, Result, SqlState};

/// Writes the bytes of an object.
pub type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// The place of one query's checkpoints. One process writes there at a time.
pub trait Storage: Debug + Send + Sync {
    /// Puts an object, in the place of one of that name if there is any; it lasts when this returns.
    ///
    /// # Errors
    /// When the place refuses or the writing fails: the object is then as it was, or already new.
    fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()>;

    /// At most `length` bytes of an object from `start` on, less where it ends; `None`: there is no
    /// such object.
    ///
    /// # Errors
    /// When the place refuses.
    fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Vec<u8>>>;

    /// The names of all objects.
    ///
    /// # Errors
    /// When the place refuses.
    fn list(&self) -> Result<Vec<String>>;

    /// Deletes an object, if it is there.
    ///
    /// # Errors
    /// When the place refuses.
    fn delete(&self, name: &str) -> Result<()>;

    /// Deletes all objects, and the place itself.
    ///
    /// # Errors
    /// When the place refuses.
    fn clear(&self) -> Result<()>;

    /// The object's full name, as the user knows it.
    fn full_name(&self, name: &str) -> String;
}

/// The name of a file that is not whole yet; there is one at the most.
const BESIDE: &str = "beside.new";
/// The same of the mark of a new query, which is written while the query that it replaces may write its own files.
const BESIDE_MARK: &str = "mark.beside.new";
/// Both write that mark, one after the other.
static MARKING: Mutex<()> = Mutex::new(());

/// A directory of the local file system.
#[derive(Debug)]
pub struct LocalDirectory {
    dir: PathBuf,
}

impl LocalDirectory {
    /// The directory, which is made when something is put there.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn make(&self) -> io::Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.dir)?;
        // A directory lasts when the one above it is synced: the query's, and `queries`.
        let above = self.dir.ancestors().skip(1).take(2);
        for dir in above.filter(|dir| !dir.as_os_str().is_empty()) {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    fn put_file(&self, name: &str, fill: &mut Fill<'_>) -> io::Result<()> {
        self.make()?;
        let lock = || MARKING.lock().unwrap_or_else(PoisonError::into_inner);
        let (beside, _one) = match name {
            NEW => (BESIDE_MARK, Some(lock())),
            _ => (BESIDE, None),
        };
        let beside = self.dir.join(beside);
        let written = write_synced(&beside, fill);
        if written.is_err() {
            // What could not be written whole only takes room, which may be what is missing.
            fs::remove_file(&beside).ok();
        }
        written?;
        fs::rename(&beside, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()
    }

    fn read_file(&self, name: &str, start: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.dir.join(name))?;
        let there = file.metadata()?.len().saturating_sub(start).min(length);
        if there == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(there).unwrap_or(0));
        file.seek(SeekFrom::Start(start))?;
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // Other names are not ours.
            if let Ok(name) = entry?.file_name().into_string()
                && ![BESIDE, BESIDE_MARK].contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn clear_dir(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.dir)?;
        match self.dir.parent() {
            Some(above) => File::open(above)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Storage for LocalDirectory {
    fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()> {
        self.put_file(name, fill)
            .map_err(|error| failed(&self.full_name(name), &error))
    }

    fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let read = self.read_file(name, start, length).map(Some);
        unless_missing(read, &self.full_name(name))
    }

    fn list(&self) -> Result<Vec<String>> {
        unless_missing(self.names(), &self.dir.to_string_lossy())
    }

    fn delete(&self, name: &str) -> Result<()> {
        unless_missing(fs::remove_file(self.dir.join(name)), &self.full_name(name))
    }

    fn clear(&self) -> Result<()> {
        unless_missing(self.clear_dir(), &self.dir.to_string_lossy())
    }

    fn full_name(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }
}

fn write_synced(path: &Path, fill: &mut Fill<'_>) -> io::Result<()> {
    let mut file = BufWriter::new(private(path)?);
    fill(&mut file)?;
    let file = file.into_inner().map_err(IntoInnerError::into_error)?;
    file.sync_all()
}

/// A new file that others cannot read: it holds what users' rows hold.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn unless_missing<T: Default>(done: io::Result<T>, name: &str) -> Result<T> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        done => done.map_err(|error| failed(name, &error)),
    }
}

/// What it means that an object could not be read or written.
pub(super) fn failed(name: &str, error: &io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(ours) = inner {
        return Error::clone(ours);
    }
    let message = format!("{name}: {error}");
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::external(SqlState::DiskFull, true, message)
                .hint("Make room: the query then goes on by itself.")
        }
        _ => Error::external(SqlState::IoError, true, message),
    }
}
