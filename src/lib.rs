//! Headwater: a SQL streaming server for Kafka.
//!
//! How a statement flows:
//!
//! ```text
//! client ── server ── session ── sql ────── handler ─┬─ catalog             CREATE, DROP, SHOW
//!           the wire  one a      text →     one a    ├─ DataFusion ─ scan   snapshot SELECT
//!                     client     Statement  kind     └─ planner ─ plan ─ engine    live SELECT,
//!                                                                                views, sinks
//! ```
//!
//! How a row flows through a live query; one pass is a micro-batch, its end is the barrier:
//!
//! ```text
//! fetch    → decode  → filter, project → window, aggregate ┐barrier┌→ merge, close, order → emit
//! source     format    operator          operator, state   │       │  engine, watermark     session
//! └──────────── lanes in parallel, each its partitions ────┘       └── one driver a query ─ or sink
//! ```
//!
//! The rooms, in reading order; each one's head says what it owns and what it must not know:
//!
//! - [`cli`], [`config`], [`telemetry`], [`error`], [`clock`], [`task`],
//!   [`crash_point`], [`directory_lock`], `redb_file`, `bucket`, [`types`]: the program and what all rooms share.
//! - [`sql`], [`catalog`], [`plan`], [`planner`], [`functions`]: from text to what is to run.
//! - [`mod@format`], [`watermark`], [`state`], [`operator`], [`alert`]: what happens to rows; no I/O.
//! - [`source`], [`scan`], [`sink`], [`checkpoint`], [`engine`]: reading, running, writing.
//! - [`session`], [`server`], [`console`]: the outside.
//! - [`broker`], [`demo`]: a small Kafka and made-up messages, for a first try.
//! - [`feed`]: outside data into topics.
//!
//! `ARCHITECTURE.md` is the same map with the invariants.

pub mod cli;
pub mod error;
pub mod config;
pub mod clock;
pub mod task;
pub mod crash_point;
pub mod directory_lock;
mod redb_file;
mod bucket;
pub mod telemetry;
pub mod types;
pub mod sql;
pub mod catalog;
pub mod plan;
pub mod planner;
pub mod functions;
pub mod format;
pub mod watermark;
pub mod state;
pub mod operator;
pub mod source;
pub mod scan;
pub mod sink;
pub mod alert;
pub mod checkpoint;
pub mod engine;
pub mod session;
pub mod server;
pub mod console;
pub mod broker;
pub mod demo;
pub mod feed;
