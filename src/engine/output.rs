//! Where a query's rows go: a client, a materialized view, a sink. All behind one door, which is
//! stage and commit.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::materialized::Materialized;
use crate::checkpoint::{Checkpoint, CheckpointStore};
use crate::crash_point;
use crate::error::Result;
use crate::sink::Sink;
use crate::types::{ChangeBatch, EventTime, ProcessingTime, StateImage};

/// What a client or a subscriber is told.
#[derive(Debug, Clone)]
pub enum Emitted {
    /// Rows, with the time of their micro-batch.
    Changes {
        /// The rows, and what each does.
        changes: ChangeBatch,
        /// When they were emitted.
        at: ProcessingTime,
    },
    /// The watermark has moved; what it made final went out before.
    Watermark {
        /// How far.
        watermark: EventTime,
        /// When that was noticed.
        at: ProcessingTime,
    },
}

/// The moment at which a micro-batch emits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Its processing time.
    pub at: ProcessingTime,
    /// The query's watermark then, if it has one yet.
    pub watermark: Option<EventTime>,
}

/// Takes the rows of a query.
pub(super) enum Output {
    /// A client that reads as they come.
    Client {
        rows: mpsc::Sender<Result<Emitted>>,
        progress: Progress,
    },
    /// Rows that are kept, in memory and with what the query holds.
    View {
        view: Arc<Materialized>,
        checkpoints: CheckpointStore,
    },
    /// The outside world, and where the query keeps what it holds.
    Sink {
        sink: Box<dyn Sink>,
        /// Whether the sink knows the last epoch that counts.
        keeps_epoch: bool,
        checkpoints: CheckpointStore,
    },
}

/// Whether a receiver is told of the watermark, and how far it knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    wanted: bool,
    told: Option<EventTime>,
}

impl Progress {
    pub(super) fn new(wanted: bool) -> Self {
        let told = None;
        Self { wanted, told }
    }

    /// What is to be told now, if the watermark has moved since the last call.
    pub(super) fn moved(&mut self, moment: Moment) -> Option<Emitted> {
        let watermark = moment.watermark?;
        if !self.wanted || self.told.is_some_and(|told| told >= watermark) {
            return None;
        }
        self.told = Some(watermark);
        let at = moment.at;
        Some(Emitted::Watermark { watermark, at })
    }
}

impl Output {
    /// Hands over the rows of a micro-batch; false when nobody takes them any more.
    pub(super) fn stage(&mut self, rows: Vec<ChangeBatch>, moment: Moment) -> Result<bool> {
        let at = moment.at;
        match self {
            Self::Client {
                rows: client,
                progress,
            } => {
                let rows = rows
                    .into_iter()
                    .map(|changes| Emitted::Changes { changes, at });
                Ok(rows
                    .chain(progress.moved(moment))
                    .all(|emitted| client.blocking_send(Ok(emitted)).is_ok()))
            }
            Self::View { view, .. } => view.apply(&rows, moment).map(|()| true),
            Self::Sink { sink, .. } => {
                for batch in &rows {
                    sink.stage(batch, at)?;
                }
                Ok(true)
            }
        }
    }

    /// Whether the query must be able to go on after a crash.
    pub(super) fn is_durable(&self) -> bool {
        !matches!(self, Self::Client { .. })
    }

    /// Takes down what of the rows that are kept here has changed since the last image.
    pub(super) fn image(&self, image: &mut StateImage) -> Result<()> {
        match self {
            Self::View { view, .. } => view.image(image),
            Self::Client { .. } | Self::Sink { .. } => Ok(()),
        }
    }

    /// Writes the checkpoint of a query before its first row.
    pub(super) fn begin(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        match self {
            Self::Client { .. } => {}
            Self::View { view, checkpoints } => {
                checkpoints.write(checkpoint)?;
                view.committed(checkpoint.epoch);
            }
            Self::Sink { checkpoints, .. } => drop(checkpoints.write(checkpoint)?),
        }
        Ok(())
    }

    /// Makes what was staged in the checkpoint's epoch last, and the checkpoint itself; the act that
    /// counts comes last.
    pub(super) fn commit(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let epoch = checkpoint.epoch;
        crash_point::reach("an epoch ends");
        let written = match self {
            Self::Client { .. } => return Ok(()),
            Self::View { view, checkpoints } => {
                let written = checkpoints.write(checkpoint)?;
                view.committed(epoch);
                written
            }
            Self::Sink {
                sink,
                keeps_epoch: true,
                checkpoints,
            } => {
                let written = checkpoints.write(checkpoint)?;
                crash_point::reach("checkpoint written, sink not committed");
                sink.commit(epoch)?;
                written
            }
            Self::Sink {
                sink, checkpoints, ..
            } => {
                sink.commit(epoch)?;
                crash_point::reach("sink committed, checkpoint not written");
                checkpoints.write(checkpoint)?
            }
        };
        crash_point::reach("an epoch has ended");
        for sentence in written.left_over {
            tracing::warn!(epoch, "{sentence}");
        }
        Ok(())
    }

    /// True when nobody takes the rows any more.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Client { rows, .. } => rows.is_closed(),
            Self::View { .. } | Self::Sink { .. } => false,
        }
    }

    /// Rows handed over that the outside has not confirmed yet.
    pub(super) fn backlog(&self) -> u64 {
        match self {
            Self::Client { .. } | Self::View { .. } => 0,
            Self::Sink { sink, .. } => sink.backlog(),
        }
    }
}
