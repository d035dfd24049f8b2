//! `ohlc(price, ts)`: the first, greatest, least and last price, as a row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StructArray};
use arrow::compute::{and, filter, is_not_null};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::best::{Best, Wanted};

/// The columns of the row.
const PARTS: [&str; 4] = ["open", "high", "low", "close"];

pub(super) fn function() -> AggregateUDF {
    AggregateUDF::from(Ohlc {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ohlc {
    signature: Signature,
}

impl AggregateUDFImpl for Ohlc {
    fn name(&self) -> &str {
        "ohlc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [price, time] = arguments else {
            return plan_err!("Write ohlc(price, ts): a number and a time");
        };
        let price = if price.is_null() {
            &DataType::Float64
        } else {
            price
        };
        let is_time = time.is_temporal() || time.is_integer();
        if !price.is_numeric() || !is_time || matches!(time, DataType::Interval(_)) {
            return plan_err!("Write ohlc(price, ts): a number and a time");
        }
        Ok(vec![price.clone(), time.clone()])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let part = |name: &&str| Field::new(*name, arguments[0].clone(), true);
        Ok(DataType::Struct(PARTS.iter().map(part).collect()))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let price = arguments.input_fields[0].data_type();
        let time = arguments.input_fields[1].data_type();
        let parts = [
            ("open", price),
            ("opened_at", time),
            ("high", price),
            ("low", price),
            ("close", price),
            ("closed_at", time),
        ];
        let field = |(part, of): (&str, &DataType)| {
            let name = format_state_name(arguments.name, part);
            Arc::new(Field::new(name, of.clone(), true))
        };
        Ok(parts.into_iter().map(field).collect())
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let DataType::Struct(parts) = arguments.return_type() else {
            return exec_err!("ohlc gives a row");
        };
        let price = arguments.expr_fields[0].data_type();
        let time = arguments.expr_fields[1].data_type();
        Ok(Box::new(Candle {
            parts: parts.clone(),
            open: Best::try_new(Wanted::First, price, time)?,
            high: Best::try_new(Wanted::Greatest, price, price)?,
            low: Best::try_new(Wanted::First, price, price)?,
            close: Best::try_new(Wanted::Last, price, time)?,
        }))
    }
}

/// Of trades at the same time the first seen opens and the last seen closes. Rows without a price
/// or without a time do not count.
#[derive(Debug)]
struct Candle {
    parts: Fields,
    open: Best,
    high: Best,
    low: Best,
    close: Best,
}

impl Accumulator for Candle {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [price, time] = &columns[..2] else {
            return exec_err!("ohlc takes two columns");
        };
        let has_nulls = price.null_count() > 0 || time.null_count() > 0;
        let (price, time) = if has_nulls {
            let whole = and(&is_not_null(price)?, &is_not_null(time)?)?;
            (filter(price, &whole)?, filter(time, &whole)?)
        } else {
            (Arc::clone(price), Arc::clone(time))
        };
        self.open.offer(&price, &time)?;
        self.high.offer(&price, &price)?;
        self.low.offer(&price, &price)?;
        self.close.offer(&price, &time)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [open, opened_at, high, low, close, closed_at] = states else {
            return exec_err!("the state of ohlc has six columns");
        };
        self.open.offer(open, opened_at)?;
        self.high.offer(high, high)?;
        self.low.offer(low, low)?;
        self.close.offer(close, closed_at)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.open.is_empty() {
            return ScalarValue::try_from(&DataType::Struct(self.parts.clone()));
        }
        let columns = [&self.open, &self.high, &self.low, &self.close]
            .into_iter()
            .map(|best| best.value().to_array())
            .collect::<Result<_>>()?;
        let row = StructArray::try_new(self.parts.clone(), columns, None)?;
        Ok(ScalarValue::Struct(Arc::new(row)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let [open, opened_at] = self.open.state();
        let [close, closed_at] = self.close.state();
        let (high, low) = (self.high.value(), self.low.value());
        Ok(vec![open, opened_at, high, low, close, closed_at])
    }

    fn size(&self) -> usize {
        let parts = [&self.open, &self.high, &self.low, &self.close];
        size_of_val(self) + parts.into_iter().map(Best::size).sum::<usize>()
    }
}
