//! The outboxes of a server, by sink: opened once, and kept while their queries come and go.
//!
//! ```text
//! DATA_DIR/outbox/HEX.redb    HEX: the sink's name, since that may hold any character
//! ```
//! Invariant: an outbox that is open has its delivery running, whatever its query does.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::delivery::{Courier, Delivery};
use super::message::{DeadLetter, OutboxState};
use super::queue::Outbox;
use crate::clock::SharedClock;
use crate::error::{Error, Result, SqlState};
use crate::task::{self, Shutdown, Stop};

const FOLDER: &str = "outbox";
const ENDING: &str = "redb";

/// What an outbox is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSettings {
    /// The sink's name.
    pub name: String,
    /// Bytes that may wait before the sink's query waits too.
    pub bytes_max: u64,
    /// After so many attempts a message becomes a dead letter; `None`: it is tried for ever.
    pub attempts_max: Option<u32>,
}

/// All outboxes of a server.
#[derive(Debug)]
pub struct Outboxes {
    /// `None`: in memory.
    dir: Option<PathBuf>,
    clock: SharedClock,
    open: Mutex<BTreeMap<String, Running>>,
}

/// An outbox with its delivery; dropping it ends that.
#[derive(Debug)]
struct Running {
    outbox: Arc<Outbox>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.outbox.close();
        self.stop.request();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(sink = %self.outbox.name(), "a delivering thread panicked");
        }
    }
}

impl Outboxes {
    /// Those in a data directory, or in memory where there is none.
    pub fn new(data_dir: Option<&Path>, clock: SharedClock) -> Self {
        Self {
            dir: data_dir.map(|dir| dir.join(FOLDER)),
            clock,
            open: Mutex::default(),
        }
    }

    /// The outbox of a sink; the first time it is opened and its delivery started, with what `courier` makes.
    /// A courier hears by the `Shutdown` when it is to give up what it is about.
    ///
    /// # Errors
    /// A file that is damaged, a disk that refuses, no thread left, what `courier` says.
    pub fn open(
        &self,
        settings: &OutboxSettings,
        courier: impl FnOnce(Shutdown) -> Result<Box<dyn Courier>>,
    ) -> Result<Arc<Outbox>> {
        let mut open = self.lock();
        if let Some(running) = open.get(&settings.name) {
            return Ok(Arc::clone(&running.outbox));
        }
        let (stop, shutdown) = task::shutdown();
        let courier = courier(shutdown)?;
        let name = settings.name.as_str();
        let clock = SharedClock::clone(&self.clock);
        let outbox = Outbox::open(self.place(name), name, settings.bytes_max, clock)?;
        let outbox = Arc::new(outbox);
        let delivery = Delivery::new(Arc::clone(&outbox), courier, settings.attempts_max);
        let thread = task::spawn_thread(&format!("deliver {name}"), move || delivery.run())
            .map_err(|error| Error::internal(format!("no thread to deliver on: {error}")))?;
        let running = Running {
            outbox: Arc::clone(&outbox),
            stop,
            thread: Some(thread),
        };
        open.insert(name.to_owned(), running);
        Ok(outbox)
    }

    /// Ends the outbox of a sink and forgets what it holds; gives how many messages waited, if it was open.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove(&self, name: &str) -> Result<u64> {
        let running = self.lock().remove(name);
        let waiting = running
            .as_ref()
            .map_or(0, |running| running.outbox.state().waiting);
        drop(running);
        match self.place(name) {
            Some(place) => removed(&place).map(|()| waiting),
            None => Ok(waiting),
        }
    }

    /// Forgets the outboxes of sinks that are not there any more: a crash may have left them.
    ///
    /// # Errors
    /// What the disk says.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) -> Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(told(dir, &error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| told(dir, &error))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let name = stem.and_then(name_of);
            if name.is_some_and(|name| !is_there(&name)) {
                removed(&path)?;
            }
        }
        Ok(())
    }

    /// How each stands, by sink.
    pub fn states(&self) -> Vec<(String, OutboxState)> {
        let open = self.lock();
        let state = |(name, running): (&String, &Running)| (name.clone(), running.outbox.state());
        open.iter().map(state).collect()
    }

    /// The messages that were given up, by sink, oldest first.
    ///
    /// # Errors
    /// What the disk says.
    pub fn dead_letters(&self) -> Result<Vec<(String, DeadLetter)>> {
        let outboxes: Vec<Arc<Outbox>> = self
            .lock()
            .values()
            .map(|running| Arc::clone(&running.outbox))
            .collect();
        let mut all = Vec::new();
        for outbox in outboxes {
            let letters = outbox.dead_letters()?.into_iter();
            all.extend(letters.map(|letter| (outbox.name().to_owned(), letter)));
        }
        Ok(all)
    }

    /// Ends every delivery, for the server's end.
    pub fn shutdown(&self) {
        let all = std::mem::take(&mut *self.lock());
        for running in all.values() {
            running.outbox.close();
            running.stop.request();
        }
    }

    fn place(&self, name: &str) -> Option<PathBuf> {
        let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        Some(self.dir.as_ref()?.join(hex).with_extension(ENDING))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn removed(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(told(path, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The name that a file is called after.
fn name_of(hex: &str) -> Option<String> {
    let digit = |index: usize| u8::from_str_radix(hex.get(index..index + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(digit).collect();
    String::from_utf8(bytes?).ok()
}

fn told(path: &Path, error: &std::io::Error) -> Error {
    Error::external(SqlState::IoError, true, format!("{}: {error}", path.display()))
}
