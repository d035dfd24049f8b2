//! Checkpoints in an object store, such as S3.
//!
//! ```text
//! s3://BUCKET/PATH/SERVER/QUERY/checkpoint-..6.json
//!                               state-..6.arrow        in parts, if it is long
//! ```
//! The store's calls are asynchronous, those of [`Storage`] block: a runtime of its own lies between.
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

use super::storage::{Fill, Storage, failed};
use crate::error::{Error, Result, SqlState};
use crate::task::Waiting;

/// Longer objects go in parts of this size; S3 takes none below 5 MiB, and ten thousand at the most.
const PART_BYTES: usize = 8 << 20;
/// How long a connection may take, and one request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For how long a request is tried again here; then the query tells of it and tries by itself.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES_MAX: usize = 4;

/// A path in an object store, and the way there.
#[derive(Debug, Clone)]
pub struct ObjectPlace {
    store: Arc<dyn ObjectStore>,
    waiting: Arc<Waiting>,
    path: Path,
    /// The scheme and the bucket, as the user knows them.
    root: String,
}

impl ObjectPlace {
    /// A server's part of `s3://BUCKET/PATH`. Options that begin with `aws_` come from the environment,
    /// and win.
    pub(super) fn s3(
        url: &str,
        options: &BTreeMap<String, String>,
        server_id: &str,
    ) -> Result<Self> {
        let rest = url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = Path::parse(path.trim_end_matches('/'));
        let path = path.map_err(|error| refused(url, &error.to_string()))?;
        if bucket.is_empty() {
            return Err(refused(url, "it names no bucket"));
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
                Err(_) => {
                    let why = format!("the option \"{name}\" is not known");
                    return Err(refused(url, &why));
                }
            }
        }
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
            ..Default::default()
        };
        let store = builder.with_bucket_name(bucket).with_retry(retry).build();
        let store = store.map_err(|error| refused(url, &error.to_string()))?;
        Self::new(
            Arc::new(store),
            path.join(server_id),
            format!("s3://{bucket}"),
        )
    }

    /// A path in a store.
    fn new(store: Arc<dyn ObjectStore>, path: Path, root: String) -> Result<Self> {
        Ok(Self {
            store,
            waiting: Arc::new(Waiting::new("checkpoints")?),
            path,
            root,
        })
    }

    /// The part of one query.
    pub(super) fn storage(&self, folder: &str) -> ObjectStorage {
        ObjectStorage {
            path: self.path.clone().join(folder),
            place: self.clone(),
        }
    }
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
}

fn refused(url: &str, why: &str) -> Error {
    let message = format!("checkpoints cannot lie in \"{url}\": {why}");
    Error::user(SqlState::ConfigFileError, message).hint(
        "Write it as s3://BUCKET/PATH; keys, region and endpoint are those of the AWS tools, such as \
         AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL.",
    )
}

/// One query's objects in an object store.
#[derive(Debug)]
pub(super) struct ObjectStorage {
    place: ObjectPlace,
    path: Path,
}

impl ObjectStorage {
    fn object(&self, name: &str) -> Path {
        self.path.clone().join(name)
    }

    fn store(&self) -> &dyn ObjectStore {
        &*self.place.store
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.place.waiting.on(future)
    }

    fn names(&self) -> object_store::Result<Vec<String>> {
        let there = self.store().list(Some(&self.path));
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
        let (object, end) = (self.object(name), start.saturating_add(length));
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..end)),
            ..Default::default()
        };
        let got = self.wait(async {
            let got = self.store().get_opts(&object, options).await?;
            got.bytes().await
        });
        match got {
            Ok(bytes) => Ok(bytes.into()),
            Err(error @ object_store::Error::NotFound { .. }) => Err(error),
            // A range that begins behind the end is an error there; how long it is, is asked only then.
            Err(error) => match self.wait(self.store().head(&object)) {
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

impl Storage for ObjectStorage {
    fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()> {
        let mut upload = Upload {
            storage: self,
            object: self.object(name),
            waiting: Vec::new(),
            parts: None,
        };
        let done = fill(&mut upload).and_then(|()| upload.finish());
        done.map_err(|error| {
            upload.give_up();
            match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(refused) => self.failed(name, refused),
                None => failed(&self.full_name(name), &error),
            }
        })
    }

    fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let read = self.part(name, start, length).map(Some);
        self.unless_missing(name, read)
    }

    fn list(&self) -> Result<Vec<String>> {
        self.unless_missing("", self.names())
    }

    fn delete(&self, name: &str) -> Result<()> {
        let deleted = self.wait(self.store().delete(&self.object(name)));
        self.unless_missing(name, deleted)
    }

    fn clear(&self) -> Result<()> {
        for name in self.list()? {
            self.delete(&name)?;
        }
        Ok(())
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}/{}", self.place.root, self.object(name))
    }
}

/// An object on its way: small ones go at once, long ones in parts.
struct Upload<'a> {
    storage: &'a ObjectStorage,
    object: Path,
    waiting: Vec<u8>,
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Upload<'_> {
    fn send_part(&mut self) -> object_store::Result<()> {
        let (storage, bytes) = (self.storage, std::mem::take(&mut self.waiting));
        let mut parts = match self.parts.take() {
            Some(parts) => parts,
            None => storage.wait(storage.store().put_multipart(&self.object))?,
        };
        let sent = storage.wait(parts.put_part(PutPayload::from(bytes)));
        self.parts = Some(parts);
        sent
    }

    /// Sends what is left; the object is there when this returns.
    fn finish(&mut self) -> io::Result<()> {
        if self.parts.is_some() && !self.waiting.is_empty() {
            self.send_part()?;
        }
        let bytes = std::mem::take(&mut self.waiting);
        let put = match &mut self.parts {
            Some(parts) => self.storage.wait(parts.complete()),
            None => {
                let payload = PutPayload::from(bytes);
                let store = self.storage.store();
                self.storage.wait(store.put(&self.object, payload))
            }
        };
        put.map(drop).map_err(io::Error::other)
    }

    /// Parts of what is not finished would be stored, and paid for, for ever.
    fn give_up(&mut self) {
        if let Some(mut parts) = self.parts.take()
            && let Err(error) = self.storage.wait(parts.abort())
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

    fn storage(store: Arc<dyn ObjectStore>) -> ObjectStorage {
        let place = ObjectPlace::new(store, Path::from("a/server"), "s3://b".to_owned());
        place.unwrap().storage("71")
    }

    fn put(place: &ObjectStorage, name: &str, bytes: &[u8]) {
        place.put(name, &mut |to| to.write_all(bytes)).unwrap();
    }

    fn keeps_objects(place: &ObjectStorage) {
        assert_eq!(place.list().unwrap(), [] as [&str; 0]);
        assert_eq!(place.read("a", 0, 9).unwrap(), None);
        put(place, "b", b"second");
        put(place, "a", b"first");
        put(place, "empty", b"");
        assert_eq!(place.list().unwrap(), ["a", "b", "empty"]);
        let cases: [(u64, u64, &[u8]); 6] = [
            (0, 5, b"first"),
            (1, 3, b"irs"),
            (3, 100, b"st"),
            (5, 1, b""),
            (9, u64::MAX, b""),
            (0, u64::MAX, b"first"),
        ];
        for (start, length, bytes) in cases {
            let read = place.read("a", start, length).unwrap();
            assert_eq!(read.as_deref(), Some(bytes), "{length} from {start}");
        }
        assert_eq!(
            place.read("empty", 0, 9).unwrap().as_deref(),
            Some(&b""[..])
        );
        put(place, "a", b"new");
        assert_eq!(place.read("a", 0, 9).unwrap().as_deref(), Some(&b"new"[..]));
        place.delete("a").unwrap();
        place.delete("a").unwrap();
        assert_eq!(place.list().unwrap(), ["b", "empty"]);
        assert_eq!(place.full_name("b"), "s3://b/a/server/71/b");
        place.clear().unwrap();
        place.clear().unwrap();
        assert_eq!(place.list().unwrap(), [] as [&str; 0]);
    }

    #[test]
    fn every_kind_of_store_keeps_objects() {
        keeps_objects(&storage(Arc::new(InMemory::new())));
        let dir = tempfile::tempdir().unwrap();
        let local = LocalFileSystem::new_with_prefix(dir.path()).unwrap();
        keeps_objects(&storage(Arc::new(local)));
    }

    #[test]
    fn queries_do_not_see_each_other() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let place = ObjectPlace::new(store, Path::from(""), String::new()).unwrap();
        let (one, other) = (place.storage("71"), place.storage("7171"));
        put(&one, "a", b"1");
        put(&other, "b", b"2");
        assert_eq!(one.list().unwrap(), ["a"]);
        one.clear().unwrap();
        assert_eq!(other.list().unwrap(), ["b"]);
    }

    #[test]
    fn a_long_object_goes_in_parts_and_a_torn_one_is_not_there() {
        let place = storage(Arc::new(InMemory::new()));
        let piece = vec![7; PART_BYTES / 2 + 1];
        let write = |to: &mut dyn Write| (0..5).try_for_each(|_| to.write_all(&piece));
        place.put("long", &mut |to| write(to)).unwrap();
        let read = place.read("long", 0, u64::MAX).unwrap().unwrap();
        assert_eq!(read.len(), 5 * piece.len());
        let torn = place.put("torn", &mut |to| {
            write(to)?;
            Err(io::Error::other("no more"))
        });
        assert!(torn.unwrap_err().message().contains("no more"));
        assert_eq!(place.list().unwrap(), ["long"]);
    }

    #[test]
    fn a_store_that_is_not_there_is_told_and_may_be_tried_again() {
        let options = [
            ("endpoint", "http://127.0.0.1:1"),
            ("allow_http", "true"),
            ("access_key_id", "a"),
            ("secret_access_key", "b"),
        ];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let place = ObjectPlace::s3("s3://bucket/x", &options.into(), "server").unwrap();
        let error = place.storage("71").list().unwrap_err();
        assert_eq!(error.state(), SqlState::IoError, "{error}");
        assert!(
            error.message().contains("s3://bucket/x/server/71"),
            "{error}"
        );
    }
}
