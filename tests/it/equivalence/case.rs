//! One case as plain data: rows in the order in which they are produced, and the question that is asked of them.
//!
//! Knows neither how cases are made nor how they are run. Invariant: a case is everything that a run depends on; two
//! equal cases ask the same of the same rows.

use super::windows::Window;

/// An enum whose values have a word each, by which they are written and read.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $name { $($variant,)+ }

        impl $name {
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)+];

            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            pub(super) fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }
    };
}

words! {
    /// How the window is written.
    Spelling {
        Positional = "positional",
        Table = "table",
        Named = "named",
        Query = "query",
        Clause = "clause",
        Group = "group",
        Spark = "spark",
        Bin = "bin",
        Trunc = "trunc",
    }
}

words! {
    /// When rows leave.
    Emit {
        Final = "final",
        Changes = "changes",
        Every = "every",
        // No continuous query at all: the question is asked when all rows are there.
        Snapshot = "snapshot",
    }
}

words! {
    /// What stands around the windowed aggregate.
    Shape {
        Plain = "plain",
        View = "view",
        Union = "union",
        Cascade = "cascade",
        Top = "top",
    }
}

words! {
    /// How the keys are grouped.
    Grouping {
        Keys = "keys",
        Rollup = "rollup",
        Cube = "cube",
        Sets = "sets",
    }
}

/// An aggregate, and how it is written for an engine that does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aggregate {
    pub(super) ours: String,
    pub(super) plain: String,
    /// Whether the last digits depend on the order of the rows.
    pub(super) float: bool,
}

/// A row as it is produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The table, 0 or, in a union, 1.
    pub(super) topic: usize,
    pub(super) partition: i32,
    /// Event time, microseconds since the Unix epoch.
    pub(super) at: i64,
    pub(super) key: Option<String>,
    pub(super) flag: Option<bool>,
    pub(super) value: Option<i64>,
    /// What the columns `f`, `d` and `day` are made of.
    pub(super) other: Option<i64>,
}

/// What happens, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Row(Event),
    /// A message that is no row, in a partition of the first table.
    Broken(i32),
    /// What came before is produced.
    Cut,
    /// What came before is produced, and has gone through the query; the answer so far is compared.
    Flush,
}

/// Everything that one run needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) partitions: i32,
    /// How much later a row may come, microseconds.
    pub(super) bound: i64,
    /// Whether rows keep to the bound. If not, there is one partition.
    pub(super) beyond: bool,
    /// Whether there is one partition more, without rows.
    pub(super) idle: bool,
    /// Whether event time has a time zone.
    pub(super) zoned: bool,
    pub(super) window: Window,
    pub(super) spelling: Spelling,
    pub(super) emit: Emit,
    pub(super) shape: Shape,
    pub(super) keys: Vec<String>,
    pub(super) grouping: Grouping,
    pub(super) aggregates: Vec<Aggregate>,
    pub(super) filter: String,
    pub(super) having: String,
    pub(super) steps: Vec<Step>,
}

impl Case {
    /// The rows, in the order in which they are produced.
    pub(super) fn rows(&self) -> Vec<Event> {
        rows_of(&self.steps)
    }

    /// How many tables there are.
    pub(super) fn topics(&self) -> usize {
        if self.shape == Shape::Union { 2 } else { 1 }
    }

    /// The size of the windows over the windows of a cascade.
    pub(super) fn outer_size(&self) -> i64 {
        self.window.size() * 5
    }

    /// A row for each partition that has rows, late enough to close every window before it.
    pub(super) fn closing_rows(&self) -> Vec<Event> {
        let last = self.rows().iter().map(|row| row.at).max().unwrap_or(0);
        let at = last + self.bound + self.window.size() + self.outer_size() + 1_000_000;
        let row = |topic, partition| Event {
            topic,
            partition,
            at,
            key: None,
            flag: None,
            value: None,
            other: None,
        };
        (0..self.topics())
            .flat_map(|topic| (0..self.partitions).map(move |partition| row(topic, partition)))
            .collect()
    }

    /// The least watermark over the partitions that have rows at all; `None` while one of them has none.
    pub(super) fn watermark(&self, rows: &[Event]) -> Option<i64> {
        (0..self.topics())
            .flat_map(|topic| (0..self.partitions).map(move |partition| (topic, partition)))
            .map(|place| {
                let mine = rows
                    .iter()
                    .filter(|row| (row.topic, row.partition) == place);
                mine.map(|row| row.at - self.bound).max()
            })
            .min()
            .flatten()
    }
}

/// The rows among steps.
pub(super) fn rows_of(steps: &[Step]) -> Vec<Event> {
    let row = |step: &Step| match step {
        Step::Row(event) => Some(event.clone()),
        Step::Broken(_) | Step::Cut | Step::Flush => None,
    };
    steps.iter().filter_map(row).collect()
}

/// The length of time as SQL writes it.
pub(super) fn interval(micros: i64) -> String {
    format!("INTERVAL '{}'", length(micros))
}

/// The length of time without the word before it.
pub(super) fn length(micros: i64) -> String {
    match micros {
        _ if micros % 1_000_000 == 0 => format!("{} seconds", micros / 1_000_000),
        _ => format!("{} milliseconds", micros / 1_000),
    }
}
