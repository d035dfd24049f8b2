//! A path in an object store, such as S3: objects under names.
//!
//! The store's calls are asynchronous, those of [`Bucket`] block: a runtime of its own lies between. Knows nothing of
//! what the objects hold.
//! Invariant: an object is there whole, or not at all: the store shows it when its last part has come.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload,
    RetryConfig,
};

use crate::error::{Error, Result, SqlState};
use crate::task::Waiting;

/// Longer objects go in parts of this size; S3 takes none below 5 MiB, and ten thousand at the most.
const PART_BYTES: usize = 8 << 20;
/// How long a connection may take, and one request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For how long a request is tried again here; then the caller hears of it.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES_MAX: usize = 4;

/// Writes the bytes of an object.
pub(crate) type Fill<'a> = dyn FnMut(&mut (dyn Write + Send)) -> io::Result<()> + 'a;

/// A path in an object store, and the way there.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    waiting: Arc<Waiting>,
    path: Path,
    /// The scheme and the bucket, as the user knows them.
    root: String,
}

impl Bucket {
    /// The path of `s3://BUCKET/PATH`; nothing is asked yet. Options that begin with `aws_` come from the
    /// environment, and win. `refused` makes the error of what cannot be out of why; `thread` names the
    /// thread that asks.
    ///
    /// # Errors
    /// What `refused` makes, for a URL that names no bucket and for options that are unknown or wrong.
    pub(crate) fn s3(
        url: &str,
        options: &BTreeMap<String, String>,
        thread: &'static str,
        refused: &dyn Fn(&str) -> Error,
    ) -> Result<Self> {
        let rest = url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = Path::parse(path.trim_end_matches('/'));
        let path = path.map_err(|error| refused(&error.to_string()))?;
        if bucket.is_empty() {
            return Err(refused("it names no bucket"));
        }
        let mut builder = AmazonS3Builder::new().with_client_options(client_options());
        let is_environment = |name: &str| name.starts_with("aws_");
        let (last, first): (Vec<_>, Vec<_>) =
            options.iter().partition(|(name, _)| is_environment(name));
        for (name, value) in first.into_iter().chain(last) {
            match name.parse::<AmazonS3ConfigKey>() {
                Ok(key) => builder = builder.with_config(key, value),
                // It is meant for another program.
                Err(_) if is_environment(name) => {}
                Err(_) => return Err(refused(&format!("the option \"{name}\" is not known"))),
            }
        }
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
            ..Default::default()
        };
        let store = builder.with_bucket_name(bucket).with_retry(retry).build();
        let store = store.map_err(|error| refused(&error.to_string()))?;
        Self::new(Arc::new(store), path, format!("s3://{bucket}"), thread)
    }

    /// A path in a store.
    fn new(
        store: Arc<dyn ObjectStore>,
        path: Path,
        root: String,
        thread: &'static str,
    ) -> Result<Self> {
        Ok(Self {
            store,
            waiting: Arc::new(Waiting::new(thread)?),
            path,
            root,
        })
    }

    /// One in memory, for tests.
    #[cfg(test)]
    pub(crate) fn in_memory(path: &str) -> Result<Self> {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self::new(store, Path::from(path), "s3://b".to_owned(), "bucket")
    }

    /// A folder of this one.
    pub(crate) fn folder(&self, name: &str) -> Self {
        Self {
            path: self.path.clone().join(name),
            ..self.clone()
        }
    }

    /// Puts an object, in the place of one of that name if there is any; it lasts when this returns. A name
    /// may have folders in it.
    ///
    /// # Errors
    /// When the store refuses, or what `fill` says.
    pub(crate) fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()> {
        let object = self.object(name);
        let object = object.map_err(|error| self.failed(name, &error))?;
        let mut upload = Upload {
            bucket: self,
            object,
            waiting: Vec::new(),
            parts: None,
        };
        let done = fill(&mut upload).and_then(|()| upload.finish());
        done.map_err(|error| {
            upload.give_up();
            let inner = error.get_ref();
            if let Some(ours) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
                return Error::clone(ours);
            }
            match inner.and_then(|inner| inner.downcast_ref::<object_store::Error>()) {
                Some(refused) => self.failed(name, refused),
                None => {
                    let message = format!("{}: {error}", self.full_name(name));
                    Error::external(SqlState::IoError, true, message)
                }
            }
        })
    }

    /// At most `length` bytes of an object from `start` on, less where it ends; `None`: there is no such
    /// object.
    ///
    /// # Errors
    /// When the store refuses.
    pub(crate) fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let read = self.part(name, start, length).map(Some);
        self.unless_missing(name, read)
    }

    /// The names of all objects that lie in no folder.
    ///
    /// # Errors
    /// When the store refuses.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        self.unless_missing("", self.names())
    }

    /// Whether objects can be listed; asks for one at the most. `false`: it is not allowed, which says nothing
    /// of writing.
    ///
    /// # Errors
    /// When the store does not answer, or there is no such bucket.
    pub(crate) fn answers(&self) -> Result<bool> {
        let mut there = self.store.list(Some(&self.path));
        match self.wait(there.try_next()) {
            Ok(_) => Ok(true),
            Err(object_store::Error::PermissionDenied { .. }) => Ok(false),
            Err(error) => Err(self.failed("", &error)),
        }
    }

    /// Deletes an object, if it is there.
    ///
    /// # Errors
    /// When the store refuses.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let deleted = self.object(name);
        let deleted = deleted.and_then(|object| self.wait(self.store.delete(&object)));
        self.unless_missing(name, deleted)
    }

    /// An object's full name, as the user knows it.
    pub(crate) fn full_name(&self, name: &str) -> String {
        match self.object(name) {
            Ok(object) => format!("{}/{object}", self.root),
            Err(_) => format!("{}/{}/{name}", self.root, self.path),
        }
    }

    /// A name is kept as it is: no character of it is escaped.
    fn object(&self, name: &str) -> object_store::Result<Path> {
        Ok(Path::parse(format!("{}/{name}", self.path))?)
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.waiting.on(future)
    }

    fn names(&self) -> object_store::Result<Vec<String>> {
        let there = self.store.list(Some(&self.path));
        let there: Vec<_> = self.wait(there.try_collect())?;
        let names = there.iter().filter_map(|object| {
            let mut below = object.location.prefix_match(&self.path)?;
            let name = below.next()?;
            below.next().is_none().then(|| name.as_ref().to_owned())
        });
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    fn part(&self, name: &str, start: u64, length: u64) -> object_store::Result<Vec<u8>> {
        let (object, end) = (self.object(name)?, start.saturating_add(length));
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..end)),
            ..Default::default()
        };
        let got = self.wait(async {
            let got = self.store.get_opts(&object, options).await?;
            got.bytes().await
        });
        match got {
            Ok(bytes) => Ok(bytes.into()),
            Err(error @ object_store::Error::NotFound { .. }) => Err(error),
            // A range that begins behind the end is an error there; how long it is, is asked only then.
            Err(error) => match self.wait(self.store.head(&object)) {
                Ok(there) if start >= there.size => Ok(Vec::new()),
                _ => Err(error),
            },
        }
    }

    fn failed(&self, name: &str, error: &object_store::Error) -> Error {
        let message = format!("{}: {error}", self.full_name(name));
        Error::external(SqlState::IoError, true, message).hint(
            "Check the object store's endpoint, region and keys, and that the bucket is there.",
        )
    }

    fn unless_missing<T: Default>(&self, name: &str, done: object_store::Result<T>) -> Result<T> {
        match done {
            Err(object_store::Error::NotFound { .. }) => Ok(T::default()),
            done => done.map_err(|error| self.failed(name, &error)),
        }
    }
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
}

/// An object on its way: small ones go at once, long ones in parts.
struct Upload<'a> {
    bucket: &'a Bucket,
    object: Path,
    waiting: Vec<u8>,
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Upload<'_> {
    fn send_part(&mut self) -> object_store::Result<()> {
        let (bucket, bytes) = (self.bucket, std::mem::take(&mut self.waiting));
        let mut parts = match self.parts.take() {
            Some(parts) => parts,
            None => bucket.wait(bucket.store.put_multipart(&self.object))?,
        };
        let sent = bucket.wait(parts.put_part(PutPayload::from(bytes)));
        self.parts = Some(parts);
        sent
    }

    /// Sends what is left; the object is there when this returns.
    fn finish(&mut self) -> io::Result<()> {
        if self.parts.is_some() && !self.waiting.is_empty() {
            self.send_part()?;
        }
        let bytes = std::mem::take(&mut self.waiting);
        let bucket = self.bucket;
        let put = match &mut self.parts {
            Some(parts) => bucket.wait(parts.complete()),
            None => {
                let payload = PutPayload::from(bytes);
                bucket.wait(bucket.store.put(&self.object, payload))
            }
        };
        put.map(drop).map_err(io::Error::other)
    }

    /// Parts of what is not finished would be stored, and paid for, for ever.
    fn give_up(&mut self) {
        if let Some(mut parts) = self.parts.take()
            && let Err(error) = self.bucket.wait(parts.abort())
        {
            let object = self.object.as_ref();
            tracing::warn!(object, error = %error, "an upload that failed is left over");
        }
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PART_BYTES {
            self.send_part()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::*;

    fn bucket(store: Arc<dyn ObjectStore>) -> Bucket {
        let bucket = Bucket::new(store, Path::from("a/server"), "s3://b".to_owned(), "bucket");
        bucket.unwrap().folder("71")
    }

    fn put(bucket: &Bucket, name: &str, bytes: &[u8]) {
        bucket.put(name, &mut |to| to.write_all(bytes)).unwrap();
    }

    fn keeps_objects(bucket: &Bucket) {
        assert_eq!(bucket.list().unwrap(), [] as [&str; 0]);
        assert!(bucket.answers().unwrap());
        assert_eq!(bucket.read("a", 0, 9).unwrap(), None);
        put(bucket, "b", b"second");
        put(bucket, "a", b"first");
        put(bucket, "empty", b"");
        assert_eq!(bucket.list().unwrap(), ["a", "b", "empty"]);
        let cases: [(u64, u64, &[u8]); 6] = [
            (0, 5, b"first"),
            (1, 3, b"irs"),
            (3, 100, b"st"),
            (5, 1, b""),
            (9, u64::MAX, b""),
            (0, u64::MAX, b"first"),
        ];
        for (start, length, bytes) in cases {
            let read = bucket.read("a", start, length).unwrap();
            assert_eq!(read.as_deref(), Some(bytes), "{length} from {start}");
        }
        let empty = bucket.read("empty", 0, 9).unwrap();
        assert_eq!(empty.as_deref(), Some(&b""[..]));
        put(bucket, "a", b"new");
        let read = bucket.read("a", 0, 9).unwrap();
        assert_eq!(read.as_deref(), Some(&b"new"[..]));
        bucket.delete("a").unwrap();
        bucket.delete("a").unwrap();
        assert_eq!(bucket.list().unwrap(), ["b", "empty"]);
        assert_eq!(bucket.full_name("b"), "s3://b/a/server/71/b");
    }

    #[test]
    fn every_kind_of_store_keeps_objects() {
        keeps_objects(&bucket(Arc::new(InMemory::new())));
        let dir = tempfile::tempdir().unwrap();
        let local = LocalFileSystem::new_with_prefix(dir.path()).unwrap();
        keeps_objects(&bucket(Arc::new(local)));
    }

    #[test]
    fn a_name_with_folders_is_kept_as_it_is() {
        let bucket = bucket(Arc::new(InMemory::new()));
        put(&bucket, "k=a%2Fb/part", b"rows");
        assert_eq!(
            bucket.full_name("k=a%2Fb/part"),
            "s3://b/a/server/71/k=a%2Fb/part"
        );
        let read = bucket.read("k=a%2Fb/part", 0, 9).unwrap();
        assert_eq!(read.as_deref(), Some(&b"rows"[..]));
        assert_eq!(bucket.list().unwrap(), [] as [&str; 0]);
    }

    #[test]
    fn a_long_object_goes_in_parts_and_a_torn_one_is_not_there() {
        let bucket = bucket(Arc::new(InMemory::new()));
        let piece = vec![7; PART_BYTES / 2 + 1];
        let write = |to: &mut dyn Write| (0..5).try_for_each(|_| to.write_all(&piece));
        bucket.put("long", &mut |to| write(to)).unwrap();
        let read = bucket.read("long", 0, u64::MAX).unwrap().unwrap();
        assert_eq!(read.len(), 5 * piece.len());
        let torn = bucket.put("torn", &mut |to| {
            write(to)?;
            Err(io::Error::other("no more"))
        });
        assert!(torn.unwrap_err().message().contains("no more"));
        assert_eq!(bucket.list().unwrap(), ["long"]);
    }
}
