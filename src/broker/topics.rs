//! The topics: their names, settings and partitions, and where these lie on the disk.
//!
//! ```text
//! topics/7/0/00000000000000000000.log      topic 7, partition 0
//! ```
//! Directories carry numbers, so that a topic can be made again while its old files still go, and
//! names that differ in case only do not meet. Invariant: a directory that the journal does not
//! know is a leftover and is removed at the start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kafka_protocol::ResponseError;
use tracing::{error, info};
use uuid::Uuid;

use super::config::BrokerConfig;
use super::journal::{Event, Journal, TopicRecord};
use super::log::PartitionLog;
use super::partition::Partition;
use super::topic_config::TopicConfig;

/// Kafka's limit for the length of a name.
const NAME_BYTES_MAX: usize = 249;

/// All topics.
#[derive(Debug)]
pub(crate) struct Topics {
    broker: Arc<BrokerConfig>,
    journal: Arc<Journal>,
    dir: Option<PathBuf>,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held while topics are made, changed or deleted; the number of the next one.
    next_id: Mutex<u64>,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    id: u64,
    uid: Uuid,
    name: String,
    config: TopicConfig,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

/// Why something was not done, as a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ResponseError,
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal with a text.
    pub(crate) fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<ResponseError> for Refusal {
    fn from(code: ResponseError) -> Self {
        Self::new(code, code.to_string())
    }
}

impl Topics {
    /// Opens the topics that the journal knows; blocks on the disk.
    ///
    /// # Errors
    /// A directory or file cannot be read or written.
    pub(crate) fn open(
        broker: Arc<BrokerConfig>,
        journal: Arc<Journal>,
        records: BTreeMap<u64, TopicRecord>,
        next_id: u64,
    ) -> io::Result<Self> {
        let dir = broker.data_dir.as_ref().map(|dir| dir.join("topics"));
        if let Some(dir) = &dir {
            fs::create_dir_all(dir)?;
            remove_leftovers(dir, &records)?;
        }
        let topics = Self {
            broker,
            journal,
            dir,
            by_name: RwLock::default(),
            next_id: Mutex::new(next_id),
        };
        let mut by_name = BTreeMap::new();
        for (id, record) in records {
            let config = TopicConfig::try_new(record.configs).unwrap_or_default();
            let partitions =
                topics.open_partitions(id, 0..record.partitions, &config, &record.starts)?;
            let topic = Topic {
                id,
                uid: record.uid.parse().unwrap_or_default(),
                name: record.name.clone(),
                config,
                partitions: RwLock::new(partitions),
            };
            by_name.insert(record.name, Arc::new(topic));
        }
        *topics
            .by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner) = by_name;
        Ok(topics)
    }

    /// A topic by its name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .map(Arc::clone)
    }

    /// All topics, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.values().map(Arc::clone).collect()
    }

    /// A partition by its topic's name and its number.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn partition(
        &self,
        topic: &str,
        index: i32,
    ) -> Result<Arc<Partition>, ResponseError> {
        self.get(topic)
            .and_then(|topic| topic.partition(index))
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// Makes a topic; `partitions` of `None` means the default. With `validate_only`, only says
    /// whether it could be made.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: Option<i32>,
        configs: BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<i32, Refusal> {
        check_name(name)?;
        let count = partitions.unwrap_or(self.broker.default_partitions);
        let config = TopicConfig::try_new(configs)
            .map_err(|message| Refusal::new(ResponseError::InvalidConfig, message))?;
        let mut next_id = self.changing();
        if self.get(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(Refusal::new(ResponseError::TopicAlreadyExists, message));
        }
        self.check_partitions(0, count)?;
        if validate_only {
            return Ok(count);
        }
        let (id, uid) = (*next_id, Uuid::new_v4());
        let created = self.open_partitions(id, 0..count, &config, &BTreeMap::new());
        let recorded = created.and_then(|opened| {
            let topic = TopicRecord {
                name: name.to_owned(),
                uid: uid.to_string(),
                partitions: count,
                configs: config.given().clone(),
                starts: BTreeMap::new(),
            };
            self.journal
                .append(Event::TopicCreated { id, topic })
                .map(|()| opened)
        });
        let opened = recorded.map_err(|error| {
            self.remove_files(id);
            storage_refusal(name, &error)
        })?;
        *next_id += 1;
        let topic = Topic {
            id,
            uid,
            name: name.to_owned(),
            config,
            partitions: RwLock::new(opened),
        };
        self.insert(topic);
        info!(topic = name, partitions = count, "topic created");
        Ok(count)
    }

    /// Deletes a topic with its records.
    ///
    /// # Errors
    /// There is none, or the journal cannot be written.
    pub(crate) fn delete(&self, name: &str) -> Result<(), Refusal> {
        let _changing = self.changing();
        let topic = self
            .get(name)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        self.journal
            .append(Event::TopicDeleted { id: topic.id })
            .map_err(|error| storage_refusal(name, &error))?;
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        for partition in topic.partitions() {
            partition.set_deleted();
        }
        self.remove_files(topic.id);
        info!(topic = name, "topic deleted");
        Ok(())
    }

    /// Raises the number of a topic's partitions.
    ///
    /// # Errors
    /// Why it cannot be raised.
    pub(crate) fn add_partitions(
        &self,
        name: &str,
        count: i32,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let _changing = self.changing();
        let topic = self
            .get(name)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        let before = topic.partition_count();
        if count <= before {
            let message = format!(
                "Topic currently has {before} partitions, which is not below the requested {count}."
            );
            return Err(Refusal::new(ResponseError::InvalidPartitions, message));
        }
        self.check_partitions(before, count)?;
        if validate_only {
            return Ok(());
        }
        let added = self
            .open_partitions(topic.id, before..count, &topic.config, &BTreeMap::new())
            .and_then(|added| {
                let event = Event::PartitionsAdded {
                    id: topic.id,
                    partitions: count,
                };
                self.journal.append(event).map(|()| added)
            })
            .map_err(|error| storage_refusal(name, &error))?;
        topic
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(added);
        info!(topic = name, partitions = count, "partitions added");
        Ok(())
    }

    /// Deletes records before an offset (`None`: all); answers with the partition's start.
    ///
    /// # Errors
    /// There is no such partition or offset, or the journal cannot be written.
    pub(crate) fn delete_records(
        &self,
        name: &str,
        index: i32,
        before: Option<i64>,
    ) -> Result<i64, ResponseError> {
        let _changing = self.changing();
        let topic = self
            .get(name)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partition = topic
            .partition(index)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        let start = partition.delete_before(before)?;
        let event = Event::StartMoved {
            id: topic.id,
            partition: index,
            start,
        };
        self.journal
            .append(event)
            .map_err(|_| ResponseError::KafkaStorageError)?;
        Ok(start)
    }

    /// Changes a topic's settings; `None` takes one back to its default.
    ///
    /// # Errors
    /// Why they cannot be set.
    pub(crate) fn configure(
        &self,
        name: &str,
        changes: BTreeMap<String, Option<String>>,
        replace_all: bool,
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let _changing = self.changing();
        let topic = self
            .get(name)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        let mut given = if replace_all {
            BTreeMap::new()
        } else {
            topic.config.given().clone()
        };
        for (setting, value) in changes {
            match value {
                Some(value) => given.insert(setting, value),
                None => given.remove(&setting),
            };
        }
        let config = TopicConfig::try_new(given)
            .map_err(|message| Refusal::new(ResponseError::InvalidConfig, message))?;
        if validate_only {
            return Ok(());
        }
        let event = Event::TopicConfigured {
            id: topic.id,
            configs: config.given().clone(),
        };
        self.journal
            .append(event)
            .map_err(|error| storage_refusal(name, &error))?;
        for partition in topic.partitions() {
            partition.set_limits(config.limits(&self.broker));
        }
        let partitions = RwLock::new(topic.partitions());
        self.insert(Topic {
            id: topic.id,
            uid: topic.uid,
            name: name.to_owned(),
            config,
            partitions,
        });
        info!(topic = name, "topic configured");
        Ok(())
    }

    /// Drops what is older than the retention time of its topic.
    pub(crate) fn retain_time(&self, now_ms: i64) {
        for topic in self.all() {
            for partition in topic.partitions() {
                partition.retain_time(now_ms);
            }
        }
    }

    /// Leaves all logs as the next start wants them.
    pub(crate) fn close(&self) {
        for topic in self.all() {
            for partition in topic.partitions() {
                partition.close();
            }
        }
    }

    fn changing(&self) -> MutexGuard<'_, u64> {
        self.next_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, topic: Topic) {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(topic.name.clone(), Arc::new(topic));
    }

    fn check_partitions(&self, before: i32, count: i32) -> Result<(), Refusal> {
        if count < 1 {
            let message = "Number of partitions must be larger than 0.";
            return Err(Refusal::new(ResponseError::InvalidPartitions, message));
        }
        let there: usize = self
            .all()
            .iter()
            .map(|topic| topic.partitions().len())
            .sum();
        let added = usize::try_from(count - before).unwrap_or(usize::MAX);
        let limit = self.broker.partitions_max;
        if there.saturating_add(added) > limit {
            let message = format!("The embedded broker holds at most {limit} partitions.");
            return Err(Refusal::new(ResponseError::PolicyViolation, message));
        }
        Ok(())
    }

    fn open_partitions(
        &self,
        id: u64,
        indexes: std::ops::Range<i32>,
        config: &TopicConfig,
        starts: &BTreeMap<i32, i64>,
    ) -> io::Result<Vec<Arc<Partition>>> {
        let limits = config.limits(&self.broker);
        let open = |index: i32| {
            let dir = self.topic_dir(id).map(|dir| dir.join(index.to_string()));
            let start = starts.get(&index).copied().unwrap_or(0);
            PartitionLog::open(dir, limits, start).map(|log| Arc::new(Partition::new(log)))
        };
        indexes.map(open).collect()
    }

    fn topic_dir(&self, id: u64) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(id.to_string()))
    }

    fn remove_files(&self, id: u64) {
        let Some(dir) = self.topic_dir(id).filter(|dir| dir.exists()) else {
            return;
        };
        if let Err(error) = fs::remove_dir_all(&dir) {
            // The next start tries again.
            error!(dir = %dir.display(), %error, "the files of a topic could not be removed");
        }
    }
}

impl Topic {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from all other topics, also from an earlier one of its name.
    pub(crate) fn uid(&self) -> Uuid {
        self.uid
    }

    /// Its settings.
    pub(crate) fn config(&self) -> &TopicConfig {
        &self.config
    }

    /// How many partitions it has.
    pub(crate) fn partition_count(&self) -> i32 {
        let count = self
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        i32::try_from(count).expect("the count came from an i32")
    }

    /// One of its partitions.
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let partitions = self
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.get(usize::try_from(index).ok()?).map(Arc::clone)
    }

    /// All of its partitions.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_valid =
        !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX && name.chars().all(legal);
    if is_valid {
        return Ok(());
    }
    let message =
        "A topic name has 1 to 249 letters, digits, '.', '_' or '-', and is not '.' or '..'.";
    Err(Refusal::new(ResponseError::InvalidTopicException, message))
}

fn storage_refusal(name: &str, error: &io::Error) -> Refusal {
    error!(topic = name, %error, "the embedded broker cannot use its storage");
    Refusal::new(
        ResponseError::KafkaStorageError,
        format!("The broker's storage failed: {error}."),
    )
}

fn remove_leftovers(dir: &Path, records: &BTreeMap<u64, TopicRecord>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u64>().ok());
        if id.is_some_and(|id| !records.contains_key(&id)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
