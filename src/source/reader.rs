//! The one door to messages: reads by the direct fetch where that serves, by librdkafka elsewhere.
//!
//! Invariant: changing from the one to the other, a reader neither loses nor repeats a message, and a
//! [`Waker`] that was given out before wakes it still.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::direct::{DirectReader, DirectWaker, Stop};
use super::kafka::{LibraryReader, LibraryWaker};
use super::read::{FetchedBy, PartitionEnd, Read, ReaderOptions, WhyLibrary};
use crate::error::{Error, Result, SqlState};
use crate::types::{FetchMode, PartitionId};

/// Reads messages. Its calls block, so it belongs on a thread of its own; dropping it returns at
/// once.
#[derive(Debug)]
pub struct Reader {
    reading: Reading,
    /// Whom wakers wake now.
    target: Arc<Mutex<Target>>,
    options: ReaderOptions,
}

#[derive(Debug)]
enum Reading {
    Direct(Box<DirectReader>),
    Library(Box<LibraryReader>, WhyLibrary),
}

#[derive(Debug, Clone)]
enum Target {
    Direct(DirectWaker),
    Library(LibraryWaker),
}

/// Ends a waiting [`Reader::read`] early, from another thread.
#[derive(Debug, Clone)]
pub struct Waker(Weak<Mutex<Target>>);

impl Waker {
    /// One that wakes no reader.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        Self(Weak::new())
    }

    /// Makes the read that waits now, or the next one, return at once. Does nothing when the reader
    /// is gone.
    pub fn wake(&self) {
        let Some(target) = self.0.upgrade() else {
            return;
        };
        match &*target.lock().unwrap_or_else(PoisonError::into_inner) {
            Target::Direct(waker) => waker.wake(),
            Target::Library(waker) => waker.wake(),
        }
    }
}

impl Reader {
    /// Begins to fetch. Does not wait for a broker.
    ///
    /// # Errors
    /// When a property under `kafka.` is unknown or invalid, or the direct fetch is asked for and
    /// cannot serve.
    pub fn open(options: ReaderOptions) -> Result<Self> {
        assert!(options.rows_max > 0, "a read takes at least one message");
        let reading = match options.fetch {
            FetchMode::Librdkafka => library(&options, WhyLibrary::Asked)?,
            FetchMode::Auto | FetchMode::Direct => match DirectReader::open(&options) {
                Ok(reader) => Reading::Direct(Box::new(reader)),
                Err(Stop::Unserved(why)) => instead(&options, why)?,
                Err(Stop::Failed(error)) => return Err(error),
            },
        };
        Ok(Self {
            target: Arc::new(Mutex::new(reading.target())),
            reading,
            options,
        })
    }

    /// Waits up to `timeout` for one message, a partition's end or a problem, and returns with what
    /// is there by then, up to the limits.
    ///
    /// # Errors
    /// What does not pass by itself: the topic is gone, an offset is no longer there, the broker
    /// refuses the user, a record cannot be read.
    pub fn read(&mut self, timeout: Duration) -> Result<Read> {
        let stop = match &mut self.reading {
            Reading::Library(reader, _) => return reader.read(timeout),
            Reading::Direct(reader) => match reader.read(timeout) {
                Ok(read) => return Ok(read),
                Err(stop) => stop,
            },
        };
        match stop {
            Stop::Failed(error) => Err(error),
            Stop::Unserved(why) => {
                self.go_over(why)?;
                self.read(timeout)
            }
        }
    }

    /// A handle with which another thread ends a waiting read.
    pub fn waker(&self) -> Waker {
        Waker(Arc::downgrade(&self.target))
    }

    /// The partitions that the topic has now; `None` when the broker does not answer in time.
    pub fn partitions(&mut self, timeout: Duration) -> Option<Vec<PartitionId>> {
        match &mut self.reading {
            Reading::Direct(reader) => reader.partitions(timeout),
            Reading::Library(reader, _) => reader.partitions(timeout),
        }
    }

    /// Where the partitions end, as far as that was told with the last answers.
    pub fn known_ends(&self) -> Vec<PartitionEnd> {
        match &self.reading {
            Reading::Direct(reader) => reader.known_ends(),
            Reading::Library(reader, _) => reader.known_ends(),
        }
    }

    /// Who fetches now.
    pub fn fetched_by(&self) -> FetchedBy {
        match &self.reading {
            Reading::Direct(_) => FetchedBy::Direct,
            Reading::Library(_, why) => FetchedBy::Librdkafka(*why),
        }
    }

    /// Reads on by the library, from where the direct fetch stands.
    fn go_over(&mut self, why: WhyLibrary) -> Result<()> {
        if let Reading::Direct(reader) = &self.reading {
            self.options.assignment = reader.positions();
        }
        self.reading = instead(&self.options, why)?;
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = self.reading.target();
        Ok(())
    }
}

impl Reading {
    fn target(&self) -> Target {
        match self {
            Self::Direct(reader) => Target::Direct(reader.waker()),
            Self::Library(reader, _) => Target::Library(reader.waker()),
        }
    }
}

fn library(options: &ReaderOptions, why: WhyLibrary) -> Result<Reading> {
    let reader = LibraryReader::open(options.clone())?;
    Ok(Reading::Library(Box::new(reader), why))
}

/// The library in place of the direct fetch, unless that alone will do.
fn instead(options: &ReaderOptions, why: WhyLibrary) -> Result<Reading> {
    if options.fetch == FetchMode::Direct {
        let topic = &options.topic;
        let text = format!("topic \"{topic}\" cannot be read by the direct fetch");
        return Err(Error::user(SqlState::FeatureNotSupported, text)
            .detail(super::kafka::client::sentence(&why.to_string()))
            .hint("Leave the table's option fetch out, or set it to 'auto' or 'librdkafka'."));
    }
    let reading = library(options, why)?;
    tracing::info!(topic = %options.topic, %why, "librdkafka reads in place of the direct fetch");
    Ok(reading)
}
