//! A place for checkpoints that refuses, loses and tears what is put there.
//!
//! Invariant: what it has said to be there is there, also after a crash.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::world::{World, passing};
use crate::checkpoint::{Fill, Storage};
use crate::error::Result;

const MANIFEST: &str = "checkpoint-";
/// A call fails once in so many times, at each of its moments.
const FAULTS: u64 = 60;

/// Objects that last through crashes; all clones are the same place.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    world: Arc<World>,
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Disk {
    pub(super) fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            objects: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, name: &str, bytes: &[u8]) {
        self.lock().insert(name.to_owned(), bytes.to_vec());
    }

    /// The first manifest is never torn: a query that has no other has nothing to go on from.
    fn may_tear(&self, name: &str) -> bool {
        let manifest = |other: &String| other.starts_with(MANIFEST) && other != name;
        !name.starts_with(MANIFEST) || self.lock().keys().any(manifest)
    }
}

impl Storage for Disk {
    fn put(&self, name: &str, fill: &mut Fill<'_>) -> Result<()> {
        let world = &self.world;
        let mut bytes = Vec::new();
        fill(&mut bytes as &mut dyn Write).expect("memory takes everything");
        world.may_refuse(FAULTS, &format!("{name} cannot be put"))?;
        world.may_crash(FAULTS, &format!("before {name} is put"));
        let torn = world.place(bytes.len());
        if self.may_tear(name) && world.fault(FAULTS, &format!("{name} is torn at {torn}")) {
            self.insert(name, &bytes[..torn]);
            world.may_crash(1, "with a torn file");
        }
        world.note(format!("  put {name}, {} bytes", bytes.len()));
        self.insert(name, &bytes);
        world.may_crash(FAULTS, &format!("after {name} was put"));
        match world.fault(FAULTS, &format!("{name} was put, and nobody says so")) {
            true => Err(passing("no answer")),
            false => Ok(()),
        }
    }

    fn read(&self, name: &str, start: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let fault = format!("{name} cannot be read");
        self.world.may_refuse(FAULTS, &fault)?;
        let objects = self.lock();
        let from = |bytes: &Vec<u8>| {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            bytes[place(start)..place(start.saturating_add(length))].to_vec()
        };
        Ok(objects.get(name).map(from))
    }

    fn list(&self) -> Result<Vec<String>> {
        self.world.may_refuse(FAULTS, "nothing can be listed")?;
        Ok(self.lock().keys().cloned().collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        let fault = format!("{name} cannot be deleted");
        self.world.may_refuse(FAULTS, &fault)?;
        self.world
            .may_crash(FAULTS, &format!("before {name} is deleted"));
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
