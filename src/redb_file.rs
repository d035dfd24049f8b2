//! A `redb` database in one file of the data directory.
//!
//! Knows nothing of what is kept in it. Invariant: a file that is not whole is refused and stays as it is;
//! what one call of [`RedbFile::write`] does lasts as a whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, TableDefinition,
    WriteTransaction,
};

use crate::error::{Error, Result, SqlState};

/// With this ending it is made; a crash may leave half a one.
const NEW: &str = "new";
/// Memory for pages that were read or are to be written.
const CACHE_BYTES: usize = 4 << 20;

/// Numbers of the file's own, under names; `version` is taken.
pub(crate) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// The version of what is in the tables.
const VERSION: u64 = 1;

/// What goes wrong in the file.
pub(crate) type Fault = redb::Error;

/// What a file is for, in the errors about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    /// What it holds: "the kept messages".
    pub(crate) what: &'static str,
    /// What to do when it is damaged: a whole sentence.
    pub(crate) hint: &'static str,
}

/// The file, or memory where there is no data directory.
pub(crate) struct RedbFile {
    path: Option<PathBuf>,
    about: About,
    /// `None` after trouble: the file is opened anew.
    database: Option<Database>,
}

impl std::fmt::Debug for RedbFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbFile")
            .field("path", &self.path)
            .finish()
    }
}

impl RedbFile {
    /// Opens a file, or makes it with its folder; `None`: it is gone with the process.
    ///
    /// # Errors
    /// A file that is damaged or of another version, a disk that refuses.
    pub(crate) fn open(path: Option<PathBuf>, about: About) -> Result<Self> {
        let mut file = Self {
            path,
            about,
            database: None,
        };
        match file.path.clone() {
            None => file.database = Some(memory().map_err(|fault| file.told(fault))?),
            Some(path) => {
                let is_there = fs::exists(&path).map_err(|error| file.told(error.into()))?;
                if !is_there {
                    make(&path).map_err(|fault| file.told(fault))?;
                }
                file.check_version()?;
            }
        }
        Ok(file)
    }

    fn check_version(&mut self) -> Result<()> {
        let version = self.read(|read| {
            let version = read.open_table(META)?.get("version")?;
            Ok(version.map(|version| version.value()))
        })?;
        if version == Some(VERSION) {
            return Ok(());
        }
        let shown = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        Err(self.damaged(&format!(
            "Its version is {shown}; this server knows {VERSION}."
        )))
    }

    /// Does what is to last as a whole.
    ///
    /// # Errors
    /// What the disk says; then nothing of it lasts, and it can be tried again.
    pub(crate) fn write(
        &mut self,
        act: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<()> {
        self.guarded(|database| {
            let write = database.begin_write()?;
            act(&write)?;
            Ok(write.commit()?)
        })
    }

    /// Does what is seen as a whole at once, and lasts with the next [`Self::write`].
    ///
    /// # Errors
    /// As that.
    pub(crate) fn write_lightly(
        &mut self,
        act: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<()> {
        self.guarded(|database| {
            let mut write = database.begin_write()?;
            write.set_durability(Durability::None)?;
            act(&write)?;
            Ok(write.commit()?)
        })
    }

    /// Reads as of one moment.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn read<T>(
        &mut self,
        act: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T> {
        self.guarded(|database| act(&database.begin_read()?))
    }

    /// After trouble the library wants the file to be opened anew.
    fn guarded<T>(&mut self, act: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T> {
        let done = match &self.database {
            Some(database) => act(database),
            None => opened(self.path.as_deref())
                .and_then(|database| act(self.database.insert(database))),
        };
        done.map_err(|fault| {
            if self.path.is_some() {
                self.database = None;
            }
            self.told(fault)
        })
    }

    fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "memory".to_owned(),
        }
    }

    fn told(&self, fault: Fault) -> Error {
        match fault {
            redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                ) =>
            {
                self.damaged(&format!("It is damaged: {error}."))
            }
            redb::Error::Io(error) => {
                let state = match error.kind() {
                    ErrorKind::StorageFull => SqlState::DiskFull,
                    _ => SqlState::IoError,
                };
                Error::external(state, true, format!("{}: {error}", self.name()))
            }
            redb::Error::PreviousIo => {
                let text = format!("{}: an earlier write has failed", self.name());
                Error::external(SqlState::IoError, true, text)
            }
            other => self.damaged(&format!("It is damaged: {other}.")),
        }
    }

    fn damaged(&self, detail: &str) -> Error {
        let text = format!("{} in {} cannot be used", self.about.what, self.name());
        Error::external(SqlState::DataCorrupted, false, text)
            .detail(detail)
            .hint(self.about.hint)
    }
}

/// A new file is whole before it has its name.
fn make(path: &Path) -> Result<(), Fault> {
    let new = path.with_extension(NEW);
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.create_new(true).read(true).write(true);
    // Others cannot read it: messages may be private.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&new)?;
    let database = builder().create_with_backend(FileBackend::new(file)?)?;
    mark(&database)?;
    database.close()?;
    fs::rename(&new, path)?;
    Ok(File::open(dir)?.sync_all()?)
}

fn memory() -> Result<Database, Fault> {
    let database = builder().create_with_backend(InMemoryBackend::new())?;
    mark(&database)?;
    Ok(database)
}

fn mark(database: &Database) -> Result<(), Fault> {
    let write = database.begin_write()?;
    write.open_table(META)?.insert("version", VERSION)?;
    Ok(write.commit()?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Opens a file that is there. Every page is checked: it is not large, and a damaged one is told.
fn opened(path: Option<&Path>) -> Result<Database, Fault> {
    let path = path.ok_or(redb::Error::DatabaseClosed)?;
    let open = || builder().set_check_integrity_on_open(true).open(path);
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(redb::Error::Corrupted("it cannot be read".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::path::{Path, PathBuf};

    use super::{About, META, NEW, RedbFile};
    use crate::error::{Result, SqlState};

    const ABOUT: About = About {
        what: "the things",
        hint: "Put back a copy.",
    };

    fn place(dir: &Path) -> PathBuf {
        dir.join("folder").join("things.redb")
    }

    fn open(dir: &Path) -> Result<RedbFile> {
        RedbFile::open(Some(place(dir)), ABOUT)
    }

    #[test]
    fn what_was_written_is_there_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path()).unwrap();
        let write = |write: &redb::WriteTransaction| {
            write.open_table(META)?.insert("some", 7)?;
            Ok(())
        };
        store.write(write).unwrap();
        let failing = |write: &redb::WriteTransaction| {
            write.open_table(META)?.insert("some", 8)?;
            Err(redb::Error::PreviousIo)
        };
        let error = store.write(failing).unwrap_err();
        assert_eq!(error.state(), SqlState::IoError);
        drop(store);
        let mut store = open(dir.path()).unwrap();
        let some = store
            .read(|read| Ok(read.open_table(META)?.get("some")?.map(|some| some.value())))
            .unwrap();
        assert_eq!(some, Some(7));
    }

    #[test]
    fn half_a_new_file_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(place(dir.path()).parent().unwrap()).unwrap();
        fs::write(place(dir.path()).with_extension(NEW), "half").unwrap();
        open(dir.path()).unwrap();
        open(dir.path()).unwrap();
    }

    #[test]
    fn a_damaged_file_is_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let path = place(dir.path());
        let whole = fs::read(&path).unwrap();
        let mut damages = vec![Vec::new(), b"not a database".to_vec()];
        damages.extend([1, 100, whole.len() / 2, whole.len() - 1].map(|l| whole[..l].to_vec()));
        // The pages of the tables: each byte of them is under a checksum.
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
        damages.extend([0, 12, 64, 4_100, used / 2, used].map(|at| {
            let mut flipped = whole.clone();
            flipped[at] ^= 0xff;
            flipped
        }));
        let mut refused = 0;
        for (index, damage) in damages.iter().enumerate() {
            fs::write(&path, damage).unwrap();
            match open(dir.path()) {
                // Not every byte means something.
                Ok(_) => continue,
                Err(error) => {
                    assert_eq!(error.state(), SqlState::DataCorrupted, "{index}: {error}");
                    assert!(error.hint_text().is_some(), "it says what to do");
                    assert_eq!(&fs::read(&path).unwrap(), damage, "{index}: it stays");
                    refused += 1;
                }
            }
        }
        assert!(refused >= 8, "only {refused} were refused");
    }
}
