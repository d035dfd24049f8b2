//! The loop of a feed: next → keys → rate → deliver → save → confirm.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::json_path::{self, JsonPath};
use super::notes::Notes;
use super::pacing::Rate;
use super::resume::Resume;
use super::target::{Outbound, Target};
use super::{Batch, Source, SourceOptions};
use crate::clock;
use crate::error::{Error, Fault, Result, SqlState};
use crate::task::{self, Shutdown};
use crate::types::KafkaConnection;

/// Messages that are delivered together at the most.
const BATCH_MESSAGES_MAX: usize = 5_000;
/// How long what is under way may take after a stop was asked for.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// One feed.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// Where messages come from.
    pub source: SourceOptions,
    /// What the source is called in the file of `resume`: another source has another name.
    pub name: String,
    /// The cluster.
    pub connection: KafkaConnection,
    /// The topic.
    pub topic: String,
    /// Partitions of the topic, if it is to be made when it is not there.
    pub create_topic: Option<u32>,
    /// Where in a message its key is.
    pub key_path: Option<JsonPath>,
    /// Messages a second at the most; above zero.
    pub rate: Option<u32>,
    /// The file that remembers how far it came.
    pub resume: Option<PathBuf>,
    /// It ends after so many messages.
    pub limit: Option<u64>,
}

/// A feed that is ready to run.
pub struct Feed {
    source: Box<dyn Source>,
    target: Arc<Mutex<Target>>,
    key_path: Option<JsonPath>,
    rate: Option<Rate>,
    /// Messages that may still be sent.
    left: u64,
    resume: Option<Resume>,
    start: Instant,
    notes: Arc<Notes>,
}

impl Feed {
    /// Opens both ends.
    ///
    /// # Errors
    /// What does not pass by itself: an unknown topic, a file that cannot be read, a port that is taken.
    pub async fn open(options: FeedOptions, notes: Arc<Notes>) -> Result<Self> {
        let (resume, position) = match options.resume {
            None => (None, None),
            Some(path) => {
                let feed = format!("{} to topic \"{}\"", options.name, options.topic);
                let (resume, position) = Resume::open(path, feed)?;
                (Some(resume), position)
            }
        };
        let source = options.source.open(position, &notes).await?;
        let (connection, topic) = (options.connection, options.topic);
        let create = options.create_topic;
        let target = task::spawn_blocking(move || Target::open(connection, topic, create)).await?;
        Ok(Self {
            source,
            target: Arc::new(Mutex::new(target)),
            key_path: options.key_path,
            rate: options.rate.map(Rate::new),
            left: options.limit.unwrap_or(u64::MAX),
            resume,
            start: clock::instant(),
            notes,
        })
    }

    /// Where its source listens, if messages are sent to it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.source.address()
    }

    /// Runs until the source ends, the limit is reached or it is told to stop; what was read is
    /// delivered by then.
    ///
    /// # Errors
    /// What does not pass by itself: a topic that is gone, a refused token.
    pub async fn run(mut self, mut shutdown: Shutdown) -> Result<()> {
        let done = self.pump(&mut shutdown).await;
        self.source.close().await;
        done
    }

    async fn pump(&mut self, shutdown: &mut Shutdown) -> Result<()> {
        while self.left > 0 {
            let messages_max = self.messages_max();
            let next = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                next = self.source.next(messages_max) => next?,
            };
            let Some(batch) = next else {
                return Ok(());
            };
            self.pass_on(batch, shutdown).await?;
        }
        if self.left > 0 {
            // What was read from a pipe is there only once.
            let mut rest = self.source.rest();
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            rest.payloads.truncate(left);
            self.rate = None;
            self.pass_on(rest, shutdown).await?;
        }
        Ok(())
    }

    /// How many messages to ask for.
    fn messages_max(&self) -> usize {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let portion = self.rate.as_ref().map_or(BATCH_MESSAGES_MAX, Rate::portion);
        portion.min(BATCH_MESSAGES_MAX).min(left)
    }

    /// Delivers a batch and remembers that it was delivered.
    async fn pass_on(&mut self, batch: Batch, shutdown: &mut Shutdown) -> Result<()> {
        let position = batch.position;
        let messages = self.keyed(batch.payloads);
        if let Some(rate) = &mut self.rate {
            clock::sleep(rate.wait(self.start.elapsed(), messages.len())).await;
        }
        self.deliver(messages, shutdown).await?;
        if let (Some(resume), Some(position)) = (self.resume.clone(), position) {
            task::spawn_blocking(move || resume.save(position)).await?;
        }
        self.source.confirmed().await;
        Ok(())
    }

    /// The messages with their keys; those whose key cannot be looked for are left out.
    fn keyed(&self, payloads: Vec<Vec<u8>>) -> Vec<Outbound> {
        let keyed = |payload: Vec<u8>| match key_of(&payload, self.key_path.as_ref()) {
            Ok(key) => Some(Outbound { key, payload }),
            Err(reason) => {
                self.notes.skipped(reason);
                None
            }
        };
        payloads.into_iter().filter_map(keyed).collect()
    }

    /// Delivers messages, again and again while Kafka is away. One that is too large for the topic is
    /// found by halving, and left out.
    async fn deliver(&mut self, messages: Vec<Outbound>, shutdown: &mut Shutdown) -> Result<()> {
        let mut parts = vec![messages];
        let mut backoff = Backoff::default();
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let delivered;
            (part, delivered) = self.try_deliver(part, shutdown).await?;
            let Err(error) = delivered else {
                self.notes.delivered(part.len());
                self.left = self.left.saturating_sub(part.len() as u64);
                backoff.succeeded();
                continue;
            };
            if error.state() == SqlState::ProgramLimitExceeded {
                if part.len() == 1 {
                    self.notes.skipped(&error);
                } else {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                continue;
            }
            if error.fault() != (Fault::External { retry: true }) || shutdown.is_requested() {
                return Err(error);
            }
            let wait = backoff.failed(fastrand::f64(), None);
            self.notes.failed(&error, wait);
            parts.push(part);
            tokio::select! {
                () = clock::sleep(wait) => {}
                () = shutdown.requested() => {}
            }
        }
        Ok(())
    }

    /// Delivers messages once, and gives them back; after a failure the next try has a new client.
    async fn try_deliver(
        &self,
        messages: Vec<Outbound>,
        shutdown: &mut Shutdown,
    ) -> Result<(Vec<Outbound>, Result<()>)> {
        let target = Arc::clone(&self.target);
        let deliver = task::spawn_blocking(move || {
            let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
            let delivered = target.deliver(&messages);
            if delivered.is_err() {
                target.reconnect()?;
            }
            Ok((messages, delivered))
        });
        let too_late = async {
            shutdown.requested().await;
            clock::sleep(STOP_TIME_MAX).await;
        };
        tokio::select! {
            done = deliver => done,
            () = too_late => {
                let message = "kafka did not confirm the last messages in time";
                Err(Error::external(SqlState::ConnectionFailure, true, message))
            }
        }
    }
}

/// The key of a message: the string's content, or another value as JSON has it; `None` for null and
/// where there is no such field.
fn key_of(payload: &[u8], path: Option<&JsonPath>) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = std::str::from_utf8(payload).map_err(|_| "not UTF-8".to_owned())?;
    let value = path.find(text)?.and_then(json_path::plain);
    Ok(value.map(String::into_bytes))
}

#[cfg(test)]
mod tests {
    use super::key_of;

    #[test]
    fn a_key_is_the_text_of_a_value() {
        let path = "a.b".parse().unwrap();
        let key = |text: &str| key_of(text.as_bytes(), Some(&path));
        assert_eq!(key(r#"{"a":{"b":"x y"}}"#), Ok(Some(b"x y".to_vec())));
        assert_eq!(key(r#"{"a":{"b":1.50}}"#), Ok(Some(b"1.50".to_vec())));
        assert_eq!(key(r#"{"a":{"b":null}}"#), Ok(None));
        assert_eq!(key(r#"{"a":1}"#), Ok(None));
        assert!(key("a,b").is_err());
        assert_eq!(
            key_of(b"\xff", None),
            Ok(None),
            "nothing is looked at without a path"
        );
    }
}
