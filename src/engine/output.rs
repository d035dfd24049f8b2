//! Where a query's rows go: a client, a materialized view, a sink, an alert. All behind one door, which is
//! stage and commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::alert::AlertStage;
use super::committer::Committer;
use super::materialized::Materialized;
use crate::error::Result;
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
        committer: Committer,
    },
    /// The outside world.
    Sink(Committer),
    /// Rows that are watched; what is told of them goes out.
    Alert {
        stage: Box<AlertStage>,
        committer: Committer,
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
    pub(super) fn stage(
        &mut self,
        rows: Vec<ChangeBatch>,
        moment: Moment,
        stopping: impl Fn() -> bool,
    ) -> Result<bool> {
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
            Self::Sink(committer) => committer.stage(rows, at, stopping),
            Self::Alert { stage, committer } => {
                let told = stage.look(&rows, moment)?;
                committer.stage(told, at, stopping)
            }
        }
    }

    /// Who makes epochs last; `None`: the query need not go on after a crash.
    pub(super) fn committer(&self) -> Option<&Committer> {
        match self {
            Self::Client { .. } => None,
            Self::View { committer, .. }
            | Self::Sink(committer)
            | Self::Alert { committer, .. } => Some(committer),
        }
    }

    /// Whether the query must be able to go on after a crash.
    pub(super) fn is_durable(&self) -> bool {
        self.committer().is_some()
    }

    /// Takes down what of the rows that are kept here has changed since the last image.
    pub(super) fn image(&mut self, image: &mut StateImage) -> Result<()> {
        match self {
            Self::View { view, .. } => view.image(image),
            Self::Alert { stage, .. } => stage.image(image),
            Self::Client { .. } | Self::Sink(_) => Ok(()),
        }
    }

    /// The same ahead of the end of an epoch, as far as there is room.
    pub(super) fn image_ahead(&mut self, image: &mut StateImage, room: &mut usize) -> Result<()> {
        match self {
            Self::View { view, .. } => view.image_ahead(image, room),
            Self::Alert { stage, .. } => stage.image_ahead(image, room),
            Self::Client { .. } | Self::Sink(_) => Ok(()),
        }
    }

    /// Bytes of the rows that are kept here.
    pub(super) fn held_bytes(&self) -> u64 {
        match self {
            Self::View { view, .. } => view.held_bytes(),
            Self::Alert { stage, .. } => stage.held_bytes(),
            Self::Client { .. } | Self::Sink(_) => 0,
        }
    }

    /// True when nobody takes the rows any more.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Client { rows, .. } => rows.is_closed(),
            Self::View { .. } | Self::Sink(_) | Self::Alert { .. } => false,
        }
    }

    /// Rows handed over that the outside has not confirmed yet.
    pub(super) fn backlog(&self) -> u64 {
        match self {
            Self::Client { .. } | Self::View { .. } => 0,
            Self::Sink(committer) | Self::Alert { committer, .. } => committer.backlog(),
        }
    }

    /// True when something was handed over that is not to wait for the epoch's usual end.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::Alert { stage, .. } => stage.has_news(),
            Self::Client { .. } | Self::View { .. } | Self::Sink(_) => false,
        }
    }

    /// True when what was handed over fills where it goes: only the epoch's end makes room for more.
    pub(super) fn is_filled(&self, stopping: impl Fn() -> bool) -> bool {
        let committer = self.committer();
        committer.is_some_and(|committer| committer.is_filled(stopping))
    }

    /// In how long something may happen here although nothing comes.
    pub(super) fn next(&self) -> Option<Duration> {
        match self {
            Self::Alert { stage, .. } => stage.next(),
            Self::Client { .. } | Self::View { .. } | Self::Sink(_) => None,
        }
    }
}
