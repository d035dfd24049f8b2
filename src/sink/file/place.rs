//! Where files lie: a directory, or a path in an object store.
//!
//! Invariant: a file has its name when it is whole and lasts. In a directory it is written beside, under a name that
//! begins with a dot and is none of a finished file's; an object store shows it when its last byte has come.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, IntoInnerError};
use std::path::{Path, PathBuf};

use super::{FileOptions, FilePlace, reserved};
use crate::bucket::{Bucket, Fill};
use crate::crash_point;
use crate::error::{Error, Result, SqlState};

/// The end of a name of what is not whole.
const UNFINISHED: &str = "unfinished";
/// So many bytes are written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Takes files.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Directory(Directory),
    Bucket(Bucket),
}

/// A directory, and those in which none of its files may lie, whatever links there are.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    path: PathBuf,
    reserved: Vec<PathBuf>,
}

impl Place {
    /// # Errors
    /// A URL that names no bucket, options of the object store that are unknown or wrong.
    pub(super) fn try_new(options: &FileOptions) -> Result<Self> {
        match &options.place {
            FilePlace::Directory(path) => Ok(Self::Directory(Directory {
                path: path.clone(),
                reserved: options.reserved.clone(),
            })),
            FilePlace::S3(url) => {
                let refused = |why: &str| {
                    let text = format!("files cannot lie in \"{url}\": {why}");
                    Error::user(SqlState::InvalidParameterValue, text).hint(
                        "Write it as s3://BUCKET/PATH; keys, region and endpoint are those of the AWS tools, \
                         such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL, or [object_store] of the \
                         configuration file.",
                    )
                };
                let bucket = Bucket::s3(url, &options.object_options, "files", &refused)?;
                Ok(Self::Bucket(bucket))
            }
        }
    }

    /// Looks whether files can be put here, and makes the directory if it is missing. `false`: only writing
    /// will tell.
    ///
    /// # Errors
    /// When they cannot.
    pub(super) fn check(&self) -> Result<bool> {
        match self {
            Self::Bucket(bucket) => bucket.answers(),
            Self::Directory(Directory { path: dir, .. }) => {
                let probe = dir.join(format!(".probe-{}", uuid::Uuid::new_v4().simple()));
                let checked = make(dir)
                    .and_then(|()| create(&probe))
                    .and_then(|_| fs::remove_file(&probe));
                checked.map(|()| true).map_err(|error| {
                    told(dir, &error).hint("Name a directory that the server may write to.")
                })
            }
        }
    }

    /// Puts a file, in the place of one of that name if there is any; the name may have folders in it. It lasts
    /// when this returns.
    ///
    /// # Errors
    /// When the place refuses, or what `fill` says; there is no file then, or there is a whole one.
    pub(super) fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()> {
        match self {
            Self::Bucket(bucket) => bucket.put(name, fill),
            Self::Directory(Directory { path, reserved }) => {
                let path = path.join(name);
                put(&path, reserved, fill).map_err(|error| told(&path, &error))
            }
        }
    }

    /// A file's name, as the user knows it.
    pub(super) fn full_name(&self, name: &str) -> String {
        match self {
            Self::Bucket(bucket) => bucket.full_name(name),
            Self::Directory(dir) => dir.path.join(name).display().to_string(),
        }
    }
}

fn put(path: &Path, reserved: &[PathBuf], fill: &mut Fill<'_>) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidFilename.into());
    };
    let beside = dir.join(format!(".{}.{UNFINISHED}", name.to_string_lossy()));
    reserved::check_again(dir, reserved).map_err(io::Error::other)?;
    make(dir)?;
    let written = write_synced(&beside, fill);
    if written.is_err() {
        // What could not be written whole only takes room, which may be what is missing.
        fs::remove_file(&beside).ok();
    }
    written?;
    crash_point::reach("a file is written and has no name");
    fs::rename(&beside, path)?;
    crash_point::reach("a file has its name");
    File::open(dir)?.sync_all()
}

fn write_synced(path: &Path, fill: &mut Fill<'_>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, create(path)?);
    fill(&mut file)?;
    let file = file.into_inner().map_err(IntoInnerError::into_error)?;
    file.sync_all()
}

/// A new file, in the place of what an earlier try has left there; a link is not followed.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().create_new(true).write(true).open(path)
}

/// Makes a directory with those above it; each lasts when this returns.
fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(above) = dir.parent() else {
        return Err(ErrorKind::NotADirectory.into());
    };
    make(above)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(ErrorKind::NotADirectory.into());
        }
        made => made?,
    }
    File::open(above)?.sync_all()
}

fn told(path: &Path, error: &io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(ours) = inner {
        return Error::clone(ours);
    }
    let message = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::external(SqlState::DiskFull, true, message)
                .hint("Make room: the sink then goes on by itself.")
        }
        _ => Error::external(SqlState::IoError, true, message),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn directory(path: PathBuf) -> Place {
        let reserved = Vec::new();
        Place::Directory(Directory { path, reserved })
    }

    #[test]
    fn a_link_that_comes_later_leads_no_file_into_the_server_s_own_data() {
        let root = tempfile::tempdir().unwrap();
        let (own, path) = (root.path().join("own"), root.path().join("files"));
        fs::create_dir(&own).unwrap();
        let place = Place::Directory(Directory {
            path: path.clone(),
            reserved: vec![own.clone()],
        });
        let put = || place.put("k=1/part", &mut |to| to.write_all(b"row"));
        put().unwrap();
        let is_empty = || fs::read_dir(&own).unwrap().next().is_none();
        for link in [&path.join("k=1"), &path] {
            fs::remove_dir_all(link).unwrap();
            std::os::unix::fs::symlink(&own, link).unwrap();
            let error = put().unwrap_err();
            assert_eq!(error.state(), SqlState::InsufficientPrivilege, "{error}");
            assert!(is_empty(), "nothing came there by {}", link.display());
            fs::remove_file(link).unwrap();
            put().unwrap();
        }
        let beside = path.join("k=1/.part.unfinished");
        std::os::unix::fs::symlink(own.join("new"), beside).unwrap();
        put().unwrap();
        assert!(is_empty(), "a link in the place of a file is not followed");
    }

    #[test]
    fn a_file_comes_whole_with_its_folders() {
        let dir = tempfile::tempdir().unwrap();
        let place = directory(dir.path().join("a/b"));
        assert!(place.check().unwrap());
        for text in ["first", "second"] {
            let mut fill = |to: &mut (dyn Write + Send)| to.write_all(text.as_bytes());
            place.put("k=1/part", &mut fill).unwrap();
            let folder = dir.path().join("a/b/k=1");
            assert_eq!(fs::read_to_string(folder.join("part")).unwrap(), text);
            assert_eq!(
                fs::read_dir(&folder).unwrap().count(),
                1,
                "nothing is left over"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_written_to_its_end_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let place = directory(dir.path().to_owned());
        let torn = place.put("part", &mut |to| {
            to.write_all(b"half")?;
            Err(ErrorKind::StorageFull.into())
        });
        let error = torn.unwrap_err();
        assert_eq!(error.state(), SqlState::DiskFull);
        assert!(error.message().contains("part"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_error_of_ours_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let bucket = Bucket::in_memory("x").unwrap();
        for place in [directory(dir.path().to_owned()), Place::Bucket(bucket)] {
            let ours = Error::external(SqlState::QueryCanceled, true, "stopped");
            let put = place.put("part", &mut |_| Err(io::Error::other(ours.clone())));
            assert_eq!(put.unwrap_err().state(), SqlState::QueryCanceled);
        }
    }

    #[test]
    fn a_file_where_a_directory_should_be_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "").unwrap();
        let error = directory(dir.path().join("a/b")).check().unwrap_err();
        assert_eq!(error.state(), SqlState::IoError);
        assert!(error.hint_text().is_some(), "it says what to do");
    }
}
