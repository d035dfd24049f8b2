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

use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::prelude::SessionContext;

pub(super) use functions::session_functions;
pub(super) use rewrite::rewrite;

use self::information_schema::InformationSchema;
use self::relations::{INFORMATION_SCHEMA, Known, PG_CATALOG};
use self::schema::PgCatalog;
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
    let known = Known::new(services, database);
    if let Some(others) = database.schema(PG_CATALOG) {
        let known = known.clone();
        database.register_schema(PG_CATALOG, Arc::new(PgCatalog { others, known }))?;
    }
    let others = InformationSchemaProvider::new(Arc::clone(context.state().catalog_list()));
    let information = InformationSchema { others, known };
    database.register_schema(INFORMATION_SCHEMA, Arc::new(information))?;
    Ok(())
}
