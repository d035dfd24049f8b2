//! Window functions in FROM, in the canonical form that the parser gives, become a projection that
//! adds the window's bounds.

use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::scalar::ScalarValue;
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Spanned, TableFactor, TableFunctionArgs,
};

use crate::catalog::{EVENT_TIME_MARK, sql_type_name};
use crate::error::{Error, Position, SqlState};
use crate::functions::window_bound;
use crate::sql::EVENT_TIME_COLUMN;
use crate::types::{WindowBound, WindowKind};

/// Plans `tumble(..)`; other windows are told to be unknown.
#[derive(Debug)]
pub(super) struct WindowRelations;

impl RelationPlanner for WindowRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table {
            name,
            alias,
            args: Some(arguments),
            ..
        } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let function = name.to_string().to_lowercase();
        match function.as_str() {
            "tumble" => {
                let plan = tumble(arguments, context)?;
                let planned = PlannedRelation::new(plan, alias.clone());
                Ok(RelationPlanning::Planned(Box::new(planned)))
            }
            "hop" | "cumulate" | "session" => Err(external(
                Error::user(
                    SqlState::FeatureNotSupported,
                    format!("{function} windows are not supported yet"),
                )
                .hint("TUMBLE is.")
                .at(position(name)),
            )),
            _ => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
}

fn tumble(
    arguments: &TableFunctionArgs,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    if let Some(named) = arguments
        .args
        .iter()
        .find(|argument| expression(argument).is_none())
    {
        let error = Error::user(
            SqlState::FeatureNotSupported,
            format!("{named} of a window is not supported yet"),
        );
        return Err(external(
            error.hint("Late rows are bounded by the table's WATERMARK clause."),
        ));
    }
    let expressions: Vec<&SqlExpr> = arguments.args.iter().filter_map(expression).collect();
    let (input, time, size, offset) = match expressions.as_slice() {
        [SqlExpr::Subquery(input), time, size] => (input, *time, *size, None),
        [SqlExpr::Subquery(input), time, size, offset] => (input, *time, *size, Some(*offset)),
        _ => {
            let error = Error::user(
                SqlState::InvalidParameterValue,
                "tumble takes a table, a time column, a size and perhaps an offset",
            );
            return Err(external(error.hint(
                "For example: TUMBLE(trades, \"timestamp\", INTERVAL '1 minute').",
            )));
        }
    };
    let input = context.plan(TableFactor::Derived {
        lateral: false,
        subquery: input.clone(),
        alias: None,
        sample: None,
    })?;
    let time_expr = time_column(time, &input, context)?;
    check_time(&time_expr, &input, position(time))?;
    let size_micros = interval(size, "size", &input, context)?;
    if size_micros <= 0 {
        return Err(external(
            Error::user(
                SqlState::InvalidParameterValue,
                "a window's size must be positive",
            )
            .at(position(size)),
        ));
    }
    let offset = match offset {
        Some(offset) => interval(offset, "offset", &input, context)?,
        None => 0,
    };
    let kind = WindowKind::Tumble {
        size: size_micros,
        offset,
    };
    with_bounds(input, kind, &time_expr)
}

/// The time column; the event time where the clause names none.
fn time_column(
    time: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    if !matches!(time, SqlExpr::Identifier(name) if name.value == EVENT_TIME_COLUMN) {
        return context.sql_to_expr(time.clone(), input.schema());
    }
    let marked = |field: &Field| field.metadata().contains_key(EVENT_TIME_MARK);
    let schema = input.schema();
    let mut found = schema
        .columns()
        .into_iter()
        .zip(schema.fields())
        .filter(|(_, f)| marked(f));
    match (found.next(), found.next()) {
        (Some((column, _)), None) => Ok(Expr::Column(column)),
        (Some(_), Some(_)) => Err(external(Error::user(
            SqlState::AmbiguousColumn,
            "the window's input has more than one event time",
        ))),
        (None, _) => Err(external(
            Error::user(
                SqlState::WindowingError,
                "the window's input has no event time",
            )
            .hint(
                "Declare WATERMARK FOR a column when you create the table, and keep the column in \
                 the window's input.",
            ),
        )),
    }
}

/// All columns of the input, and the window's bounds.
fn with_bounds(input: LogicalPlan, kind: WindowKind, time: &Expr) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    for bound in [WindowBound::Start, WindowBound::End, WindowBound::Time] {
        columns.push(window_bound(kind, bound, time.clone()).alias(bound.column()));
    }
    LogicalPlanBuilder::from(input).project(columns)?.build()
}

fn expression(argument: &FunctionArg) -> Option<&SqlExpr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn check_time(time: &Expr, input: &LogicalPlan, position: Option<Position>) -> Result<()> {
    use datafusion::logical_expr::ExprSchemable;
    let Expr::Column(column) = time else {
        let error = Error::user(SqlState::WindowingError, "a window needs a time column");
        return Err(external(error.at(position)));
    };
    match time.get_type(input.schema())? {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(()),
        other => Err(external(
            Error::user(
                SqlState::DatatypeMismatch,
                format!(
                    "a window needs a timestamp, and column \"{}\" is {}",
                    column.name,
                    sql_type_name(&Field::new("", other, true))
                ),
            )
            .at(position),
        )),
    }
}

/// The microseconds of an interval of fixed length.
fn interval(
    sql: &SqlExpr,
    what: &str,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<i64> {
    let refused = |message: String| {
        external(Error::user(SqlState::InvalidParameterValue, message).at(position(sql)))
    };
    let value = context.sql_to_expr(sql.clone(), input.schema())?;
    let value = fold(value);
    let Some(IntervalMonthDayNano {
        months,
        days,
        nanoseconds,
    }) = value
    else {
        return Err(refused(format!("a window's {what} must be an interval")));
    };
    if months != 0 {
        let error = Error::user(
            SqlState::InvalidParameterValue,
            format!("a window's {what} must have a fixed length"),
        )
        .hint("Months and years differ in length: use days, for example INTERVAL '30 days'.");
        return Err(external(error.at(position(sql))));
    }
    if nanoseconds % 1_000 != 0 {
        return Err(refused(format!(
            "a window's {what} is at least a whole microsecond"
        )));
    }
    i64::from(days)
        .checked_mul(86_400_000_000)
        .and_then(|micros| micros.checked_add(nanoseconds / 1_000))
        .ok_or_else(|| refused(format!("a window's {what} is out of range")))
}

/// A literal interval, perhaps negated.
fn fold(value: Expr) -> Option<IntervalMonthDayNano> {
    match value {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) => Some(value),
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => Some(
            IntervalMonthDayNano::new(0, value.days, i64::from(value.milliseconds) * 1_000_000),
        ),
        Expr::Negative(inner) => {
            let IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            } = fold(*inner)?;
            Some(IntervalMonthDayNano::new(-months, -days, -nanoseconds))
        }
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            arrow::compute::kernels::cast_utils::parse_interval_month_day_nano(&text).ok()
        }
        _ => None,
    }
}

/// Where a piece of SQL stands.
fn position(sql: &impl Spanned) -> Option<Position> {
    let start = sql.span().start;
    (start.line > 0).then_some(Position {
        line: start.line,
        column: start.column,
    })
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
