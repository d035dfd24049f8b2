//! A sign of life for long work: a bar or a counter on the terminal's standard error, nothing else.
//!
//! Invariant: where standard error is no terminal, nothing is shown.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::{Engine, QueryKind, QueryState};

/// How often the line is drawn again while nothing is reported.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// The share of what there is from which on a query counts as caught up: messages still come.
const CAUGHT_UP: f64 = 0.999;

/// What the engine's queries still have to read, in a few words; empty when they have caught up. Alerts are not
/// waited for: nobody looks at their rows.
pub(super) fn catching_up(engine: &Engine) -> String {
    let queries = engine.queries();
    let watched = queries
        .iter()
        .filter(|query| query.kind != QueryKind::Alert);
    let behind = watched.filter_map(|query| {
        let status = query.status();
        let share = match status.state {
            QueryState::Starting => 0.0,
            QueryState::Running | QueryState::Retrying => status.caught_up()?,
            QueryState::Paused | QueryState::Failed | QueryState::Finished => return None,
        };
        (share < CAUGHT_UP).then(|| format!("{} {:.0} %", query.name, share * 100.0))
    });
    behind.collect::<Vec<_>>().join(", ")
}

/// One long work under way.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Shows that something is under way, for how long, and how many rows there are so far.
    pub(super) fn counter() -> Self {
        Self::with(ProgressBar::new_spinner(), "{spinner} {elapsed} {msg}")
    }

    /// Shows a share of `total`, and how long the rest will take.
    pub(super) fn share(total: u64) -> Self {
        Self::with(
            ProgressBar::new(total),
            "{msg} {wide_bar} {percent} % {human_pos} of {human_len}, {eta} left",
        )
    }

    fn with(bar: ProgressBar, template: &str) -> Self {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// What is under way, or how far it is.
    pub(super) fn message(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// So much of the total is done.
    pub(super) fn position(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Prints something while the line is away.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the line away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
