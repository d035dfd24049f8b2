//! PostgreSQL's system catalogs and functions, as far as clients ask for them.
//!
//! The tables are those of datafusion-pg-catalog where ours are not better; queries that read them
//! go through its rewriter, which knows what clients write and DataFusion does not plan.

mod functions;
mod rewrite;

use std::sync::Arc;

use datafusion::catalog::MemoryCatalogProvider;
use datafusion::prelude::SessionContext;

pub(super) use functions::session_functions;
pub(super) use rewrite::rewrite;

use crate::error::Result;

/// Adds the catalogs and functions that are the same for every session.
pub(super) fn install(
    context: &SessionContext,
    _database: &Arc<MemoryCatalogProvider>,
) -> Result<()> {
    for function in functions::common() {
        context.register_udf(function);
    }
    Ok(())
}
