//! The planning state of DataFusion for a session: names, functions, configuration.
//!
//! One large state is built once; a session's own differs from it in its configuration and in the
//! few functions that tell about the session.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use datafusion_pg_catalog::setup_pg_catalog;
use sqlparser::ast;

use super::interruptible::Interruptible;
use super::system_tables::SystemTables;
use super::variables::Variables;
use super::{Identity, Services, pg_catalog, tables};
use crate::clock::SharedClock;
use crate::error::{Error, Result};

/// The name of the only database.
pub(crate) const DATABASE: &str = "headwater";
/// The schema of the system tables.
pub(crate) const SYSTEM: &str = "headwater";
/// The schema of the user's tables and views.
pub(crate) const PUBLIC: &str = "public";

/// The state that sessions start from.
pub(super) fn base(services: &Arc<Services>) -> Result<SessionState> {
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(Interruptible))
        .with_runtime_env(memory(services)?)
        .with_config(config("UTC")?);
    let mut state = crate::planner::extend(state);
    let ours = state.type_planner().clone();
    let context = SessionContext::new_with_state(state.build());
    let database = Arc::new(MemoryCatalogProvider::new());
    database.register_schema(PUBLIC, tables::public(services))?;
    let system = Arc::new(SystemTables::new(
        services.engine.clone(),
        services.catalog.clone(),
        Arc::clone(&services.outboxes),
        SharedClock::clone(&services.clock),
    ));
    database.register_schema(SYSTEM, system)?;
    context.register_catalog(DATABASE, Arc::clone(&database) as Arc<dyn CatalogProvider>);
    setup_pg_catalog(&context, DATABASE, EmptyContextProvider)
        .map_err(|error| Error::from(*error))?;
    pg_catalog::install(&context, &database, services)?;
    let types = Arc::new(Types { ours });
    Ok(SessionStateBuilder::new_from_existing(context.state())
        .with_type_planner(types)
        .build())
}

/// All snapshots together have this much memory, and none of them writes to the disk: one that
/// needs more ends with 53200.
fn memory(services: &Services) -> Result<Arc<RuntimeEnv>> {
    let bytes_max = services.config.limits.snapshot_memory_bytes_max;
    let pool = GreedyMemoryPool::new(usize::try_from(bytes_max).unwrap_or(usize::MAX));
    let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(no_files);
    Ok(runtime.build_arc()?)
}

/// The types of SQL: ours, and beside them those of PostgreSQL's catalogs.
#[derive(Debug)]
struct Types {
    ours: Option<Arc<dyn TypePlanner>>,
}

impl TypePlanner for Types {
    fn plan_type_field(
        &self,
        sql_type: &ast::DataType,
    ) -> Result<Option<FieldRef>, DataFusionError> {
        let ours = self
            .ours
            .as_ref()
            .map(|ours| ours.plan_type_field(sql_type))
            .transpose()?;
        match ours.flatten() {
            Some(field) => Ok(Some(field)),
            None => PgOidTypePlanner.plan_type_field(sql_type),
        }
    }
}

/// The state of one session.
pub(super) fn build(
    services: &Arc<Services>,
    variables: &Variables,
    identity: &Identity,
) -> Result<SessionState> {
    let base = services.base_state()?.clone();
    let zone = variables.get("timezone")?;
    let mut state = SessionStateBuilder::new_from_existing(base)
        .with_config(config(&zone)?)
        .build();
    for function in pg_catalog::session_functions(variables, identity) {
        state.register_udf(Arc::new(function))?;
    }
    Ok(state)
}

fn config(zone: &str) -> Result<SessionConfig> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, PUBLIC)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.set("datafusion.sql_parser.dialect", "postgresql")?;
    let offset = if zone == "UTC" { "+00:00" } else { zone };
    options.execution.time_zone = Some(offset.to_owned());
    Ok(config)
}
