//! Where the checkpoints of all queries lie: in a directory, in an object store, or in memory.
//!
//! Invariant: two servers that are given the same place do not see each other's checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::in_memory::InMemory;
use super::objects::ObjectPlace;
use super::storage::LocalDirectory;
use super::store::CheckpointStore;
use crate::error::{Error, Result, SqlState};

/// Opens the checkpoints of one query; each call anew.
pub type OpenCheckpoints = Box<dyn Fn() -> CheckpointStore + Send>;

/// The place of the checkpoints of all queries of a server.
#[derive(Debug, Clone)]
pub enum CheckpointPlace {
    /// Nothing is left when the server ends; a query that is tried again still goes on.
    Memory,
    /// A directory, in which each query has one of its own.
    Directory(PathBuf),
    /// A path in an object store, the same way.
    Objects(ObjectPlace),
}

impl CheckpointPlace {
    /// The usual place in a data directory.
    pub fn of_data_dir(data_dir: &Path) -> Self {
        Self::Directory(data_dir.join("queries"))
    }

    /// A place as users write it: a directory, `file:///DIR` or `s3://BUCKET/PATH`. The server has its
    /// own part of it. `options`: how to reach an object store;
    /// those that begin with `aws_` come from the environment, and win.
    ///
    /// # Errors
    /// `F0000` when the text names no place, or an option is unknown or wrong.
    pub fn parse(text: &str, options: &BTreeMap<String, String>, server_id: &str) -> Result<Self> {
        match text.split_once("://") {
            Some(("s3", _)) => Ok(Self::Objects(ObjectPlace::s3(text, options, server_id)?)),
            Some(("file", dir)) if dir.starts_with('/') => Ok(Self::in_dir(dir, server_id)),
            None if !text.is_empty() => Ok(Self::in_dir(text, server_id)),
            _ => Err(Error::user(
                SqlState::ConfigFileError,
                format!("\"{text}\" is no place for checkpoints"),
            )
            .hint("Give a directory, \"file:///DIR\" or \"s3://BUCKET/PATH\".")),
        }
    }

    fn in_dir(dir: &str, server_id: &str) -> Self {
        Self::Directory(Path::new(dir).join(server_id))
    }

    /// How the checkpoints of the query `name` are opened.
    pub fn opener(&self, name: &str) -> OpenCheckpoints {
        match self {
            Self::Memory => {
                let memory = InMemory::default();
                Box::new(move || CheckpointStore::new(Box::new(memory.clone())))
            }
            Self::Directory(dir) => {
                let dir = dir.join(folder(name));
                let open = move || Box::new(LocalDirectory::new(dir.clone()));
                Box::new(move || CheckpointStore::new(open()))
            }
            Self::Objects(place) => {
                let (place, folder) = (place.clone(), folder(name));
                Box::new(move || CheckpointStore::new(Box::new(place.storage(&folder))))
            }
        }
    }
}

/// Hexadecimal, since a name may hold any character.
fn folder(name: &str) -> String {
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, options: &[(&str, &str)]) -> Result<CheckpointPlace> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let options = options.iter().map(owned).collect();
        CheckpointPlace::parse(text, &options, "one")
    }

    #[test]
    fn each_server_has_its_own_part_of_a_directory() {
        for text in ["/a/b", "file:///a/b"] {
            let place = parse(text, &[]).unwrap();
            let CheckpointPlace::Directory(dir) = place else {
                panic!("{text} is a directory");
            };
            assert_eq!(dir, Path::new("/a/b/one"));
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_a_hint() {
        for text in ["", "ftp://a/b", "file://a", "s3://", "s3:///path"] {
            let error = parse(text, &[]).unwrap_err();
            assert_eq!(error.state(), SqlState::ConfigFileError, "{text}: {error}");
            assert!(error.hint_text().is_some(), "{text}: {error}");
        }
    }

    #[test]
    fn an_object_store_takes_the_options_of_the_aws_tools() {
        let known = [
            ("aws_access_key_id", "a"),
            ("aws_secret_access_key", "b"),
            ("aws_endpoint_url", "http://127.0.0.1:1"),
            ("allow_http", "true"),
            ("region", "eu-north-1"),
            ("aws_pager", "of another program"),
        ];
        assert!(parse("s3://bucket/a/b", &known).is_ok());
        let error = parse("s3://bucket", &[("regoin", "x")]).unwrap_err();
        assert!(error.message().contains("\"regoin\""), "{error}");
        let error = parse("s3://bucket", &[("allow_http", "perhaps")]).unwrap_err();
        assert_eq!(error.state(), SqlState::ConfigFileError, "{error}");
    }
}
