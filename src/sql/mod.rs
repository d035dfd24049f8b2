//! Text to statements.
//!
//! Owns the grammar: PostgreSQL's by the parser library, ours around it. Knows nothing of what
//! exists. Invariants: positions, in errors and in statements, count from the start of the whole
//! text; a statement's text is kept as written; reading costs time and memory in proportion to the
//! text; every window of a query in `FROM`, however it was spelled, is in the one canonical form
//! that `window_function` describes.
//!
//! ```text
//! text ─ scan ─► segments ─ tokens ─► depth ─► parser ─┬─ create, objects, cursor, ..  (ours)
//!                                                      └─ query ─ emit, window_clause
//!                                                               ─► library ─► window_function
//! ```

mod alert;
mod alter;
mod alter_table;
mod column_names;
mod copy;
mod create;
mod cursor;
mod data_type;
mod depth;
mod dialect;
mod emit;
mod grammar;
pub mod interval;
mod mask;
mod names;
mod objects;
mod options;
mod parser;
mod placement;
mod prepared;
mod queries_of;
mod query;
mod replay;
mod row_fields;
mod scan;
mod secret;
mod set_option;
mod settings;
mod statement;
mod subscribe;
mod syntax;
mod table;
mod table_text;
mod tokens;
mod transaction;
pub mod walk;
mod window_call;
mod window_clause;
mod window_function;
mod window_group;
mod window_shown;

pub use alert::{
    AckAlert, Backtest, BacktestTarget, CLEAR_COLUMN, Condition, CreateAlert, SilenceAlert,
    Template, TimeText, WHEN_COLUMN,
};
pub use alter::{AlterQuery, QueryChange};
pub use alter_table::{AlterTable, TableChange};
pub use column_names::{Renamed, name_columns};
pub use grammar::folded as fold;
pub use mask::mask_options;
pub use names::{literal, quote};
pub use replay::Replay;
pub use scan::TEXT_BYTES_MAX;
pub use secret::{CreateSecret, SecretRef};
pub use set_option::set_option;
pub use statement::{
    Close, ColumnClause, ColumnKind, CopyFormat, CopyIn, CopyOptions, CopyOut,
    CreateMaterializedView, CreateSink, CreateTable, CreateView, Declare, Discard, Drop, Emit,
    EndTransaction, Execute, Explain, ExplainTarget, Fetch, FetchCount, ForceQuote, Identifier,
    Name, Notify, ObjectKind, OptionClause, OptionValue, Parsed, Prepare, Reset, Set,
    SetTransaction, Show, Statement, StreamQuery, Subscription, TransactionModes, WatermarkClause,
};
pub use table_text::{ColumnEdit, edit_column};
pub use window_function::{EVENT_TIME_COLUMN, GRACE, PARTITION_BY};

use crate::error::Result;
use query::Source;
use scan::Segment;

/// The stack that must be left when the parser library goes a level deeper; with less, it goes on
/// on a new one. Its default of 128 KiB is too little for its own frames without optimisation.
const STACK_SPARE_BYTES: usize = 256 << 10;

/// Reads all statements of a text; a text without one gives [`Statement::Empty`].
///
/// # Errors
/// The first error, with its place: 42601 for syntax, 54000 and 54001 for what is too long or too
/// deep, 0A000 for what we do not have.
pub fn parse(text: &str) -> Result<Vec<Parsed>> {
    parse_each(text)?.into_iter().collect()
}

/// The same, with each statement's error for itself: what is wrong in one hides no other.
///
/// # Errors
/// When the text cannot be cut into statements, because a quote or a comment is left open.
pub fn parse_each(text: &str) -> Result<Vec<Result<Parsed>>> {
    let segments = scan::split(text)?;
    if segments.is_empty() {
        return Ok(vec![Ok(Parsed {
            statement: Statement::Empty,
            text: String::new(),
            start: scan::START,
        })]);
    }
    recursive::set_minimum_stack_size(STACK_SPARE_BYTES);
    let each = segments.iter().map(|segment| parse_one(text, segment));
    Ok(each.collect())
}

fn parse_one(text: &str, segment: &Segment) -> Result<Parsed> {
    let own = &text[segment.start..segment.end];
    let source = Source {
        text: own,
        start: segment.position,
        end: segment.end_position,
    };
    let tokens = tokens::tokenize(text, segment)?;
    depth::measure(&tokens)?;
    let statement = parser::statement(tokens, source)?;
    Ok(Parsed {
        statement,
        text: own.to_owned(),
        start: segment.position,
    })
}

#[cfg(test)]
mod tests;
