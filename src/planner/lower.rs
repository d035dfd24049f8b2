//! The optimised plan, node by node from the scan upwards, as steps of ours.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::logical_plan::{
    Aggregate, FetchType, Limit, Projection, SkipType, TableScan, Union,
};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::aggregate::{aggregate, groups_of};
use super::changelog::{self, Purpose};
use super::continuous::optimised;
use super::keys::keys;
use super::place::placed;
use super::ranking;
use super::raw_rows;
use super::refused::{
    is_volatile, no_topic, refuse_sub_queries, refuse_volatile, refuse_volatile_rows, refused,
    unsupported,
};
use super::source::{event_time_column, source};
use super::watched::{refuse_limit, refuse_volatile_alert};
use super::window_node::WindowNode;
use crate::catalog::Definitions;
use crate::error::{Culprit, Error, Result, SqlState, from_datafusion};
use crate::plan::{
    AggregatePlan, BatchTime, Emission, InputPlan, OutputStage, QueryOptions, RowStage, StreamPlan,
    WindowColumns, WindowPlan,
};
use crate::sql::{Emit, Identifier, StreamQuery};
use crate::types::WindowKind;

/// What is to be planned.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The query.
    pub query: &'a StreamQuery,
    /// What exists.
    pub definitions: &'a Definitions,
    /// Who takes the rows.
    pub purpose: Purpose,
    /// The columns by which an alert tells rows apart.
    pub key: &'a [Identifier],
    /// What is set beside the SQL.
    pub options: QueryOptions,
}

/// Plans a continuous query.
///
/// # Errors
/// What the statement cannot mean, or what cannot run for ever; each says what to write instead.
pub async fn plan_stream(state: &SessionState, request: Request<'_>) -> Result<StreamPlan> {
    let query = &request.query.query;
    let planned = plan(state, request).await;
    planned.map_err(|error| placed(error, query))
}

async fn plan(state: &SessionState, request: Request<'_>) -> Result<StreamPlan> {
    let Request {
        query,
        definitions,
        purpose,
        key,
        options,
    } = request;
    let batch_time = BatchTime::default();
    let planned = optimised(state, &query.query, definitions, &batch_time)
        .await
        .map_err(from_datafusion)?;
    let logical = planned.plan;
    refuse_sub_queries(&logical)?;
    refuse_volatile_alert(purpose, key, &logical)?;
    let mut chain = Chain {
        state,
        definitions,
        changes: emits_changes(planned.view_emit.unwrap_or(query.emit)),
        allowed_lateness: options.allowed_lateness.map_or(0, |lateness| {
            i64::try_from(lateness.as_micros()).unwrap_or(i64::MAX)
        }),
        inputs: Vec::new(),
        aggregate: None,
        output: Vec::new(),
        limit: None,
        volatile_output: false,
    };
    chain.lower(&logical, Above::default())?;
    let Chain {
        inputs,
        aggregate,
        output,
        limit,
        volatile_output,
        ..
    } = chain;
    if inputs.is_empty() {
        return Err(no_topic());
    }
    refuse_limit(purpose, limit)?;
    let query_emit = StreamQuery {
        emit: planned.view_emit.unwrap_or(query.emit),
        ..query.clone()
    };
    let emission = changelog::emission(&query_emit, aggregate.as_ref(), &output)?;
    let keys = keys(&logical, aggregate.as_ref(), &output);
    let adds = |aggregate: &AggregatePlan| changelog::only_adds(aggregate, options);
    let updates = emission != Emission::Final && aggregate.as_ref().is_some_and(|a| !adds(a));
    changelog::check_updates(purpose, &query_emit, updates, keys.as_ref().err())?;
    let keys = keys.ok();
    if volatile_output {
        refuse_volatile_rows(purpose, keys.is_some())?;
    }
    Ok(StreamPlan {
        text: query.text.clone(),
        inputs,
        aggregate,
        output,
        limit,
        key: keys.as_ref().map(|keys| keys.columns.clone()),
        window_key: keys.map(|keys| keys.window).unwrap_or_default(),
        schema: nullable(logical.schema()),
        emission,
        options,
        batch_time,
    })
}

fn emits_changes(emit: Option<Emit>) -> bool {
    matches!(emit, Some(Emit::Changes | Emit::Every(_)))
}

/// What stands above a node.
#[derive(Debug, Clone, Copy, Default)]
struct Above {
    /// An aggregate takes its rows.
    grouped: bool,
    /// What the nearest aggregate needs in a window's columns; without one, the bounds.
    form: Option<WindowColumns>,
}

/// The steps found so far, and what is needed to find more.
struct Chain<'a> {
    state: &'a SessionState,
    definitions: &'a Definitions,
    /// The first aggregate's rows are emitted as they change.
    changes: bool,
    /// How long windows take rows after the watermark has reached their end. Microseconds.
    allowed_lateness: i64,
    inputs: Vec<InputPlan>,
    aggregate: Option<AggregatePlan>,
    output: Vec<OutputStage>,
    limit: Option<u64>,
    /// Changing rows have a value that differs from call to call.
    volatile_output: bool,
}

impl Chain<'_> {
    /// Adds the steps of `node`, its input's first.
    fn lower(&mut self, node: &LogicalPlan, above: Above) -> Result<()> {
        if let Some(window) = WindowNode::of(node) {
            return self.window(node, window, above);
        }
        match node {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input, above),
            LogicalPlan::Projection(projection) => self.project(projection, above),
            LogicalPlan::Filter(filter) => {
                self.lower(&filter.input, above)?;
                refuse_volatile(&filter.predicate, "a condition")?;
                let predicate = physical(&filter.predicate, filter.input.schema(), self.state)?;
                self.push(RowStage::Filter(predicate));
                Ok(())
            }
            LogicalPlan::Aggregate(node) => self.aggregate(node, above),
            LogicalPlan::Union(union) => self.union(union, above),
            LogicalPlan::Window(window) => {
                self.whole_windows(&window.input, above)?;
                self.check_windowed("OVER (..)")
                    .map_err(|error| error.about(Culprit::Over))?;
                let rank = ranking::rank(window, self.state)
                    .map_err(|error| error.about(Culprit::Over))?;
                self.output.push(OutputStage::Rank(rank));
                Ok(())
            }
            LogicalPlan::Sort(sort) => {
                self.whole_windows(&sort.input, above)?;
                self.check_windowed("ORDER BY")
                    .map_err(|error| error.about(Culprit::OrderBy))?;
                if self
                    .aggregates()
                    .last()
                    .is_some_and(AggregatePlan::is_session)
                {
                    return Err(ranking::sessions_in_order().about(Culprit::OrderBy));
                }
                let top = ranking::top(sort, self.state)?;
                self.output.push(OutputStage::Top(top));
                Ok(())
            }
            LogicalPlan::Limit(limit) => self.limit(limit, above),
            other => Err(refused(other)),
        }
    }

    /// The same for what looks at all rows of a window: they come together.
    fn whole_windows(&mut self, node: &LogicalPlan, above: Above) -> Result<()> {
        if self.changes || !raw_rows::are_loose(node) {
            return self.lower(node, above);
        }
        self.aggregate(&raw_rows::counted(node)?, above)?;
        let schema = nullable(node.schema());
        self.output.push(OutputStage::Repeat(schema));
        Ok(())
    }

    fn project(&mut self, projection: &Projection, above: Above) -> Result<()> {
        self.lower(&projection.input, above)?;
        if above.grouped {
            let mut exprs = projection.expr.iter();
            exprs.try_for_each(|e| refuse_volatile(e, "GROUP BY"))?;
        }
        if self.aggregate.is_some() && self.changes {
            let mut exprs = projection.expr.iter();
            self.volatile_output |= exprs.any(|e| is_volatile(e).unwrap_or(false));
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

    fn window(&mut self, node: &LogicalPlan, window: &WindowNode, above: Above) -> Result<()> {
        let form = above.form.unwrap_or(WindowColumns::Bounds);
        let session = matches!(window.kind, WindowKind::Session { .. });
        if session && form == WindowColumns::Bounds {
            return Err(unsupported("a session without GROUP BY its window")
                .hint("Write GROUP BY window_start, window_end and the keys of the session."));
        }
        self.lower(&window.input, Above::default_below(above))?;
        let time = physical(&window.time, window.input.schema(), self.state)?;
        self.push(RowStage::Windows {
            kind: window.kind,
            time,
            form,
            schema: nullable(node.schema()),
        });
        Ok(())
    }

    fn aggregate(&mut self, node: &Aggregate, above: Above) -> Result<()> {
        let definitions = self.definitions;
        let event_time = |table: &str| {
            let table = definitions.table(table)?;
            Some(event_time_column(table).to_owned())
        };
        // The rows of an aggregate below are final.
        let changes = self.changes && !has_aggregate(&node.input);
        let groups = groups_of(node, &event_time, changes)?;
        let window = groups.window.as_ref();
        if above.grouped && (window.is_none() || changes) {
            return Err(
                unsupported("an aggregate over an aggregate whose rows change").hint(
                    "Let the inner one have a window and be final: FROM TUMBLE(t, ts, INTERVAL '1 \
                 minute') .. GROUP BY window_start, window_end, .., and emit the outer one with \
                 EMIT FINAL.",
                ),
            );
        }
        let below = Above {
            grouped: true,
            form: window.map(|window| window.form),
        };
        self.lower(&node.input, below)?;
        let mut plan = aggregate(node, &groups, self.state)?;
        if let Some(window) = &mut plan.window {
            self.allow_lateness(window);
        }
        if self.aggregate.is_none() {
            self.aggregate = Some(plan);
        } else if plan.window.is_some() {
            self.output.push(OutputStage::Aggregate(plan));
        } else {
            return Err(unsupported("an aggregate without a window over an aggregate")
                .hint("Group by window_start, window_end of the inner query, or put a window over its window_time."));
        }
        Ok(())
    }

    /// Windows of rows from topics wait as long as the query's option says, unless their own clause
    /// says it; windows over these get their rows so much later.
    fn allow_lateness(&self, window: &mut WindowPlan) {
        match &self.aggregate {
            None if window.grace == 0 => window.grace = self.allowed_lateness,
            None => {}
            Some(below) => {
                let below = below.window.as_ref().map_or(0, |window| window.grace);
                window.delay = window.delay.max(below);
            }
        }
    }

    fn union(&mut self, union: &Union, above: Above) -> Result<()> {
        let mut inputs = Vec::new();
        for branch in &union.inputs {
            let mut chain = Chain {
                inputs: Vec::new(),
                aggregate: None,
                output: Vec::new(),
                limit: None,
                volatile_output: false,
                ..*self
            };
            chain.lower(branch, above)?;
            if chain.aggregate.is_some() || chain.limit.is_some() {
                return Err(unsupported("UNION ALL of aggregates or limits")
                    .hint("Put the aggregate around the union."));
            }
            // The branches' columns have the union's names and order, perhaps not its types.
            let casts = casts(&union.schema, branch.schema(), self.state)?;
            chain.push(casts);
            inputs.append(&mut chain.inputs);
        }
        self.inputs = inputs;
        Ok(())
    }

    fn limit(&mut self, limit: &Limit, above: Above) -> Result<()> {
        if above.grouped {
            return Err(unsupported("LIMIT below an aggregate")
                .hint("The aggregate goes on for ever; put the LIMIT at the end of the query.")
                .about(Culprit::Limit));
        }
        let skip = limit.get_skip_type().map_err(from_datafusion)?;
        let fetch = limit.get_fetch_type().map_err(from_datafusion)?;
        if !matches!(skip, SkipType::Literal(0)) {
            return Err(unsupported("OFFSET")
                .hint("Leave it out: the rows come in the order in which they are made, and LIMIT n ends the query after n of them.")
                .about(Culprit::Offset));
        }
        let FetchType::Literal(fetch) = fetch else {
            return Err(unsupported("a LIMIT that is no number")
                .hint("Write the number: LIMIT 10.")
                .about(Culprit::Limit));
        };
        self.lower(&limit.input, above)?;
        match self.output.last_mut() {
            // ORDER BY .. LIMIT n: the first rows of each window.
            Some(OutputStage::Top(top)) => {
                top.limit = top.limit.into_iter().chain(fetch).min();
            }
            _ => self.limit = fetch.map(|fetch| fetch as u64),
        }
        Ok(())
    }

    /// The aggregates so far, from the topics' side.
    fn aggregates(&self) -> impl Iterator<Item = &AggregatePlan> {
        self.aggregate
            .iter()
            .chain(self.output.iter().filter_map(OutputStage::aggregate))
    }

    /// What orders or numbers rows needs whole windows.
    fn check_windowed(&self, what: &str) -> Result<()> {
        let first = self.aggregate.as_ref();
        if first.is_some_and(|first| first.window.is_some()) && !self.changes {
            return Ok(());
        }
        Err(unsupported(&format!("{what} on rows that never are complete")).hint(
            "Group by a window and use EMIT FINAL: its rows come all at once when it closes. Or \
             keep the rows in a materialized view and order them when you query it.",
        ))
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
        let rows = Vec::new();
        let source = source(table, &columns, self.state)?;
        self.inputs = vec![InputPlan { source, rows }];
        for predicate in &scan.filters {
            let predicate = physical(predicate, &scan.projected_schema, self.state)?;
            self.push(RowStage::Filter(predicate));
        }
        Ok(())
    }

    fn push(&mut self, stage: RowStage) {
        if self.aggregate.is_some() {
            self.output.push(OutputStage::Rows(stage));
            return;
        }
        for input in &mut self.inputs {
            input.rows.push(stage.clone());
        }
    }
}

impl Above {
    /// For what stands below a window: only that an aggregate is above.
    fn default_below(above: Self) -> Self {
        Self {
            grouped: above.grouped,
            ..Self::default()
        }
    }
}

fn has_aggregate(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_))))
        .unwrap_or(false)
}

/// A projection of a branch's columns to the union's types and names.
fn casts(union: &DFSchema, branch: &DFSchema, state: &SessionState) -> Result<RowStage> {
    let columns = branch.columns().into_iter().zip(union.fields());
    let exprs = columns
        .map(|(column, field)| {
            let expr = Expr::Column(column);
            let expr = expr.cast_to(field.data_type(), branch);
            physical(&expr.map_err(from_datafusion)?, branch, state)
        })
        .collect::<Result<_>>()?;
    let schema = nullable(union);
    Ok(RowStage::Project { exprs, schema })
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
