//! What an alert's notifications are told to: its sinks, and then the file of all.
//!
//! Invariant: the file counts: it has an epoch's notifications once. The sinks have them before, and
//! after a crash perhaps once more, with the same ids.

use std::sync::Arc;

use super::events::AlertEvents;
use crate::alert::{Notification, notification_rows, notifications_of};
use crate::crash_point;
use crate::error::Result;
use crate::sink::{Outside, Sink, Stopping};
use crate::types::{ChangeBatch, ProcessingTime};

/// The outside of an alert's query.
pub(super) struct AlertSink {
    alert: String,
    events: Arc<AlertEvents>,
    sinks: Vec<Box<dyn Sink>>,
    /// What the epoch under way has told.
    told: Vec<Notification>,
    /// The sinks were told something in it.
    has_staged: bool,
    writer: Option<u64>,
}

impl AlertSink {
    pub(super) fn new(alert: &str, events: &Arc<AlertEvents>, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            alert: alert.to_owned(),
            events: Arc::clone(events),
            sinks,
            told: Vec::new(),
            has_staged: false,
            writer: None,
        }
    }
}

impl Sink for AlertSink {
    fn committed(&mut self) -> Result<Outside> {
        for sink in &mut self.sinks {
            // What an earlier process left open is given up by that.
            sink.committed()?;
        }
        let record = self.events.record(&self.alert).unwrap_or_default();
        Ok(Outside::Epoch(record.epoch))
    }

    fn sign(&mut self, writer: u64) {
        self.writer = Some(writer);
        self.sinks.iter_mut().for_each(|sink| sink.sign(writer));
    }

    fn committed_by(&self) -> Option<u64> {
        self.events.record(&self.alert)?.writer
    }

    fn heed(&mut self, stopping: Stopping) {
        for sink in &mut self.sinks {
            sink.heed(Stopping::clone(&stopping));
        }
    }

    fn stage(&mut self, rows: &ChangeBatch, at: ProcessingTime) -> Result<()> {
        let mut told = notifications_of(rows.rows())?;
        let record = self.events.record(&self.alert).unwrap_or_default();
        let silenced = record.silenced_until.is_some_and(|until| at.0 < until);
        told.iter_mut().for_each(|one| one.silenced = silenced);
        if !silenced && !self.sinks.is_empty() {
            let rows = ChangeBatch::inserts(notification_rows(&told)?);
            self.has_staged = true;
            for sink in &mut self.sinks {
                sink.stage(&rows, at)?;
            }
        }
        self.told.extend(told);
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<()> {
        if std::mem::take(&mut self.has_staged) {
            self.sinks
                .iter_mut()
                .try_for_each(|sink| sink.commit(epoch))?;
        }
        if !self.told.is_empty() {
            crash_point::reach("sinks told, alert events not kept");
        }
        let told = std::mem::take(&mut self.told);
        self.events.commit(&self.alert, (epoch, self.writer), &told)
    }

    fn abort(&mut self) -> Result<()> {
        self.told.clear();
        self.has_staged = false;
        self.sinks.iter_mut().try_for_each(|sink| sink.abort())
    }

    fn backlog(&self) -> u64 {
        let own = self.told.len() as u64;
        self.sinks.iter().map(|sink| sink.backlog()).sum::<u64>() + own
    }
}
