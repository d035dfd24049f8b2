//! The schema `pg_catalog`: our catalogs, and those of datafusion-pg-catalog where we have none.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::Result;

use super::super::Services;
use super::{relations, tables};

/// The schema `pg_catalog`.
#[derive(Debug)]
pub(super) struct PgCatalog {
    others: Arc<dyn SchemaProvider>,
    /// The services own the planning state that owns this, and so does the database.
    services: Weak<Services>,
    database: Weak<MemoryCatalogProvider>,
}

impl PgCatalog {
    /// Ours before `others`.
    pub(super) fn new(
        others: Arc<dyn SchemaProvider>,
        services: &Arc<Services>,
        database: &Arc<MemoryCatalogProvider>,
    ) -> Self {
        Self {
            others,
            services: Arc::downgrade(services),
            database: Arc::downgrade(database),
        }
    }
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.others.table_names();
        names.extend(tables::OURS.iter().map(|name| (*name).to_owned()));
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if tables::OURS.contains(&name)
            && let (Some(services), Some(database)) =
                (self.services.upgrade(), self.database.upgrade())
        {
            let database: Arc<dyn CatalogProvider> = database;
            let relations = relations::all(&services, database.as_ref()).await?;
            return tables::build(name, &relations);
        }
        self.others.table(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        tables::OURS.contains(&name) || self.others.table_exist(name)
    }
}
