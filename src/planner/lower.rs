//! The optimised plan, node by node from the scan upwards, as steps of ours.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::logical_plan::{FetchType, SkipType, TableScan};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::aggregate::aggregate;
use super::changelog::{self, Purpose};
use super::continuous::optimised;
use super::source::source;
use super::window_node::WindowNode;
use crate::catalog::Definitions;
use crate::error::{Error, Result, SqlState, from_datafusion};
use crate::plan::{
    AggregatePlan, BatchTime, InputPlan, QueryOptions, RowStage, SourcePlan, StreamPlan,
};
use crate::sql::StreamQuery;

/// What is to be planned.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The query.
    pub query: &'a StreamQuery,
    /// What exists.
    pub definitions: &'a Definitions,
    /// Who takes the rows.
    pub purpose: Purpose,
    /// What is set beside the SQL.
    pub options: QueryOptions,
}

/// Plans a continuous query.
///
/// # Errors
/// What the statement cannot mean, or what cannot run for ever; each says what to write instead.
pub async fn plan_stream(state: &SessionState, request: Request<'_>) -> Result<StreamPlan> {
    let Request {
        query,
        definitions,
        purpose,
        options,
    } = request;
    let batch_time = BatchTime::default();
    let logical = optimised(state, &query.query, &batch_time)
        .await
        .map_err(from_datafusion)?;
    let mut chain = Chain {
        state,
        definitions,
        source: None,
        rows: Vec::new(),
        aggregate: None,
        output: Vec::new(),
        limit: None,
    };
    chain.lower(&logical, false)?;
    let Chain {
        source,
        rows,
        aggregate,
        output,
        limit,
        ..
    } = chain;
    let source = source.ok_or_else(no_topic)?;
    let emission = changelog::emission(query, aggregate.as_ref())?;
    let key = changelog::key_columns(&logical);
    changelog::check_updates(purpose, emission, aggregate.is_some(), key.as_ref())?;
    Ok(StreamPlan {
        text: query.text.clone(),
        inputs: vec![InputPlan { source, rows }],
        aggregate,
        output,
        limit,
        key,
        schema: nullable(logical.schema()),
        emission,
        trigger: options.trigger,
        options,
        batch_time,
    })
}

/// The steps found so far, and what is needed to find more.
struct Chain<'a> {
    state: &'a SessionState,
    definitions: &'a Definitions,
    source: Option<SourcePlan>,
    rows: Vec<RowStage>,
    aggregate: Option<AggregatePlan>,
    output: Vec<RowStage>,
    limit: Option<u64>,
}

impl Chain<'_> {
    /// Adds the steps of `node`, its input's first. `grouped_above`: an aggregate takes its rows.
    fn lower(&mut self, node: &LogicalPlan, grouped_above: bool) -> Result<()> {
        match node {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input, grouped_above),
            LogicalPlan::Projection(projection) => {
                self.lower(&projection.input, grouped_above)?;
                if grouped_above {
                    projection
                        .expr
                        .iter()
                        .try_for_each(|e| refuse_volatile(e, "GROUP BY"))?;
                }
                let input = projection.input.schema();
                if is_identity(&projection.expr, input) {
                    return Ok(());
                }
                let exprs = projection
                    .expr
                    .iter()
                    .map(|expr| physical(expr, input, self.state))
                    .collect::<Result<_>>()?;
                let schema = nullable(&projection.schema);
                self.push(RowStage::Project { exprs, schema });
                Ok(())
            }
            LogicalPlan::Filter(filter) => {
                self.lower(&filter.input, grouped_above)?;
                refuse_volatile(&filter.predicate, "a condition")?;
                let predicate = physical(&filter.predicate, filter.input.schema(), self.state)?;
                self.push(RowStage::Filter(predicate));
                Ok(())
            }
            LogicalPlan::Aggregate(node) => {
                if grouped_above {
                    return Err(unsupported("an aggregate over an aggregate"));
                }
                self.lower(&node.input, true)?;
                let source = self.source.as_ref().ok_or_else(no_topic)?;
                let plan = aggregate(node, &source.event_time.column, self.state)?;
                self.aggregate = Some(plan);
                Ok(())
            }
            LogicalPlan::Limit(limit) => {
                if grouped_above {
                    return Err(unsupported("LIMIT below an aggregate"));
                }
                let skip = limit.get_skip_type().map_err(from_datafusion)?;
                let fetch = limit.get_fetch_type().map_err(from_datafusion)?;
                let (SkipType::Literal(0), FetchType::Literal(fetch)) = (skip, fetch) else {
                    return Err(unsupported("OFFSET, or a LIMIT that is no number,"));
                };
                self.lower(&limit.input, grouped_above)?;
                self.limit = fetch.map(|fetch| fetch as u64);
                Ok(())
            }
            other => Err(refused(other)),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<()> {
        let name = scan.table_name.table();
        let Some(table) = self.definitions.table(name) else {
            return Err(Error::user(
                SqlState::WrongObjectType,
                format!("\"{name}\" is not a topic's table"),
            )
            .hint("A continuous query reads tables made by CREATE TABLE, and views of them."));
        };
        let columns: Vec<&str> = scan
            .projected_schema
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect();
        self.source = Some(source(table, &columns, self.state)?);
        for predicate in &scan.filters {
            let predicate = physical(predicate, &scan.projected_schema, self.state)?;
            self.push(RowStage::Filter(predicate));
        }
        Ok(())
    }

    fn push(&mut self, stage: RowStage) {
        if self.aggregate.is_none() {
            self.rows.push(stage)
        } else {
            self.output.push(stage)
        }
    }
}

/// Compiles an expression over the columns of `schema`.
pub(super) fn physical(
    expr: &Expr,
    schema: &DFSchema,
    state: &SessionState,
) -> Result<Arc<dyn PhysicalExpr>> {
    let context = PhysicalPlanningContext::default();
    create_physical_expr(expr, schema, state.execution_props(), &context).map_err(from_datafusion)
}

/// Refuses functions whose value differs from call to call where that would decide which rows
/// exist: the same rows would then give another answer each time.
pub(super) fn refuse_volatile(expr: &Expr, place: &str) -> Result<()> {
    let volatile = expr
        .exists(|e| Ok(e.is_volatile_node()))
        .map_err(from_datafusion)?;
    if !volatile {
        return Ok(());
    }
    Err(Error::user(
        SqlState::FeatureNotSupported,
        format!(
            "now() and other volatile functions cannot be used in {place} of a continuous query"
        ),
    )
    .hint(
        "Which rows exist must not depend on when they are looked at: use a window over the event \
         time, for example FROM TUMBLE(t, ts, INTERVAL '1 minute').",
    ))
}

fn nullable(schema: &DFSchema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|f| Field::clone(f).with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn is_identity(exprs: &[Expr], input: &DFSchema) -> bool {
    let same = |index: usize, column: &Column| input.maybe_index_of_column(column) == Some(index);
    exprs.len() == input.fields().len()
        && exprs
            .iter()
            .enumerate()
            .all(|(i, e)| matches!(e, Expr::Column(c) if same(i, c)))
}

fn no_topic() -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        "a continuous query reads a topic, and this one reads none",
    )
    .hint("Without EMIT the query is a snapshot and may read anything.")
}

fn unsupported(what: &str) -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        format!("{what} is not supported in a continuous query"),
    )
}

fn refused(node: &LogicalPlan) -> Error {
    match node {
        LogicalPlan::EmptyRelation(relation) if !relation.produce_one_row => Error::user(
            SqlState::FeatureNotSupported,
            "the continuous query can never give a row: its conditions contradict each other",
        ),
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => no_topic(),
        LogicalPlan::Sort(_) => unsupported("ORDER BY")
            .hint("Rows come in the order of time; order them when you query a materialized view."),
        LogicalPlan::Join(_) => unsupported("a join"),
        LogicalPlan::Union(_) => unsupported("UNION"),
        LogicalPlan::Window(_) => unsupported("OVER (..)"),
        LogicalPlan::Distinct(_) => unsupported("DISTINCT"),
        LogicalPlan::RecursiveQuery(_) => unsupported("a recursive query"),
        LogicalPlan::Unnest(_) => unsupported("unnest"),
        window if WindowNode::of(window).is_some() => {
            unsupported("a hopping, cumulating or session window")
        }
        other => unsupported(&format!("this ({})", other.display())),
    }
}
