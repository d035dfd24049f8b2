//! What names in FROM stand for: the catalog's tables and views, looked up when a query is planned.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::metadata::FieldMetadata;
use datafusion::datasource::{MemTable, ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};

use super::Services;
use crate::catalog::{
    ColumnOrigin, Definition, Definitions, MaterializedViewDefinition, TableDefinition,
    ViewDefinition,
};
use crate::clock::SharedClock;
use crate::engine::SnapshotRejects;
use crate::planner::{plan_query, table_scan};
use crate::scan::TopicTable;

/// The schema of the user's tables and views.
pub(super) fn public(services: &Arc<Services>) -> Arc<dyn SchemaProvider> {
    Arc::new(PublicSchema {
        services: Arc::downgrade(services),
    })
}

/// Resolves names against the catalog as it is when a query is planned.
#[derive(Debug)]
struct PublicSchema {
    /// The services own the planning state that owns this.
    services: std::sync::Weak<Services>,
}

impl PublicSchema {
    fn definitions(&self) -> Option<(Arc<Services>, Arc<Definitions>)> {
        let services = self.services.upgrade()?;
        let definitions = services.catalog.snapshot();
        Some((services, definitions))
    }
}

#[async_trait]
impl SchemaProvider for PublicSchema {
    fn table_names(&self) -> Vec<String> {
        let Some((_, definitions)) = self.definitions() else {
            return Vec::new();
        };
        definitions
            .all()
            .filter(|definition| definition.can_be_read())
            .map(|definition| definition.name().to_owned())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some((services, definitions)) = self.definitions() else {
            return Ok(None);
        };
        let Some(definition) = definitions.get(name) else {
            return Ok(None);
        };
        match definition {
            Definition::Table(table) => topic_table(&services, table).map(Some),
            Definition::View(view) => self::view(&services, view).await.map(Some),
            Definition::MaterializedView(view) => materialized(&services, view).map(Some),
            Definition::Sink(_) | Definition::Alert(_) | Definition::Secret(_) => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}

/// A topic; computed columns are a projection over it.
fn topic_table(
    services: &Arc<Services>,
    table: &Arc<TableDefinition>,
) -> Result<Arc<dyn TableProvider>> {
    let set_aside = Arc::clone(services.engine.set_aside());
    let clock = SharedClock::clone(&services.clock);
    let rejects = Arc::new(SnapshotRejects::new(
        set_aside,
        clock,
        table.options.on_error,
    ));
    let spec = table_scan(table).map_err(external)?;
    let topic: Arc<dyn TableProvider> = Arc::new(TopicTable::new(spec, rejects));
    let computed = |origin: &ColumnOrigin| matches!(origin, ColumnOrigin::Computed(_));
    if !table.columns.iter().any(|column| computed(&column.origin)) {
        return Ok(topic);
    }
    let scan = LogicalPlanBuilder::scan(table.name.as_str(), provider_as_source(topic), None)?;
    let state = services.base_state().map_err(external)?;
    let schema = Arc::clone(scan.schema());
    let columns: Vec<Expr> = table
        .columns
        .iter()
        .map(|column| match &column.origin {
            ColumnOrigin::Computed(expr) => {
                let expr = state.create_logical_expr(&expr.to_string(), &schema)?;
                let data_type = column.field.data_type().clone();
                let metadata = FieldMetadata::from(column.field.metadata().clone());
                let name = column.field.name();
                Ok(cast(expr, data_type).alias_with_metadata(name, Some(metadata)))
            }
            ColumnOrigin::Payload(_) | ColumnOrigin::Metadata(_) => Ok(Expr::Column(
                datafusion::common::Column::from_name(column.field.name()),
            )),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(ViewTable::new(
        scan.project(columns)?.build()?,
        None,
    )))
}

async fn view(
    services: &Arc<Services>,
    view: &Arc<ViewDefinition>,
) -> Result<Arc<dyn TableProvider>> {
    let state = services.base_state().map_err(external)?;
    let plan = plan_query(state, view.query.query.clone()).await?;
    let plan = rename(plan, &view.columns)?;
    Ok(Arc::new(ViewTable::new(plan, Some(view.sql.clone()))))
}

/// Gives a plan's columns the names that its CREATE statement lists.
fn rename(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let columns: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .zip(names.iter().map(Some).chain(std::iter::repeat(None)))
        .map(|(column, name)| match name {
            Some(name) => Expr::Column(column).alias(name),
            None => Expr::Column(column),
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// A materialized view's rows as they are now.
fn materialized(
    services: &Arc<Services>,
    view: &Arc<MaterializedViewDefinition>,
) -> Result<Arc<dyn TableProvider>> {
    let rows = services.engine.materialized(&view.name).ok_or_else(|| {
        external(
            crate::error::Error::user(
                crate::error::SqlState::ObjectNotInPrerequisiteState,
                format!("materialized view \"{}\" is not running", view.name),
            )
            .hint("SELECT name, state, last_error FROM headwater.queries tells why."),
        )
    })?;
    let schema: SchemaRef = rows.schema();
    let batches = rows.rows().map_err(external)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![batches])?))
}

pub(super) fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
