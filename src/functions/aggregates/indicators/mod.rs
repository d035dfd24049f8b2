//! Market indicators: `ema`, `rsi`, `volatility`, `drawdown`, `pct_change` and `zscore` over rows in an order.
//!
//! Each is called with an ORDER BY. Of rows that it leaves equal the one with the smaller value comes first, so that the
//! order follows from the rows alone: lanes, panes, batches and checkpoints can be cut and merged anywhere. Rows without
//! a value, or with a NULL in the first ordering expression, do not count. Called with OVER, where there is no such
//! ORDER BY, rows are taken in the order in which they come.

mod ends;
mod folds;
mod moments;
mod pair;
mod series;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, SqlState};
use ends::{Change, Standing};
use folds::{Drawdown, Ema, Rsi, Spread};
use pair::Places;
use series::Series;

/// Over how many changes `rsi` looks unless it is told.
const PERIOD_DEFAULT: u32 = 14;
/// Over how many changes `rsi` looks at the most.
const PERIOD_MAX: u32 = 1_000;

/// All of them.
pub(super) fn functions() -> [AggregateUDF; 6] {
    Kind::ALL.map(|kind| {
        AggregateUDF::from(Indicator {
            kind,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
}

/// How an indicator is called, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct IndicatorCall {
    /// Whether there is an ORDER BY among its arguments.
    pub is_ordered: bool,
    /// Whether it is called with DISTINCT.
    pub is_distinct: bool,
    /// Its second argument, if that is a constant.
    pub parameter: Option<f64>,
}

/// Checks a call of the aggregate of that name; there is nothing to say about other functions.
///
/// # Errors
/// A call without ORDER BY, one with DISTINCT, a constant that can never work.
pub fn check_indicator(name: &str, call: IndicatorCall) -> Result<(), Error> {
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
        return Ok(());
    };
    if call.is_distinct {
        let message = format!("DISTINCT is not supported for {name}");
        let hint = format!("{} looks at every row, also at equal ones.", kind.name());
        return Err(Error::user(SqlState::FeatureNotSupported, message).hint(hint));
    }
    if !call.is_ordered {
        let message = format!("ORDER BY is required for {name}");
        let hint = format!("Write {}.", kind.form());
        return Err(Error::user(SqlState::WrongObjectType, message).hint(hint));
    }
    match (kind, call.parameter) {
        (Kind::Ema, Some(alpha)) if !(alpha > 0.0 && alpha <= 1.0) => Err(alpha_error()),
        (Kind::Rsi, Some(period)) if !(1.0..=f64::from(PERIOD_MAX)).contains(&period) => {
            Err(period_error())
        }
        _ => Ok(()),
    }
}

fn alpha_error() -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        "ema(x, alpha) takes a constant above 0 and up to 1 as its alpha",
    )
    .hint("alpha is the weight of the newest value; 2.0 / (n + 1) is usual for a mean over about n values.")
}

fn period_error() -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        format!("rsi(x, period) takes a constant from 1 to {PERIOD_MAX} as its period"),
    )
    .hint("period is over how many changes the mean gain and loss are taken; 14 is usual.")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Ema,
    Rsi,
    Volatility,
    Drawdown,
    PctChange,
    ZScore,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Ema,
        Self::Rsi,
        Self::Volatility,
        Self::Drawdown,
        Self::PctChange,
        Self::ZScore,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ema => "ema",
            Self::Rsi => "rsi",
            Self::Volatility => "volatility",
            Self::Drawdown => "drawdown",
            Self::PctChange => "pct_change",
            Self::ZScore => "zscore",
        }
    }

    fn form(self) -> &'static str {
        match self {
            Self::Ema => "ema(x, alpha ORDER BY ts)",
            Self::Rsi => "rsi(x ORDER BY ts) or rsi(x, period ORDER BY ts)",
            Self::Volatility => "volatility(x ORDER BY ts)",
            Self::Drawdown => "drawdown(x ORDER BY ts)",
            Self::PctChange => "pct_change(x ORDER BY ts)",
            Self::ZScore => "zscore(x ORDER BY ts)",
        }
    }

    /// What it is called with.
    fn takes(self) -> &'static str {
        match self {
            Self::Ema => "a number, and the weight of the newest one",
            Self::Rsi => "a number, and over how many changes",
            Self::Volatility | Self::Drawdown | Self::PctChange | Self::ZScore => "a number",
        }
    }

    /// The types of its arguments, if it can be called with arguments of such types.
    fn arguments(self, given: &[DataType]) -> Option<Vec<DataType>> {
        let is_number = |of: &DataType| of.is_numeric() || of.is_null();
        let parameter = match (self, given) {
            (_, [x]) if self != Self::Ema && is_number(x) => None,
            (Self::Ema, [x, alpha]) if is_number(x) && is_number(alpha) => Some(DataType::Float64),
            (Self::Rsi, [x, period]) if is_number(x) && period.is_integer() => {
                Some(DataType::Int64)
            }
            _ => return None,
        };
        Some([DataType::Float64].into_iter().chain(parameter).collect())
    }

    /// The columns of its state.
    fn state(self) -> Vec<(&'static str, DataType)> {
        let list = |of| DataType::List(Arc::new(Field::new_list_field(of, true)));
        let (value, key) = (DataType::Float64, DataType::Binary);
        match self {
            Self::Ema | Self::Rsi | Self::Volatility | Self::Drawdown => {
                vec![("values", list(value)), ("keys", list(key))]
            }
            Self::PctChange => vec![
                ("first", value.clone()),
                ("first_key", key.clone()),
                ("last", value),
                ("last_key", key),
            ],
            Self::ZScore => vec![
                ("last", value.clone()),
                ("last_key", key),
                ("count", DataType::Int64),
                ("mean", value.clone()),
                ("squares", value),
            ],
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Indicator {
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Indicator {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match self.kind.arguments(arguments) {
            Some(types) => Ok(types),
            None => plan_err!("Write {}: {}", self.kind.form(), self.kind.takes()),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _is_ordered: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let parts = self.kind.state().into_iter();
        let field = |(part, of)| {
            let name = format_state_name(arguments.name, part);
            Arc::new(Field::new(name, of, true))
        };
        Ok(parts.map(field).collect())
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let parameter = constant(&arguments)?;
        let call = IndicatorCall {
            // With OVER it is the window that has the order.
            is_ordered: true,
            is_distinct: arguments.is_distinct,
            parameter,
        };
        check_indicator(self.name(), call)?;
        let places = Places::try_new(&arguments)?;
        Ok(match (self.kind, parameter) {
            (Kind::Ema, Some(alpha)) => Box::new(Series::new(places, Ema::new(alpha))),
            (Kind::Ema, None) => return Err(alpha_error().into()),
            (Kind::Rsi, Some(period)) => Box::new(Series::new(places, Rsi::new(period))),
            (Kind::Rsi, None) if arguments.exprs.len() > 1 => return Err(period_error().into()),
            (Kind::Rsi, None) => {
                let period = f64::from(PERIOD_DEFAULT);
                Box::new(Series::new(places, Rsi::new(period)))
            }
            (Kind::Volatility, _) => Box::new(Series::new(places, Spread::default())),
            (Kind::Drawdown, _) => Box::new(Series::new(places, Drawdown::default())),
            (Kind::PctChange, _) => Box::new(Change::new(places)),
            (Kind::ZScore, _) => Box::new(Standing::new(places)),
        })
    }
}

/// The second argument, if there is one that does not depend on the row.
fn constant(arguments: &AccumulatorArgs<'_>) -> Result<Option<f64>> {
    let Some(argument) = arguments.exprs.get(1) else {
        return Ok(None);
    };
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let Ok(ColumnarValue::Scalar(value)) = argument.evaluate(&nothing) else {
        return Ok(None);
    };
    match value.cast_to(&DataType::Float64)? {
        ScalarValue::Float64(value) => Ok(value),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
