//! Where a query's rows go: a client, a materialized view, a sink. All behind one door, which is
//! stage and commit.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::materialized::Materialized;
use crate::checkpoint::{Position, PositionStore};
use crate::error::Result;
use crate::sink::Sink;
use crate::types::ChangeBatch;

/// Takes the rows of a query.
pub(super) enum Output {
    /// A client that reads as they come.
    Client(mpsc::Sender<Result<ChangeBatch>>),
    /// Rows that are kept.
    View(Arc<Materialized>),
    /// The outside world, and where the query notes how far it came.
    Sink {
        sink: Box<dyn Sink>,
        positions: Option<PositionStore>,
    },
}

impl Output {
    /// Hands over the rows of a micro-batch; false when nobody takes them any more.
    pub(super) fn stage(&mut self, rows: Vec<ChangeBatch>) -> Result<bool> {
        match self {
            Self::Client(client) => Ok(rows
                .into_iter()
                .all(|batch| client.blocking_send(Ok(batch)).is_ok())),
            Self::View(view) => view.apply(&rows).map(|()| true),
            Self::Sink { sink, .. } => {
                for batch in &rows {
                    sink.stage(batch.rows())?;
                }
                Ok(true)
            }
        }
    }

    /// Makes what was staged in the position's epoch last, then notes the position.
    pub(super) fn commit(&mut self, position: &Position) -> Result<()> {
        match self {
            Self::Client(_) | Self::View(_) => Ok(()),
            Self::Sink { sink, positions } => {
                sink.commit(position.epoch)?;
                positions
                    .as_ref()
                    .map_or(Ok(()), |store| store.write(position))
            }
        }
    }

    /// True when nobody takes the rows any more.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Client(client) => client.is_closed(),
            Self::View(_) | Self::Sink { .. } => false,
        }
    }
}
