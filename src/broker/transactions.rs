//! The transaction coordinator: producers' ids and epochs, and how transactions end.
//!
//! Invariants: a transaction's outcome is in the journal before the first marker is written, so a
//! start after a crash carries it out; while a transaction is ending, its lock is held, so nothing
//! is written between its markers.
//!
//! ```text
//! Empty -> Ongoing -> Ending { commit } -> Ended { committed } -> Ongoing ..
//! ```
//! Lock order: one transaction, then a partition or the groups, then the journal.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use tracing::{error, warn};

use super::groups::{Caller, Groups};
use super::journal::{Event, GroupOffset, Journal, Phase, TransactionRecord};
use super::topics::Topics;
use crate::clock;

/// Producer ids are journalled in blocks, so that handing one out costs no write.
const IDS_RESERVED: i64 = 1000;
/// Apache Kafka's `transaction.max.timeout.ms`.
const TIMEOUT_MS_MAX: u32 = 15 * 60 * 1000;

/// All transactional ids, and the source of producer ids.
#[derive(Debug)]
pub(crate) struct Transactions {
    journal: Arc<Journal>,
    topics: Arc<Topics>,
    groups: Arc<Groups>,
    transactions_max: usize,
    by_id: Mutex<BTreeMap<String, Arc<Mutex<Transaction>>>>,
    producer_ids: Mutex<ProducerIds>,
}

#[derive(Debug)]
struct Transaction {
    id: String,
    record: TransactionRecord,
    /// When it is aborted if it is still going on.
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct ProducerIds {
    next: i64,
    /// Ids below this one are journalled as used.
    reserved: i64,
}

/// A producer as it names itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl Transactions {
    /// Takes over what the journal knows and carries out what was decided; blocks on the disk.
    pub(crate) fn open(
        journal: Arc<Journal>,
        topics: Arc<Topics>,
        groups: Arc<Groups>,
        transactions_max: usize,
        known: (BTreeMap<String, TransactionRecord>, i64),
    ) -> Self {
        let (records, next) = known;
        let transactions = Self {
            journal,
            topics,
            groups,
            transactions_max,
            by_id: Mutex::default(),
            producer_ids: Mutex::new(ProducerIds {
                next,
                reserved: next,
            }),
        };
        let now = clock::instant();
        for (id, record) in records {
            let mut transaction = Transaction {
                id: id.clone(),
                record,
                deadline: None,
            };
            transactions.resume(&mut transaction, now);
            transactions
                .by_id()
                .insert(id, Arc::new(Mutex::new(transaction)));
        }
        transactions.abort_orphans();
        transactions
    }

    /// Gives a producer its id and epoch. With a transactional id, producers that used it before
    /// are fenced and their open transaction is aborted; `current` is what such a producer has.
    ///
    /// # Errors
    /// The code that the producer is to see.
    pub(crate) fn init_producer(
        &self,
        transactional_id: Option<&str>,
        timeout_ms: i32,
        current: Option<Producer>,
    ) -> Result<Producer, ResponseError> {
        let Some(id) = transactional_id else {
            return Ok(Producer {
                id: self.next_producer_id()?,
                epoch: 0,
            });
        };
        let timeout_ms = u32::try_from(timeout_ms)
            .ok()
            .filter(|timeout_ms| (1..=TIMEOUT_MS_MAX).contains(timeout_ms))
            .ok_or(ResponseError::InvalidTransactionTimeout)?;
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let shared = self.get_or_insert(id)?;
        let mut transaction = lock(&shared);
        if let Some(current) = current {
            transaction.check(current)?;
        }
        self.finish_or_abort(&mut transaction)?;
        let mut record = transaction.record.clone();
        record.timeout_ms = timeout_ms;
        record.phase = Phase::Empty;
        if record.producer_id < 0 || record.epoch >= i16::MAX - 1 {
            record.producer_id = self.next_producer_id()?;
            record.epoch = 0;
        } else {
            record.epoch += 1;
        }
        self.store(&mut transaction, record)?;
        Ok(transaction.producer())
    }

    /// Takes partitions into a transaction, which begins if none is going on.
    ///
    /// # Errors
    /// The producer is fenced, or the last transaction is still ending.
    pub(crate) fn add_partitions(
        &self,
        id: &str,
        producer: Producer,
        partitions: Vec<(String, i32)>,
    ) -> Result<(), ResponseError> {
        self.extend(id, producer, |record| {
            let before = record.partitions.len();
            record.partitions.extend(partitions);
            record.partitions.len() > before
        })
    }

    /// Announces that a transaction will set a group's offsets.
    ///
    /// # Errors
    /// The producer is fenced, or the last transaction is still ending.
    pub(crate) fn add_group(&self, id: &str, producer: Producer) -> Result<(), ResponseError> {
        self.extend(id, producer, |_| false)
    }

    /// Sets a group's offsets as part of a transaction.
    ///
    /// # Errors
    /// The producer is fenced, no transaction is going on, or the group does not take them.
    pub(crate) fn add_offsets(
        &self,
        id: &str,
        producer: Producer,
        group: (&str, Caller<'_>),
        offsets: Vec<GroupOffset>,
    ) -> Result<(), ResponseError> {
        let shared = self.get(id)?;
        let mut transaction = lock(&shared);
        transaction.check(producer)?;
        if transaction.record.phase != Phase::Ongoing {
            return Err(ResponseError::InvalidTxnState);
        }
        let (group, caller) = group;
        self.groups.prepare(group, caller, producer.id, &offsets)?;
        let mut record = transaction.record.clone();
        record
            .offsets
            .entry(group.to_owned())
            .or_default()
            .extend(offsets);
        self.store(&mut transaction, record)
    }

    /// Commits or aborts. Asking again for the same outcome is fine.
    ///
    /// # Errors
    /// The producer is fenced, there is nothing to end, or the storage fails (it may ask again).
    pub(crate) fn end(
        &self,
        id: &str,
        producer: Producer,
        commit: bool,
    ) -> Result<(), ResponseError> {
        let shared = self.get(id)?;
        let mut transaction = lock(&shared);
        transaction.check(producer)?;
        match transaction.record.phase {
            Phase::Ongoing => {
                let epoch = transaction.record.epoch;
                self.decide(&mut transaction, epoch, commit)
            }
            Phase::Ending { commit: decided } if decided == commit => {
                self.carry_out(&mut transaction)
            }
            Phase::Ended { committed } if committed == commit => Ok(()),
            Phase::Empty | Phase::Ending { .. } | Phase::Ended { .. } => {
                Err(ResponseError::InvalidTxnState)
            }
        }
    }

    /// Runs an append that is part of a transaction, while it cannot end.
    ///
    /// # Errors
    /// The producer is fenced, the partition is not part of the transaction, or the append fails.
    pub(crate) fn within<T>(
        &self,
        id: Option<&str>,
        producer: Producer,
        partition: (&str, i32),
        append: impl FnOnce() -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        let shared = self.get(id.ok_or(ResponseError::InvalidTxnState)?)?;
        let transaction = lock(&shared);
        transaction.check(producer).map_err(|code| match code {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            other => other,
        })?;
        let (topic, index) = partition;
        let record = &transaction.record;
        let is_part = record
            .partitions
            .iter()
            .any(|(t, i)| t == topic && *i == index);
        if record.phase != Phase::Ongoing || !is_part {
            return Err(ResponseError::InvalidTxnState);
        }
        append()
    }

    /// Aborts transactions whose time is up, and carries out what could not be carried out before.
    pub(crate) fn tick(&self, now: Instant) {
        let all: Vec<_> = self.by_id().values().map(Arc::clone).collect();
        for shared in all {
            let mut transaction = lock(&shared);
            let is_late = transaction.deadline.is_some_and(|deadline| now >= deadline);
            let outcome = match transaction.record.phase {
                Phase::Ongoing if is_late => {
                    warn!(id = transaction.id, "an abandoned transaction is aborted");
                    self.fence_and_abort(&mut transaction)
                }
                Phase::Ending { .. } => self.carry_out(&mut transaction),
                Phase::Empty | Phase::Ongoing | Phase::Ended { .. } => Ok(()),
            };
            if let Err(error) = outcome {
                warn!(id = transaction.id, %error, "a transaction could not be ended, trying again");
            }
        }
    }

    fn resume(&self, transaction: &mut Transaction, now: Instant) {
        let Transaction { id, record, .. } = &*transaction;
        let producer_id = record.producer_id;
        let caller = Caller {
            member_id: "",
            instance: None,
            generation: -1,
        };
        for (group, offsets) in &record.offsets {
            if let Err(error) = self.groups.prepare(group, caller, producer_id, offsets) {
                warn!(id, group, %error, "the offsets of a transaction are not protected");
            }
        }
        match record.phase {
            Phase::Ongoing => transaction.deadline = Some(now + timeout(record)),
            Phase::Ending { .. } => {
                if let Err(error) = self.carry_out(transaction) {
                    warn!(id = transaction.id, %error, "a transaction could not be ended, trying again");
                }
            }
            Phase::Empty | Phase::Ended { .. } => {}
        }
    }

    /// Ends what a log holds open although no transaction is going on there: after a loss of power
    /// the journal may know less than the logs.
    fn abort_orphans(&self) {
        let by_id = self.by_id();
        let records: Vec<_> = by_id
            .values()
            .map(|shared| lock(shared).record.clone())
            .collect();
        for topic in self.topics.all() {
            for (index, partition) in (0..).zip(topic.partitions()) {
                for producer_id in partition.open_transactions() {
                    let of_producer = records
                        .iter()
                        .find(|record| record.producer_id == producer_id);
                    let place = (topic.name().to_owned(), index);
                    let is_live = of_producer.is_some_and(|record| {
                        !matches!(record.phase, Phase::Empty | Phase::Ended { .. })
                            && record.partitions.contains(&place)
                    });
                    if is_live {
                        continue;
                    }
                    let epoch = of_producer.map_or(0, |record| record.epoch);
                    warn!(
                        topic = topic.name(),
                        index, producer_id, "an unknown transaction is aborted"
                    );
                    if let Err(error) =
                        partition.end_transaction(producer_id, epoch, false, now_ms())
                    {
                        error!(topic = topic.name(), index, %error, "it could not be aborted");
                    }
                }
            }
        }
    }

    fn extend(
        &self,
        id: &str,
        producer: Producer,
        change: impl FnOnce(&mut TransactionRecord) -> bool,
    ) -> Result<(), ResponseError> {
        let shared = self.get(id)?;
        let mut transaction = lock(&shared);
        transaction.check(producer)?;
        let mut record = transaction.record.clone();
        let begins = match record.phase {
            Phase::Ongoing => false,
            Phase::Empty | Phase::Ended { .. } => true,
            Phase::Ending { .. } => return Err(ResponseError::ConcurrentTransactions),
        };
        record.phase = Phase::Ongoing;
        if change(&mut record) || begins {
            self.store(&mut transaction, record)?;
        }
        if begins {
            transaction.deadline = Some(clock::instant() + timeout(&transaction.record));
        }
        Ok(())
    }

    fn finish_or_abort(&self, transaction: &mut Transaction) -> Result<(), ResponseError> {
        let outcome = match transaction.record.phase {
            Phase::Ongoing => self.fence_and_abort(transaction),
            Phase::Ending { .. } => self.carry_out(transaction),
            Phase::Empty | Phase::Ended { .. } => Ok(()),
        };
        outcome.map_err(|_| ResponseError::ConcurrentTransactions)
    }

    /// The markers carry a higher epoch, so that the logs refuse the old producer, too.
    fn fence_and_abort(&self, transaction: &mut Transaction) -> Result<(), ResponseError> {
        let epoch = transaction.record.epoch.saturating_add(1);
        self.decide(transaction, epoch, false)
    }

    fn decide(
        &self,
        transaction: &mut Transaction,
        epoch: i16,
        commit: bool,
    ) -> Result<(), ResponseError> {
        let phase = Phase::Ending { commit };
        let record = TransactionRecord {
            epoch,
            phase,
            ..transaction.record.clone()
        };
        self.store(transaction, record)?;
        transaction.deadline = None;
        self.carry_out(transaction)
    }

    fn carry_out(&self, transaction: &mut Transaction) -> Result<(), ResponseError> {
        let Transaction { id, record, .. } = transaction;
        let Phase::Ending { commit } = record.phase else {
            return Ok(());
        };
        for (topic, index) in &record.partitions {
            match self.topics.partition(topic, *index) {
                Ok(partition) => {
                    partition.end_transaction(
                        record.producer_id,
                        record.epoch,
                        commit,
                        now_ms(),
                    )?;
                }
                Err(_deleted) => {}
            }
        }
        let event = Event::TransactionEnded { id: id.clone() };
        self.journal
            .append(event)
            .map_err(|error| storage_error(id, &error))?;
        self.groups
            .decide(record.producer_id, &record.offsets, commit);
        record.end();
        Ok(())
    }

    fn store(
        &self,
        transaction: &mut Transaction,
        record: TransactionRecord,
    ) -> Result<(), ResponseError> {
        let id = transaction.id.clone();
        let event = Event::Transaction {
            id,
            transaction: record.clone(),
        };
        self.journal
            .append(event)
            .map_err(|error| storage_error(&transaction.id, &error))?;
        transaction.record = record;
        Ok(())
    }

    fn get(&self, id: &str) -> Result<Arc<Mutex<Transaction>>, ResponseError> {
        let by_id = self.by_id();
        by_id
            .get(id)
            .map(Arc::clone)
            .ok_or(ResponseError::InvalidProducerIdMapping)
    }

    fn get_or_insert(&self, id: &str) -> Result<Arc<Mutex<Transaction>>, ResponseError> {
        let mut by_id = self.by_id();
        if let Some(there) = by_id.get(id) {
            return Ok(Arc::clone(there));
        }
        if by_id.len() >= self.transactions_max {
            return Err(ResponseError::PolicyViolation);
        }
        let record = TransactionRecord {
            producer_id: -1,
            epoch: -1,
            timeout_ms: 0,
            phase: Phase::Empty,
            partitions: Default::default(),
            offsets: BTreeMap::new(),
        };
        let transaction = Transaction {
            id: id.to_owned(),
            record,
            deadline: None,
        };
        let shared = Arc::new(Mutex::new(transaction));
        by_id.insert(id.to_owned(), Arc::clone(&shared));
        Ok(shared)
    }

    fn next_producer_id(&self) -> Result<i64, ResponseError> {
        let mut ids = self
            .producer_ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if ids.next == ids.reserved {
            let next = ids.reserved + IDS_RESERVED;
            self.journal
                .append(Event::ProducerIdsReserved { next })
                .map_err(|error| storage_error("producer ids", &error))?;
            ids.reserved = next;
        }
        ids.next += 1;
        Ok(ids.next - 1)
    }

    fn by_id(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<Transaction>>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transaction {
    fn producer(&self) -> Producer {
        Producer {
            id: self.record.producer_id,
            epoch: self.record.epoch,
        }
    }

    fn check(&self, producer: Producer) -> Result<(), ResponseError> {
        if producer.id != self.record.producer_id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.epoch != self.record.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(())
    }
}

fn lock(shared: &Arc<Mutex<Transaction>>) -> MutexGuard<'_, Transaction> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn timeout(record: &TransactionRecord) -> Duration {
    Duration::from_millis(u64::from(record.timeout_ms))
}

fn now_ms() -> i64 {
    clock::wall_micros() / 1000
}

fn storage_error(id: &str, error: &io::Error) -> ResponseError {
    error!(id, %error, "the embedded broker cannot use its storage");
    ResponseError::CoordinatorNotAvailable
}

#[cfg(test)]
mod tests;
