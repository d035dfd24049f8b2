//! Definitions for tests that need no broker: what the text says is put into the catalog, and
//! nothing is started.

use std::sync::Arc;

use super::Services;
use crate::catalog::{
    CreateMode, Definition, MaterializedViewDefinition, TableDefinition, ViewDefinition,
};
use crate::sql::{self, Statement};

/// Defines what the CREATE statements in `text` declare.
///
/// # Panics
/// On a statement that declares nothing, and on one that the catalog refuses.
pub(crate) fn define(services: &Services, text: &str) {
    for parsed in sql::parse(text).unwrap() {
        let definition = match parsed.statement {
            Statement::CreateTable(clause) => {
                Definition::Table(Arc::new(TableDefinition::try_new(&clause, None).unwrap()))
            }
            Statement::CreateView(clause) => {
                Definition::View(Arc::new(ViewDefinition::try_new(&clause).unwrap()))
            }
            Statement::CreateMaterializedView(clause) => Definition::MaterializedView(Arc::new(
                MaterializedViewDefinition::try_new(&clause).unwrap(),
            )),
            other => panic!("not a definition: {other:?}"),
        };
        services
            .catalog
            .create(definition, CreateMode::Fail)
            .unwrap();
    }
}
