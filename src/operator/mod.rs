//! Operators: what happens to a batch, and which windows close.
//!
//! Does no I/O, reads no clock, never waits: a batch and the state in, a batch and the state out.
//!
//! - `row_pipeline`, `windows`: filters, projections, the columns of windows.
//! - `aggregate`: grouped aggregation; which state a row goes to says `placement`, what it adds
//!   there `grouping`, and the states themselves are `unwindowed`, `fixed`, `sliding`,
//!   `growing`, `sessions`.
//! - `partial`: a batch aggregated once for several queries.
//! - `emission`, `changes`, `changed`: which groups must be emitted again, and what their rows are then.
//! - `tail`, `rank`: what is done with an aggregate's rows.
//! - `refusal`: rows with which something cannot be computed.
//! - `image`: the state as rows, and back.

mod aggregate;
mod changed;
mod changes;
mod emission;
mod fixed;
mod growing;
mod grouping;
mod image;
mod partial;
mod placement;
mod rank;
mod refusal;
mod row_pipeline;
mod sessions;
mod short_text;
mod sliding;
mod tail;
mod unwindowed;
mod windows;

pub use aggregate::{Aggregate, Closed, ClosedWindow, Taken};
pub use changed::Changed;
pub use emission::Having;
pub use image::Imaging;
pub use partial::Partial;
pub use placement::{LateRow, Lateness};
pub use refusal::{Refusals, RefusedRow, by_halves};
pub use row_pipeline::{RowPipeline, Rows, passing};
pub use tail::Tail;

pub use crate::state::TableUse;
