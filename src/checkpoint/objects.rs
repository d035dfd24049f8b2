//! Checkpoints in an object store, such as S3.
//!
//! ```text
//! s3://BUCKET/PATH/SERVER/QUERY/checkpoint-..6.json
//!                               state-..6.arrow        in parts, if it is long
//! ```
//! Invariant: an object is there whole, or not at all.

use std::collections::BTreeMap;

use super::storage::{Fill, Storage};
use crate::bucket::Bucket;
use crate::error::{Error, Result, SqlState};

/// A path in an object store, and the way there.
#[derive(Debug, Clone)]
pub struct ObjectPlace(Bucket);

impl ObjectPlace {
    /// A server's part of `s3://BUCKET/PATH`. Options that begin with `aws_` come from the environment,
    /// and win.
    pub(super) fn s3(
        url: &str,
        options: &BTreeMap<String, String>,
        server_id: &str,
    ) -> Result<Self> {
        let refused = |why: &str| refused(url, why);
        let bucket = Bucket::s3(url, options, "checkpoints", &refused)?;
        Ok(Self(bucket.folder(server_id)))
    }

    /// The part of one query.
    pub(super) fn storage(&self, folder: &str) -> ObjectStorage {
        ObjectStorage(self.0.folder(folder))
    }
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
pub(super) struct ObjectStorage(Bucket);

impl Storage for ObjectStorage {
    fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()> {
        self.0.put(name, &mut |to| fill(to))
    }

    fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Vec<u8>>> {
        self.0.read(name, start, length)
    }

    fn list(&self) -> Result<Vec<String>> {
        self.0.list()
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.0.delete(name)
    }

    fn clear(&self) -> Result<()> {
        for name in self.list()? {
            self.delete(&name)?;
        }
        Ok(())
    }

    fn full_name(&self, name: &str) -> String {
        self.0.full_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_do_not_see_each_other() {
        let place = ObjectPlace(Bucket::in_memory("").unwrap());
        let (one, other) = (place.storage("71"), place.storage("7171"));
        one.put("a", &mut |to| to.write_all(b"1")).unwrap();
        other.put("b", &mut |to| to.write_all(b"2")).unwrap();
        assert_eq!(one.list().unwrap(), ["a"]);
        one.clear().unwrap();
        one.clear().unwrap();
        assert_eq!(one.list().unwrap(), [] as [&str; 0]);
        assert_eq!(other.list().unwrap(), ["b"]);
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
