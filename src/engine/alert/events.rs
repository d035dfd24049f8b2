//! What alerts have told, and what people said of them: a file of its own in the data directory.
//!
//! ```text
//! alert's epoch ends ─► events, the epoch's number: one transaction ─► who listens
//! ACK, SILENCE ───────► the alert's record
//! ```
//! Invariants: the notifications of an epoch are kept as a whole with its number, or not at all; who
//! listens hears of none that is not kept; the oldest make room for new ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::alert::Notification;
use crate::error::{Error, Result};
use crate::redb_file::{About, Fault, RedbFile};

const FILE: &str = "alerts.redb";
const ABOUT: About = About {
    what: "the notifications of alerts",
    hint: "Put back a copy of the file; or move it away, drop the alerts and create them again.",
};
/// Notifications by number, as JSON.
const EVENTS: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("events");
/// What is known of an alert, by its name, as JSON.
const ALERTS: TableDefinition<'static, &'static str, &'static [u8]> =
    TableDefinition::new("alerts");
/// So many notifications wait for who listens; who is slower misses the oldest.
const HEARD_MAX: usize = 10_000;

/// What is known of an alert beside its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Tells it from earlier alerts of its name.
    pub generation: u64,
    /// Its last epoch, if it had one.
    pub epoch: Option<u64>,
    /// Who has committed that.
    pub writer: Option<u64>,
    /// Nobody is told before this: microseconds since the Unix epoch.
    pub silenced_until: Option<i64>,
    /// The keys that somebody has seen to, each with the transition that this was.
    pub acked: BTreeMap<String, u64>,
}

/// What alerts have told.
#[derive(Debug)]
pub struct AlertEvents {
    inner: Mutex<Inner>,
    heard: broadcast::Sender<Arc<str>>,
}

#[derive(Debug)]
struct Inner {
    store: RedbFile,
    rows_max: usize,
    /// The numbers of the first notification kept, and of the next.
    numbers: (u64, u64),
    records: BTreeMap<String, AlertRecord>,
}

impl AlertEvents {
    /// What is kept in a data directory, or in memory where there is none.
    ///
    /// # Errors
    /// A file that is damaged, a disk that refuses.
    pub fn open(dir: Option<&Path>, rows_max: usize) -> Result<Self> {
        let mut store = RedbFile::open(dir.map(|dir| dir.join(FILE)), ABOUT)?;
        let (numbers, texts) = store.read(|read| Ok((numbers(read)?, records(read)?)))?;
        let parsed = texts
            .into_iter()
            .map(|(name, text)| Ok((name, parse(&text)?)));
        let records = parsed.collect::<Result<_>>()?;
        let (heard, _) = broadcast::channel(HEARD_MAX);
        let inner = Mutex::new(Inner {
            store,
            rows_max: rows_max.max(1),
            numbers,
            records,
        });
        Ok(Self { inner, heard })
    }

    /// The notifications kept, oldest first.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn all(&self) -> Result<Vec<Notification>> {
        let texts = self.lock().store.read(|read| {
            let Some(table) = there(read.open_table(EVENTS))? else {
                return Ok(Vec::new());
            };
            let rows = table.iter()?;
            rows.map(|row| Ok(row?.1.value().to_vec())).collect()
        })?;
        texts.iter().map(|text| parse(text)).collect()
    }

    /// What is known of an alert.
    pub fn record(&self, alert: &str) -> Option<AlertRecord> {
        self.lock().records.get(alert).cloned()
    }

    /// Hears of each notification from here on, as JSON.
    pub fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.heard.subscribe()
    }

    /// Nobody is told of an alert before this.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn silence(&self, alert: &str, until: Option<i64>) -> Result<()> {
        self.change(alert, |record| record.silenced_until = until)
    }

    /// Somebody has seen to these keys of an alert, as they are after these transitions.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn ack(&self, alert: &str, keys: Vec<(String, u64)>) -> Result<()> {
        self.change(alert, |record| record.acked.extend(keys))
    }

    /// A new alert of this name begins.
    pub(super) fn begin(&self, alert: &str) -> Result<u64> {
        let generation = uuid::Uuid::new_v4().as_u64_pair().0;
        self.change(alert, |record| {
            *record = AlertRecord {
                generation,
                ..AlertRecord::default()
            };
        })?;
        Ok(generation)
    }

    /// The alert is gone; what it has told stays.
    pub(in crate::engine) fn forget(&self, alert: &str) -> Result<()> {
        let mut inner = self.lock();
        if inner.records.remove(alert).is_none() {
            return Ok(());
        }
        inner.store.write(|write| {
            write.open_table(ALERTS)?.remove(alert)?;
            Ok(())
        })
    }

    /// An alert's epoch ends, in which it has told this; who is to be told hears of it.
    pub(super) fn commit(
        &self,
        alert: &str,
        (epoch, writer): (u64, Option<u64>),
        told: &[Notification],
    ) -> Result<()> {
        let mut inner = self.lock();
        let mut record = inner.records.get(alert).cloned().unwrap_or_default();
        (record.epoch, record.writer) = (Some(epoch), writer);
        for one in told {
            // What has ended need not be remembered as seen.
            record.acked.retain(|key, _| *key != one.key);
        }
        let (text, rows) = (text_of(&record)?, told.iter().map(text_of));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let (first, next) = inner.numbers;
        let end = next + rows.len() as u64;
        let kept_from = first.max(end.saturating_sub(inner.rows_max as u64));
        inner.store.write(|write| {
            write.open_table(ALERTS)?.insert(alert, text.as_slice())?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut table = write.open_table(EVENTS)?;
            for (number, row) in (next..).zip(&rows) {
                table.insert(number, row.as_slice())?;
            }
            (first..kept_from).try_for_each(|number| table.remove(number).map(drop))?;
            Ok(())
        })?;
        inner.records.insert(alert.to_owned(), record);
        inner.numbers = (kept_from, end);
        drop(inner);
        for one in told.iter().filter(|one| !one.silenced) {
            // Nobody may listen.
            let _ = self.heard.send(one.to_json().into());
        }
        Ok(())
    }

    fn change(&self, alert: &str, change: impl FnOnce(&mut AlertRecord)) -> Result<()> {
        let mut inner = self.lock();
        let mut record = inner.records.get(alert).cloned().unwrap_or_default();
        change(&mut record);
        let text = text_of(&record)?;
        let put = |write: &WriteTransaction| {
            write.open_table(ALERTS)?.insert(alert, text.as_slice())?;
            Ok(())
        };
        inner.store.write(put)?;
        inner.records.insert(alert.to_owned(), record);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers of the first notification, and of the next that comes.
fn numbers(read: &ReadTransaction) -> Result<(u64, u64), Fault> {
    let Some(table) = there(read.open_table(EVENTS))? else {
        return Ok((0, 0));
    };
    let first = table.first()?.map_or(0, |(number, _)| number.value());
    let next = table.last()?.map_or(0, |(number, _)| number.value() + 1);
    Ok((first, next))
}

fn records(read: &ReadTransaction) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let Some(table) = there(read.open_table(ALERTS))? else {
        return Ok(Vec::new());
    };
    let rows = table.iter()?;
    let own = rows.map(|row| {
        let (name, text) = row?;
        Ok((name.value().to_owned(), text.value().to_vec()))
    });
    own.collect()
}

/// A table that nothing was written to yet is not there.
fn there<T>(opened: Result<T, TableError>) -> Result<Option<T>, Fault> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn text_of<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::internal(format!("not to be kept: {error}")))
}

fn parse<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T> {
    serde_json::from_slice(text)
        .map_err(|error| Error::internal(format!("{FILE} cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::EventTime;

    fn told(id: &str, silenced: bool) -> Notification {
        Notification {
            id: id.to_owned(),
            alert: "a".to_owned(),
            state: "firing".to_owned(),
            severity: "warning".to_owned(),
            key: "{}".to_owned(),
            values: "{}".to_owned(),
            message: String::new(),
            window_start: None,
            window_end: None,
            event_time: EventTime(0),
            offsets: None,
            number: 1,
            silenced,
            at: 0,
        }
    }

    fn ids(events: &AlertEvents) -> Vec<String> {
        let all = events.all().unwrap();
        all.into_iter().map(|one| one.id).collect()
    }

    #[test]
    fn an_epoch_lasts_with_what_it_told_and_the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let events = AlertEvents::open(Some(dir.path()), 3).unwrap();
        let generation = events.begin("a").unwrap();
        events
            .commit("a", (1, Some(7)), &[told("1", false), told("2", false)])
            .unwrap();
        events.commit("a", (2, Some(7)), &[]).unwrap();
        events.silence("a", Some(5)).unwrap();
        drop(events);
        let events = AlertEvents::open(Some(dir.path()), 3).unwrap();
        let record = events.record("a").unwrap();
        assert_eq!(
            (record.generation, record.epoch, record.writer),
            (generation, Some(2), Some(7))
        );
        assert_eq!(record.silenced_until, Some(5));
        events
            .commit("a", (3, None), &[told("3", false), told("4", false)])
            .unwrap();
        assert_eq!(ids(&events), ["2", "3", "4"]);
        events.forget("a").unwrap();
        assert_eq!(events.record("a"), None);
        assert_eq!(ids(&events).len(), 3, "what was told stays");
        assert_ne!(events.begin("a").unwrap(), generation);
    }

    #[test]
    fn who_listens_hears_of_what_is_kept_and_not_silenced() {
        let events = AlertEvents::open(None, 10).unwrap();
        let mut heard = events.listen();
        events
            .commit("a", (1, None), &[told("1", true), told("2", false)])
            .unwrap();
        assert!(heard.try_recv().unwrap().contains("\"id\":\"2\""));
        assert!(heard.try_recv().is_err());
    }
}
