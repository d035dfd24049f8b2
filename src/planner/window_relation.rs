//! Window functions in FROM, in the canonical form that the parser gives, become a node that adds
//! the window's bounds.

use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::scalar::ScalarValue;
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Query, Spanned, TableFactor, TableFunctionArgs,
};

use super::statement::window_function;
use super::window_limits::check_kind;
use super::window_node::WindowNode;
use crate::catalog::{EVENT_TIME_MARK, sql_type_name};
use crate::error::{Error, Position, SqlState};
use crate::sql::{EVENT_TIME_COLUMN, GRACE, PARTITION_BY, fold as fold_name};
use crate::types::{WindowBound, WindowKind};

/// Plans `tumble(..)`, `hop(..)`, `cumulate(..)` and `session(..)`.
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
        let Some(function) = window_function(name) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let call = Call::read(&function, position(name), arguments)?;
        let plan = call.plan(context)?;
        let planned = PlannedRelation::new(plan, alias.clone());
        Ok(RelationPlanning::Planned(Box::new(planned)))
    }
}

/// A window function's arguments, in the parser's canonical form.
struct Call<'a> {
    function: &'a str,
    position: Option<Position>,
    input: &'a Query,
    time: &'a SqlExpr,
    lengths: Vec<&'a SqlExpr>,
    keys: Vec<&'a SqlExpr>,
    grace: Option<&'a SqlExpr>,
}

impl<'a> Call<'a> {
    fn read(
        function: &'a str,
        position: Option<Position>,
        arguments: &'a TableFunctionArgs,
    ) -> Result<Self> {
        let mut unnamed = Vec::new();
        let mut keys = Vec::new();
        let mut grace = None;
        for argument in &arguments.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => unnamed.push(expr),
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } if name.value == PARTITION_BY => keys.push(expr),
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } if name.value == GRACE => grace = Some(expr),
                other => return internal_err!("{other} as a window's argument"),
            }
        }
        let [SqlExpr::Subquery(input), time, lengths @ ..] = unnamed.as_slice() else {
            return internal_err!("a window function in no canonical form");
        };
        Ok(Self {
            function,
            position,
            input,
            time,
            lengths: lengths.to_vec(),
            keys,
            grace,
        })
    }

    fn plan(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let input = context.plan(TableFactor::Derived {
            lateral: false,
            subquery: Box::new(self.input.clone()),
            alias: None,
            sample: None,
        })?;
        let time = time_column(self.time, &input, context)?;
        check_time(&time, &input, position(self.time))?;
        let kind = self.kind(&input, context)?;
        let grace = match self.grace {
            Some(grace) => interval(grace, "grace", &input, context)?,
            None => 0,
        };
        let keys = self
            .keys
            .iter()
            .map(|key| session_key(key, &input, context))
            .collect::<Result<Vec<_>>>()?;
        let Hidden { input, time, keys } = Hidden::try_new(input, time, keys)?;
        shown(WindowNode::try_new(input, kind, time, keys, grace)?.into_plan())
    }

    fn kind(
        &self,
        input: &LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<WindowKind> {
        let names: &[&str] = match self.function {
            "tumble" => &["size", "offset"],
            "hop" => &["slide", "size", "offset"],
            "cumulate" => &["step", "size", "offset"],
            _ => &["gap"],
        };
        let mut lengths = [0; 3];
        for ((sql, name), length) in self.lengths.iter().zip(names).zip(&mut lengths) {
            *length = interval(sql, name, input, context)?;
            if *name != "offset" && *length <= 0 {
                let message = format!("a window's {name} must be greater than zero");
                let error = Error::user(SqlState::InvalidParameterValue, message)
                    .hint("Write a length above zero, such as INTERVAL '1 minute'.");
                return Err(external(error.at(position(*sql))));
            }
        }
        let kind = match (self.function, lengths) {
            ("tumble", [size, offset, _]) => WindowKind::Tumble { size, offset },
            ("hop", [slide, size, offset]) => WindowKind::Hop {
                slide,
                size,
                offset,
            },
            ("cumulate", [step, size, offset]) => WindowKind::Cumulate { step, size, offset },
            (_, [gap, ..]) => WindowKind::Session { gap },
        };
        check_kind(kind).map_err(|error| external(error.at(self.position)))?;
        Ok(kind)
    }
}

/// What the names of the input's columns begin with that the window's own columns hide.
const HIDDEN: &str = "$below.";

/// A window's input; where it has windows already, their bounds step aside for the new ones.
struct Hidden {
    input: LogicalPlan,
    time: Expr,
    keys: Vec<Expr>,
}

impl Hidden {
    fn try_new(input: LogicalPlan, time: Expr, keys: Vec<Expr>) -> Result<Self> {
        let is_bound = |column: &Column| WindowBound::ALL.iter().any(|b| b.column() == column.name);
        let columns = input.schema().columns();
        if !columns.iter().any(is_bound) {
            return Ok(Self { input, time, keys });
        }
        let hidden = |column: &Column| format!("{HIDDEN}{}", column.name);
        let items = columns.into_iter().map(|column| match is_bound(&column) {
            true => {
                let (relation, name) = (column.relation.clone(), hidden(&column));
                Expr::Column(column).alias_qualified(relation, name)
            }
            false => Expr::Column(column),
        });
        let input = LogicalPlanBuilder::from(input).project(items)?.build()?;
        let moved = |expr: Expr| {
            expr.transform(|expr| match expr {
                Expr::Column(column) if is_bound(&column) => {
                    let name = hidden(&column);
                    let column = Column::new(column.relation, name);
                    Ok(Transformed::yes(Expr::Column(column)))
                }
                other => Ok(Transformed::no(other)),
            })
            .map(|moved| moved.data)
        };
        Ok(Self {
            input,
            time: moved(time)?,
            keys: keys.into_iter().map(moved).collect::<Result<_>>()?,
        })
    }
}

/// The columns that are not hidden.
fn shown(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let (hidden, shown): (Vec<Column>, Vec<Column>) = columns
        .into_iter()
        .partition(|column| column.name.starts_with(HIDDEN));
    if hidden.is_empty() {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan)
        .project(shown.into_iter().map(Expr::Column))?
        .build()
}

/// A key of a session. A pair is the input's column of that name or, if it has none, the expression
/// that the query's output calls so: GROUP BY takes either.
fn session_key(
    key: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    match key {
        SqlExpr::Tuple(pair) if pair.len() == 2 => {
            let [SqlExpr::Identifier(name), other] = pair.as_slice() else {
                return internal_err!("a session's key in no canonical form");
            };
            let name_of = |field: &Field| field.name() == &fold_name(name);
            let is_column = input.schema().fields().iter().any(|f| name_of(f));
            let key = if is_column { &pair[0] } else { other };
            context.sql_to_expr(key.clone(), input.schema())
        }
        key => context.sql_to_expr(key.clone(), input.schema()),
    }
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
            .hint("Use the table's event-time column: the one that its WATERMARK FOR names.")
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
pub(super) fn position(sql: &impl Spanned) -> Option<Position> {
    let start = sql.span().start;
    (start.line > 0).then_some(Position {
        line: start.line,
        column: start.column,
    })
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
