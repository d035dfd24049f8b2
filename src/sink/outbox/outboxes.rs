//! The outboxes of a server, by sink: opened once, and kept while their queries come and go.
//!
//! ```text
//! DATA_DIR/outbox/HEX.redb        HEX: the sink's name, since that may hold any character
//! DATA_DIR/outbox/HEX-HEX.redb    an alert's name, and that of a sink that it notifies
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

/// Whose an outbox is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxName {
    /// The name of the query that fills it.
    pub query: String,
    /// The sink, where the query fills the outboxes of several.
    pub sink: Option<String>,
}

impl OutboxName {
    /// As it is shown, and as keys begin.
    pub fn text(&self) -> String {
        match &self.sink {
            Some(sink) => format!("{}/{sink}", self.query),
            None => self.query.clone(),
        }
    }

    fn file_stem(&self) -> String {
        let hex = |name: &str| -> String { name.bytes().map(|b| format!("{b:02x}")).collect() };
        match &self.sink {
            Some(sink) => format!("{}-{}", hex(&self.query), hex(sink)),
            None => hex(&self.query),
        }
    }
}

/// What an outbox is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSettings {
    /// Whose it is.
    pub name: OutboxName,
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
    open: Mutex<BTreeMap<OutboxName, Running>>,
}

/// What the thread of an outbox does until that is closed.
pub(in crate::sink) type Work = Box<dyn FnOnce() + Send>;

/// An outbox with its delivery.
#[derive(Debug)]
struct Running {
    outbox: Arc<Outbox>,
    delivery: Delivering,
    /// What the courier was made of.
    made_of: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// A thread that delivers; dropping it ends it, once its outbox is closed or has another one.
#[derive(Debug)]
struct Delivering {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Delivering {
    fn drop(&mut self) {
        self.end();
    }
}

impl Delivering {
    fn end(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a delivering thread panicked");
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

    /// The outbox of a sink; the first time it is opened and its delivery started, with what `courier` makes,
    /// and later when that is made of something else than before. A courier hears by the `Shutdown` when it
    /// is to give up what it is about.
    ///
    /// # Errors
    /// A file that is damaged, a disk that refuses, no thread left, what `courier` says.
    pub fn open(
        &self,
        settings: &OutboxSettings,
        made_of: String,
        courier: impl FnOnce(Shutdown) -> Result<Box<dyn Courier>>,
    ) -> Result<Arc<Outbox>> {
        let attempts_max = settings.attempts_max;
        self.open_with(settings, made_of, |outbox, shutdown| {
            let delivery = Delivery::new(outbox, courier(shutdown)?, attempts_max);
            Ok(Box::new(move || delivery.run()))
        })
    }

    /// The same with whatever is to bring away what waits.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(in crate::sink) fn open_with(
        &self,
        settings: &OutboxSettings,
        made_of: String,
        work: impl FnOnce(Arc<Outbox>, Shutdown) -> Result<Work>,
    ) -> Result<Arc<Outbox>> {
        let mut open = self.lock();
        if let Some(running) = open.get_mut(&settings.name) {
            let outbox = Arc::clone(&running.outbox);
            if running.made_of != made_of {
                outbox.new_deliverer();
                running.delivery.end();
                running.delivery = Delivering::start(&outbox, work)?;
                running.made_of = made_of;
                outbox.set_bytes_max(settings.bytes_max);
            }
            return Ok(outbox);
        }
        let name = settings.name.text();
        let clock = SharedClock::clone(&self.clock);
        let outbox = Outbox::open(self.place(&settings.name), &name, settings.bytes_max, clock)?;
        let outbox = Arc::new(outbox);
        let running = Running {
            delivery: Delivering::start(&outbox, work)?,
            outbox: Arc::clone(&outbox),
            made_of,
        };
        open.insert(settings.name.clone(), running);
        Ok(outbox)
    }

    /// How many rows wait in the outboxes that a query fills.
    pub fn waiting(&self, query: &str) -> u64 {
        let open = self.lock();
        let own = open.iter().filter(|(name, _)| name.query == query);
        own.map(|(_, running)| running.outbox.state().waiting).sum()
    }

    /// How the outboxes that a query fills stand.
    pub fn of_query(&self, query: &str) -> Vec<(OutboxName, OutboxState)> {
        let mut states = self.states();
        states.retain(|(name, _)| name.query == query);
        states
    }

    /// Ends the outboxes that a query fills and forgets what they hold; gives how many rows waited.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove(&self, query: &str) -> Result<u64> {
        let gone: BTreeMap<OutboxName, Running> = self
            .lock()
            .extract_if(.., |name, _| name.query == query)
            .collect();
        let waiting = gone.values().map(|one| one.outbox.state().waiting).sum();
        // Nobody else waits until a courier gives up what it is about.
        end(gone);
        self.retain(|name| name != query).map(|()| waiting)
    }

    /// The same for those that queries fill for a sink which tells them no more by one.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove_sink(&self, sink: &str) -> Result<u64> {
        let of_sink = |name: &OutboxName| name.sink.as_deref() == Some(sink);
        let gone: BTreeMap<OutboxName, Running> = self
            .lock()
            .extract_if(.., |name, _| of_sink(name))
            .collect();
        let waiting = gone.values().map(|one| one.outbox.state().waiting).sum();
        let places: Vec<PathBuf> = gone.keys().filter_map(|name| self.place(name)).collect();
        end(gone);
        for path in places {
            fs::remove_file(&path).map_err(|error| told(&path, &error))?;
        }
        Ok(waiting)
    }

    /// Forgets the outboxes of queries that are not there any more: a crash may have left them.
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
            let hex = stem.map(|stem| stem.split('-').next().unwrap_or_default());
            if hex.and_then(text_of).is_some_and(|name| !is_there(&name)) {
                fs::remove_file(&path).map_err(|error| told(&path, &error))?;
            }
        }
        Ok(())
    }

    /// How each stands.
    pub fn states(&self) -> Vec<(OutboxName, OutboxState)> {
        let open = self.lock();
        let state =
            |(name, running): (&OutboxName, &Running)| (name.clone(), running.outbox.state());
        open.iter().map(state).collect()
    }

    /// The messages that were given up, oldest first.
    ///
    /// # Errors
    /// What the disk says.
    pub fn dead_letters(&self) -> Result<Vec<(OutboxName, DeadLetter)>> {
        let open = self.lock();
        let outboxes = open
            .iter()
            .map(|(name, running)| (name.clone(), Arc::clone(&running.outbox)));
        let outboxes: Vec<(OutboxName, Arc<Outbox>)> = outboxes.collect();
        drop(open);
        let mut all = Vec::new();
        for (name, outbox) in outboxes {
            let letters = outbox.dead_letters()?.into_iter();
            all.extend(letters.map(|letter| (name.clone(), letter)));
        }
        Ok(all)
    }

    /// Ends every delivery, for the server's end.
    pub fn shutdown(&self) {
        let all = std::mem::take(&mut *self.lock());
        end(all);
    }

    fn place(&self, name: &OutboxName) -> Option<PathBuf> {
        let dir = self.dir.as_ref()?;
        Some(dir.join(name.file_stem()).with_extension(ENDING))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OutboxName, Running>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delivering {
    fn start(
        outbox: &Arc<Outbox>,
        work: impl FnOnce(Arc<Outbox>, Shutdown) -> Result<Work>,
    ) -> Result<Self> {
        let (stop, shutdown) = task::shutdown();
        let work = work(Arc::clone(outbox), shutdown)?;
        let thread = task::spawn_thread("deliver", work)
            .map_err(|error| Error::internal(format!("no thread to deliver on: {error}")))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

/// Ends them: all are told before the first is waited for.
fn end(outboxes: BTreeMap<OutboxName, Running>) {
    for running in outboxes.values() {
        running.outbox.close();
        running.delivery.stop.request();
    }
    drop(outboxes);
}

/// The text that bytes in hexadecimal are.
fn text_of(hex: &str) -> Option<String> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

fn told(path: &Path, error: &std::io::Error) -> Error {
    Error::external(
        SqlState::IoError,
        true,
        format!("{}: {error}", path.display()),
    )
}
