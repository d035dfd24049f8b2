//! A place in memory, which can stop after so many steps, as a crash does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::checkpoint::CheckpointStore;
use crate::checkpoint::storage::{Fill, Storage, failed};
use crate::error::Result;

/// The place; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, Vec<u8>>,
    /// The steps until it stops.
    left: Option<usize>,
}

impl Memory {
    pub(super) fn with(objects: BTreeMap<String, Vec<u8>>) -> Self {
        let inner = Inner {
            objects,
            left: None,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// A place in which a query was announced.
    pub(super) fn announced() -> Self {
        let place = Self::default();
        let store = CheckpointStore::new(Box::new(place.clone()));
        store.announce().unwrap();
        place
    }

    /// All that is there.
    pub(super) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.inner.lock().unwrap().objects.clone()
    }

    /// Stops after so many steps; `None`: never.
    pub(super) fn stop_after(&self, steps: Option<usize>) {
        self.inner.lock().unwrap().left = steps;
    }

    fn step(&self) -> Result<()> {
        let mut inner = self.inner.lock().unwrap();
        match &mut inner.left {
            Some(0) => Err(failed("memory", &io::Error::other("it has stopped"))),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Storage for Memory {
    fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()> {
        self.step()?;
        let mut bytes = Vec::new();
        fill(&mut bytes).map_err(|error| failed(name, &error))?;
        // It is written beside.
        self.step()?;
        let mut inner = self.inner.lock().unwrap();
        inner.objects.insert(name.to_owned(), bytes);
        drop(inner);
        // It is renamed, but nobody was told.
        self.step()
    }

    fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Vec<u8>>> {
        self.step()?;
        let inner = self.inner.lock().unwrap();
        let Some(object) = inner.objects.get(name) else {
            return Ok(None);
        };
        let there = object.len() as u64;
        let (start, end) = (start.min(there), start.saturating_add(length).min(there));
        let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
        Ok(Some(object[range].to_vec()))
    }

    fn list(&self) -> Result<Vec<String>> {
        self.step()?;
        Ok(self.inner.lock().unwrap().objects.keys().cloned().collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.step()?;
        self.inner.lock().unwrap().objects.remove(name);
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        self.step()?;
        self.inner.lock().unwrap().objects.clear();
        Ok(())
    }

    fn full_name(&self, name: &str) -> String {
        format!("memory/{name}")
    }
}
