//! Event time, processing time and watermarks: three kinds of time that must not be compared by accident.

use serde::{Deserialize, Serialize};

/// When something happened, as the row itself says. Microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

/// When the server looked at its clock. Microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessingTime(pub i64);

/// The event time up to which (exclusive) no further row is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub EventTime);

impl EventTime {
    /// Earlier than every event.
    pub const MIN: Self = Self(i64::MIN);
    /// Later than every event.
    pub const MAX: Self = Self(i64::MAX);
}

impl Watermark {
    /// Nothing is known yet: no window is closed.
    pub const MIN: Self = Self(EventTime::MIN);

    /// True when a window with this (exclusive) end can receive no further row.
    pub fn closes(self, window_end: EventTime) -> bool {
        window_end <= self.0
    }
}
