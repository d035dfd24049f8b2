//! Which windows a row lies in, by the definition of each window and nothing else.
//!
//! Slow and plain on purpose, and none of the product's code. Invariant: without rows beyond the bound, which windows a
//! row lies in does not depend on the order of the rows.

use std::collections::BTreeMap;

use super::case::Event;

/// A kind of window; lengths in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    /// No window: one group table for ever.
    None,
    Tumble {
        size: i64,
        offset: i64,
    },
    Hop {
        slide: i64,
        size: i64,
        offset: i64,
    },
    Cumulate {
        step: i64,
        size: i64,
        offset: i64,
    },
    Session {
        gap: i64,
    },
}

/// From the first instant of a window to the first after it.
pub(super) type Span = (i64, i64);

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It lies in these windows that were open; never none.
    Used(Vec<Span>),
    /// All its windows had closed.
    Late,
    /// The query's condition leaves it out, so there was no window to be late for.
    LeftOut,
}

impl Window {
    /// The greatest length; a session's gap.
    pub(super) fn size(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Tumble { size, .. } | Self::Hop { size, .. } | Self::Cumulate { size, .. } => {
                size
            }
            Self::Session { gap } => gap,
        }
    }

    /// All windows of a time. Not for sessions, which depend on the other rows.
    fn of(self, time: i64) -> Vec<Span> {
        let last_start = |step: i64, offset: i64| time - (time - offset).rem_euclid(step);
        match self {
            Self::None => vec![(0, i64::MAX)],
            Self::Tumble { size, offset } => {
                let start = last_start(size, offset);
                vec![(start, start + size)]
            }
            Self::Hop {
                slide,
                size,
                offset,
            } => {
                let mut spans = Vec::new();
                let mut start = last_start(slide, offset);
                while time < start + size {
                    spans.push((start, start + size));
                    start -= slide;
                }
                spans
            }
            Self::Cumulate { step, size, offset } => {
                let start = last_start(size, offset);
                let ends = (1..=size / step).map(|count| start + count * step);
                ends.filter(|end| time < *end)
                    .map(|end| (start, end))
                    .collect()
            }
            Self::Session { .. } => Vec::new(),
        }
    }
}

/// What becomes of each row. `keys` are the sessions' keys, `None` for a row that the condition leaves out. `lags`: the
/// watermark's distance behind the time, when rows may be late; `None` when they cannot be.
pub(super) fn fates(
    window: Window,
    rows: &[Event],
    keys: &[Option<String>],
    lag: Option<i64>,
) -> Vec<Fate> {
    if let Window::Session { gap } = window {
        return session_fates(gap, rows, keys, lag);
    }
    let mut watermark = i64::MIN;
    let mut fates = Vec::new();
    for (row, key) in rows.iter().zip(keys) {
        let mut spans = window.of(row.at);
        spans.retain(|(_, end)| *end > watermark);
        fates.push(match key {
            None => Fate::LeftOut,
            Some(_) if spans.is_empty() => Fate::Late,
            Some(_) => Fate::Used(spans),
        });
        if let Some(lag) = lag {
            watermark = watermark.max(row.at - lag);
        }
    }
    fates
}

/// A session of one key: its first and last time, and its rows.
struct Session {
    first: i64,
    last: i64,
    rows: Vec<usize>,
}

fn session_fates(gap: i64, rows: &[Event], keys: &[Option<String>], lag: Option<i64>) -> Vec<Fate> {
    let mut watermark = i64::MIN;
    let mut open: BTreeMap<&str, Vec<Session>> = BTreeMap::new();
    let mut fates = vec![Fate::Late; rows.len()];
    let mut settle = |session: &Session| {
        for row in &session.rows {
            fates[*row] = Fate::Used(vec![(session.first, session.last + gap)]);
        }
    };
    let mut left_out = Vec::new();
    for (place, (row, key)) in rows.iter().zip(keys).enumerate() {
        if let Some(key) = key {
            let sessions = open.entry(key).or_default();
            let (closed, mut kept): (Vec<_>, Vec<_>) = std::mem::take(sessions)
                .into_iter()
                .partition(|session| session.last + gap <= watermark);
            closed.iter().for_each(&mut settle);
            let meets =
                |session: &Session| row.at < session.last + gap && session.first < row.at + gap;
            let (met, apart): (Vec<_>, Vec<_>) = kept.drain(..).partition(meets);
            *sessions = apart;
            if !met.is_empty() || row.at + gap > watermark {
                let mut one = Session {
                    first: row.at,
                    last: row.at,
                    rows: vec![place],
                };
                for session in met {
                    one.first = one.first.min(session.first);
                    one.last = one.last.max(session.last);
                    one.rows.extend(session.rows);
                }
                sessions.push(one);
            }
        } else {
            left_out.push(place);
        }
        if let Some(lag) = lag {
            watermark = watermark.max(row.at - lag);
        }
    }
    open.values().flatten().for_each(&mut settle);
    for place in left_out {
        fates[place] = Fate::LeftOut;
    }
    fates
}
