//! An alert as the output of its query: rows in, notifications on to the committer; what its keys are is
//! part of the query's state.
//!
//! ```text
//! gone │ key │ state        the clock stands under the empty key
//! ```
//! Invariant: an image has only the keys that changed since the image before, unless it stands for
//! itself.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};

use super::AlertShared;
use crate::alert::{Evaluator, Moment, notification_rows};
use crate::engine::output;
use crate::error::{Error, Result};
use crate::operator::Imaging;
use crate::types::{ChangeBatch, EventTime, StateImage, TableId, TablePlace};

/// What a micro-batch was made of.
#[derive(Debug, Default)]
pub(in crate::engine) struct Seen {
    /// Everything was read, and nothing came.
    pub is_silent: bool,
    /// The monotonic time.
    pub now: Duration,
    /// The least of the greatest event times of the partitions.
    pub earliest: Option<EventTime>,
    /// The greatest event time of all.
    pub latest: Option<EventTime>,
    /// The offsets of its messages, a JSON object.
    pub offsets: Option<String>,
}

/// An alert as the output of its query.
pub(in crate::engine) struct AlertStage {
    shared: Arc<AlertShared>,
    evaluator: Evaluator,
    seen: Seen,
    silent_since: Option<Duration>,
    /// Something was told that is not in an epoch's end yet.
    has_news: bool,
}

impl AlertStage {
    /// One that has seen nothing.
    pub(super) fn try_new(shared: &Arc<AlertShared>) -> Result<Self> {
        let rules = (*shared.rules()).clone();
        Ok(Self {
            evaluator: Evaluator::try_new(shared.watch.clone(), rules, &shared.schema)?,
            shared: Arc::clone(shared),
            seen: Seen::default(),
            silent_since: None,
            has_news: false,
        })
    }

    /// What the rows that come now were made of.
    pub(in crate::engine) fn note(&mut self, seen: Seen) {
        let since = self.silent_since.unwrap_or(seen.now);
        self.silent_since = seen.is_silent.then_some(since);
        self.seen = seen;
    }

    /// Looks at the rows of a micro-batch; gives what is to be told.
    pub(in crate::engine) fn look(
        &mut self,
        rows: &[ChangeBatch],
        moment: output::Moment,
    ) -> Result<Vec<ChangeBatch>> {
        self.evaluator.follow((*self.shared.rules()).clone());
        let seen = std::mem::take(&mut self.seen);
        let silent = self
            .silent_since
            .map(|since| seen.now.saturating_sub(since));
        let moment = Moment {
            at: moment.at,
            watermark: moment.watermark,
            earliest: seen.earliest,
            latest: seen.latest,
            silent: silent.unwrap_or_default(),
            offsets: seen.offsets,
        };
        let told = self.evaluator.look(rows, &moment)?;
        self.shared.show(self.evaluator.shown());
        if told.is_empty() {
            return Ok(Vec::new());
        }
        self.has_news = true;
        Ok(vec![ChangeBatch::inserts(notification_rows(&told)?)])
    }

    /// Something was told that is not in an epoch's end yet.
    pub(in crate::engine) fn has_news(&self) -> bool {
        self.has_news
    }

    /// In how long something may happen although nothing comes.
    pub(in crate::engine) fn next(&self) -> Option<Duration> {
        self.silent_since.and(self.evaluator.next())
    }

    /// About how many bytes its keys hold.
    pub(in crate::engine) fn held_bytes(&self) -> u64 {
        self.evaluator.held_bytes()
    }

    /// Takes down what of the keys has changed since they were last taken down.
    pub(in crate::engine) fn image(&mut self, image: &mut StateImage) -> Result<()> {
        self.has_news = false;
        if image.is_whole {
            self.evaluator.none_written();
        }
        let mut to = Imaging::new(image, TableId::VIEW.operator, TableId::VIEW.lane);
        to.holds(TablePlace::View);
        self.write(&mut to)
    }

    /// The same ahead of the end of an epoch, as far as there is room.
    pub(in crate::engine) fn image_ahead(
        &mut self,
        image: &mut StateImage,
        room: &mut usize,
    ) -> Result<()> {
        let place = (TableId::VIEW.operator, TableId::VIEW.lane);
        self.write(&mut Imaging::ahead(image, place, room))
    }

    fn write(&mut self, to: &mut Imaging<'_>) -> Result<()> {
        let written = self.evaluator.written(to.room())?;
        if written.is_empty() {
            return Ok(());
        }
        let (live, gone): (Vec<_>, Vec<_>) = written.iter().partition(|(_, text)| text.is_some());
        let keys = |of: &[&(String, Option<String>)]| -> Vec<ArrayRef> {
            let keys = of.iter().map(|(key, _)| key.as_str());
            vec![Arc::new(StringArray::from_iter_values(keys))]
        };
        let texts: StringArray = live.iter().map(|(_, text)| text.as_deref()).collect();
        let (gone, keys) = ((gone.len(), keys(&gone)), (live.len(), keys(&live)));
        to.rows(TablePlace::View, gone, keys, vec![Arc::new(texts)])
    }

    /// Goes on from the state of a checkpoint.
    pub(super) fn restore(&mut self, image: &StateImage) -> Result<()> {
        let own = image.rows.iter().filter(|rows| rows.table == TableId::VIEW);
        for rows in own {
            let [gone, keys, texts] = rows.rows.columns() else {
                return Err(odd());
            };
            let gone: &BooleanArray = gone.as_boolean_opt().ok_or_else(odd)?;
            let keys = keys.as_string_opt::<i32>().ok_or_else(odd)?;
            let texts = texts.as_string_opt::<i32>().ok_or_else(odd)?;
            for row in 0..rows.rows.num_rows() {
                if !gone.value(row) && texts.is_valid(row) {
                    self.evaluator.read(keys.value(row), texts.value(row))?;
                }
            }
        }
        Ok(())
    }

    /// Shows the keys that it begins with.
    pub(super) fn begin(&mut self) {
        self.shared.begin(self.evaluator.shown());
    }
}

fn odd() -> Error {
    Error::internal("the rows of a checkpoint are not the keys of an alert")
}
