//! Somebody who follows a view, and compares what that comes to with the view.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};

use super::lines::{Line, Rows, changes, lines, told};
use super::world::World;
use crate::clock::Clock;
use crate::engine::{Emitted, Materialized, Subscription};
use crate::types::Op;

/// Subscribes again when it is cut off.
pub(super) struct Follower {
    view: Arc<Materialized>,
    world: Arc<World>,
    following: Option<(Subscription, Rows)>,
}

impl Follower {
    pub(super) fn new(view: &Arc<Materialized>, world: &Arc<World>) -> Self {
        Self {
            view: Arc::clone(view),
            world: Arc::clone(world),
            following: None,
        }
    }

    /// Hears what was said since the last look.
    ///
    /// # Panics
    /// When what it has heard does not come to what the view holds.
    pub(super) fn look(&mut self) {
        let (mut subscription, mut rows) = self.following.take().unwrap_or_else(|| self.begin());
        while let Some(said) = subscription.next().now_or_never() {
            match said {
                Some(Ok(Emitted::Changes { changes: batch, .. })) => {
                    for change in changes(&batch) {
                        self.world.note(format!("  view: {}", told(&change)));
                        rows.take(&change);
                    }
                }
                Some(Ok(Emitted::Watermark { watermark, .. })) => {
                    self.world
                        .note(format!("  view: watermark {}", watermark.0));
                }
                Some(Err(error)) => {
                    self.world.note(format!("  view: {error}"));
                    (subscription, rows) = self.begin();
                }
                None => panic!("a view that runs ends no subscription by itself"),
            }
        }
        assert_eq!(
            rows.clone().into_lines(),
            rows_of(&self.view),
            "what a follower hears is what the view holds"
        );
        self.following = Some((subscription, rows));
    }

    fn begin(&self) -> (Subscription, Rows) {
        let subscription = self.view.subscribe(true, true, self.world.now());
        (subscription.expect("the view is there"), Rows::default())
    }
}

/// A view's rows, in the order of their text.
pub(super) fn rows_of(view: &Materialized) -> Vec<Line> {
    let batches = view.rows().expect("rows are columns");
    let mut rows = Rows::default();
    for line in batches.iter().flat_map(lines) {
        rows.take(&(Op::Insert, line));
    }
    rows.into_lines()
}
