//! PostgreSQL's system catalogs and functions, as far as clients ask for them.
//!
//! The tables are those of datafusion-pg-catalog where ours are not better; queries that read them
//! go through its rewriter, which knows what clients write and DataFusion does not plan.

mod functions;
mod information_schema;
mod relations;
mod respell;
mod rewrite;
mod schema;
mod sheet;
mod tables;

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::prelude::SessionContext;

pub(super) use functions::session_functions;
pub(super) use rewrite::rewrite;

use super::Services;
use crate::error::Result;

/// Adds the catalogs and functions that are the same for every session, over those of
/// datafusion-pg-catalog.
pub(super) fn install(
    context: &SessionContext,
    database: &Arc<MemoryCatalogProvider>,
    services: &Arc<Services>,
) -> Result<()> {
    for function in functions::common(services) {
        context.register_udf(function);
    }
    if let Some(others) = database.schema(relations::PG_CATALOG) {
        let ours = schema::PgCatalog::new(others, services, database);
        database.register_schema(relations::PG_CATALOG, Arc::new(ours))?;
    }
    let databases = Arc::clone(context.state().catalog_list());
    let information = information_schema::InformationSchema::new(databases, services, database);
    database.register_schema("information_schema", Arc::new(information))?;
    Ok(())
}
