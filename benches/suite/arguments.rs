//! The command line of the suite.

use clap::{Parser, ValueEnum};

/// How many rows a topic gets, unless said otherwise.
const ROWS: u64 = 2_000_000;

/// Headwater's benchmarks. Without a section all are run, one after the other.
#[derive(Debug, Parser)]
#[command(name = "suite")]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_enum)]
    sections: Vec<Section>,

    /// Rows of a topic: 2,000,000 unless said otherwise, and 20,000,000 for `flat`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..))]
    rows: Option<u64>,

    /// How often everything is measured; the best round counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// A cluster to use instead of the embedded broker
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap: Option<String>,

    /// Only the lines whose name holds this text; the references are measured anyway
    #[arg(long, value_name = "NAME")]
    only: Option<String>,

    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// The references alone: the direct walk, librdkafka's drain, the product's own fetch
    Walk,
    /// Filters, projections, windows and alerts over trades, and the project's bounds
    Queries,
    /// Nexmark's queries, as far as Headwater's SQL has them
    Nexmark,
    /// Queries that read what is there and end
    Snapshots,
    /// Milliseconds from `produce` to a client and to a sink's topic
    Latency,
    /// What 100 idle queries cost, and how soon a server is there again
    Idle,
    /// Memory, checkpoints and recovery by the number of keys
    State,
    /// Whether a row costs the same at the end of a long topic
    Flat,
}

impl Arguments {
    /// What to measure, in the order given.
    pub(crate) fn sections(&self) -> &[Section] {
        if self.sections.is_empty() {
            Section::value_variants()
        } else {
            &self.sections
        }
    }

    /// Rows of a topic.
    pub(crate) fn rows(&self) -> u64 {
        self.rows_or(ROWS)
    }

    /// Rows of a topic, in a section with a default of its own.
    pub(crate) fn rows_or(&self, default: u64) -> u64 {
        self.rows.unwrap_or(default)
    }

    /// Whether a line is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }
}
