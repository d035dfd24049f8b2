//! `->` and `->>` on `json`: a member or element, as JSON or as text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use serde::de::{Deserialize, IgnoredAny};
use sqlparser::ast::BinaryOperator;

/// The metadata that marks a text column as `json`.
const EXTENSION: (&str, &str) = ("ARROW:extension:name", "arrow.json");

/// The functions behind the operators, which may also be called by name.
pub(super) fn json_functions() -> Vec<Arc<ScalarUDF>> {
    vec![function(false), function(true)]
}

fn function(as_text: bool) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(JsonGet {
        as_text,
        signature: Signature::any(2, Volatility::Immutable),
    }))
}

/// Plans `->` and `->>`.
#[derive(Debug)]
pub struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let as_text = match expr.op {
            BinaryOperator::Arrow => false,
            BinaryOperator::LongArrow => true,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let call = ScalarFunction::new_udf(function(as_text), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// `json_get(json, key or index)` and `json_get_text(..)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    as_text: bool,
    signature: Signature,
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        if self.as_text {
            "json_get_text"
        } else {
            "json_get"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [json, step] = arguments.arg_fields else {
            return plan_err!("{} takes two arguments", self.name());
        };
        if !matches!(
            json.data_type(),
            DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 | DataType::Null
        ) {
            return plan_err!(
                "-> and ->> need json on their left, not {}",
                json.data_type()
            );
        }
        if !(step.data_type().is_integer() || step.data_type().is_string()) {
            return plan_err!(
                "-> and ->> need a name or a number on their right, not {}",
                step.data_type()
            );
        }
        let field = Field::new(self.name(), DataType::Utf8View, true);
        Ok(Arc::new(if self.as_text {
            field
        } else {
            field.with_metadata([(EXTENSION.0.to_owned(), EXTENSION.1.to_owned())].into())
        }))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let json = text(&arguments.args[0].to_array(rows)?)?;
        let json = json.as_string_view();
        let step: ArrayRef = arguments.args[1].to_array(rows)?;
        let mut values = StringViewBuilder::with_capacity(rows);
        if step.data_type().is_integer() {
            let index = cast(&step, &DataType::Int64)?;
            let index = index.as_primitive::<arrow::datatypes::Int64Type>();
            for row in 0..rows {
                let found = (json.is_valid(row) && index.is_valid(row))
                    .then(|| element(json.value(row), index.value(row)))
                    .flatten();
                self.append(&mut values, found)?;
            }
        } else {
            let name = text(&step)?;
            let name = name.as_string_view();
            for row in 0..rows {
                let found = (json.is_valid(row) && name.is_valid(row))
                    .then(|| member(json.value(row), name.value(row)))
                    .flatten();
                self.append(&mut values, found)?;
            }
        }
        Ok(ColumnarValue::Array(Arc::new(values.finish())))
    }
}

impl JsonGet {
    fn append(&self, values: &mut StringViewBuilder, found: Option<&str>) -> Result<()> {
        let Some(found) = found else {
            values.append_null();
            return Ok(());
        };
        if !self.as_text {
            values.append_value(found);
        } else if found == "null" {
            values.append_null();
        } else if found.starts_with('"') {
            match serde_json::from_str::<String>(found) {
                Ok(text) => values.append_value(text),
                Err(error) => return exec_err!("a json string cannot be read: {error}"),
            }
        } else {
            values.append_value(found);
        }
        Ok(())
    }
}

fn text(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(array, &DataType::Utf8View)?)
}

/// The text of the last member of that name, as `json` columns have it; `None` if there is none.
fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = json.trim_start().strip_prefix('{')?.trim_start();
    let mut found = None;
    while !rest.starts_with('}') {
        let ((key, _), after) = value_text::<String>(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let ((_, text), after) = value_text::<IgnoredAny>(value)?;
        if key == name {
            found = Some(text);
        }
        rest = after.trim_start();
        rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
    }
    found
}

/// The text of an element, counted from 0, or from the end when negative.
fn element(json: &str, index: i64) -> Option<&str> {
    let mut rest = json.trim_start().strip_prefix('[')?.trim_start();
    let mut elements = Vec::new();
    while !rest.starts_with(']') {
        let ((_, text), after) = value_text::<IgnoredAny>(rest)?;
        elements.push(text);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
    }
    let index = if index < 0 {
        index + i64::try_from(elements.len()).ok()?
    } else {
        index
    };
    elements.get(usize::try_from(index).ok()?).copied()
}

/// Reads the value that `json` begins with; gives it, its text, and what follows.
fn value_text<'a, T: Deserialize<'a>>(json: &'a str) -> Option<((T, &'a str), &'a str)> {
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<T>();
    let value = values.next()?.ok()?;
    let (text, rest) = json.split_at(values.byte_offset());
    Some(((value, text), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_found() {
        let json = r#"{"a": {"b": [1, "x", null]}, "a\u0062": 2, "a": {"b": [7]}}"#;
        assert_eq!(
            member(json, "a").unwrap(),
            r#"{"b": [7]}"#,
            "the last one counts"
        );
        assert_eq!(
            member(json, "ab").unwrap(),
            "2",
            "names are compared unescaped"
        );
        assert!(member(json, "c").is_none());
        assert!(member("[1]", "a").is_none());
        assert_eq!(element("[1, \"x\"]", 1).unwrap(), "\"x\"");
        assert_eq!(element("[1, \"x\"]", -2).unwrap(), "1");
        assert!(element("[1]", 1).is_none());
        assert!(element("{}", 0).is_none());
    }
}
