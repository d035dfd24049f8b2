//! What every session's DataFusion gets from us: types, windows, JSON operators, functions and
//! aggregates.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;

use super::casts::CASTS;
use super::fields::RowFields;
use super::integers::CHECKED_INTEGERS;
use super::interval_order::IntervalOrder;
use super::literals::TypedLiterals;
use super::types::PostgresTypes;
use super::window_exec::WindowPlanner;
use super::window_relation::WindowRelations;
use crate::functions::{
    AggregateSpellings, IntervalOperators, JsonOperators, aggregate_functions, scalar_functions,
};

/// Adds ours to a builder that already has DataFusion's defaults.
pub fn extend(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder
        .expr_planners()
        .get_or_insert_with(Vec::new)
        .insert(0, Arc::new(JsonOperators));
    builder
        .expr_planners()
        .get_or_insert_with(Vec::new)
        .insert(0, Arc::new(AggregateSpellings));
    builder
        .expr_planners()
        .get_or_insert_with(Vec::new)
        .insert(0, Arc::new(IntervalOperators));
    builder
        .expr_planners()
        .get_or_insert_with(Vec::new)
        .insert(0, Arc::new(RowFields));
    builder
        .expr_planners()
        .get_or_insert_with(Vec::new)
        .insert(0, Arc::new(TypedLiterals));
    builder
        .aggregate_functions()
        .get_or_insert_with(Vec::new)
        .extend(aggregate_functions());
    builder
        .scalar_functions()
        .get_or_insert_with(Vec::new)
        .extend(scalar_functions());
    builder
        .with_analyzer_rule(Arc::new(CHECKED_INTEGERS))
        .with_analyzer_rule(Arc::new(CASTS))
        .with_analyzer_rule(Arc::new(IntervalOrder))
        .with_type_planner(Arc::new(PostgresTypes))
        .with_query_planner(Arc::new(WindowPlanner))
        .with_relation_planners(vec![Arc::new(WindowRelations)])
}
