//! The schema `pg_catalog`: our catalogs, and those of datafusion-pg-catalog where we have none.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::Result;

use super::relations::Known;
use super::tables;

/// The schema `pg_catalog`: ours before the others.
#[derive(Debug)]
pub(super) struct PgCatalog {
    pub others: Arc<dyn SchemaProvider>,
    pub known: Known,
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
        if tables::OURS.contains(&name) {
            return tables::build(name, &self.known.all().await?);
        }
        self.others.table(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        tables::OURS.contains(&name) || self.others.table_exist(name)
    }
}
