//! A place in memory, for servers that keep nothing: a query that tries again still goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::storage::{Fill, Storage, failed};
use crate::error::Result;

/// Objects in memory; all clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct InMemory {
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl InMemory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for InMemory {
    fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        fill(&mut bytes).map_err(|error| failed(name, &error))?;
        self.lock().insert(name.to_owned(), bytes);
        Ok(())
    }

    fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let objects = self.lock();
        let from = |bytes: &Vec<u8>| {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            bytes[place(start)..place(start.saturating_add(length))].to_vec()
        };
        Ok(objects.get(name).map(from))
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.lock().remove(name);
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        self.lock().clear();
        Ok(())
    }

    fn full_name(&self, name: &str) -> String {
        name.to_owned()
    }
}
