//! Texts that become arrays, as PostgreSQL reads them: `{1,NULL,"a b"}`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Culprit, Error, SqlState};
use crate::types::array_items;

/// The items that a text means, as texts; `try_only`: NULL for a text that is no array.
pub fn items_of_text(text: Expr, try_only: bool) -> Expr {
    let function = ScalarUDF::from(ItemsOfText {
        try_only,
        signature: Signature::any(1, Volatility::Immutable),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![text]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ItemsOfText {
    try_only: bool,
    signature: Signature,
}

impl ScalarUDFImpl for ItemsOfText {
    fn name(&self) -> &'static str {
        if self.try_only {
            "try_items_of_text"
        } else {
            "items_of_text"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        let item = Field::new_list_field(DataType::Utf8View, true);
        Ok(DataType::List(Arc::new(item)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = matches!(&arguments.args[0], ColumnarValue::Scalar(_));
        let rows = if is_constant {
            1
        } else {
            arguments.number_rows
        };
        let texts = cast(&arguments.args[0].to_array(rows)?, &DataType::Utf8View)?;
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for text in texts.as_string_view() {
            let items = text.map(|text| self.read(text)).transpose()?.flatten();
            let is_there = items.is_some();
            for item in items.into_iter().flatten() {
                lists.values().append_option(item);
            }
            lists.append(is_there);
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?),
            false => ColumnarValue::Array(lists),
        })
    }
}

impl ItemsOfText {
    fn read(&self, text: &str) -> Result<Option<Vec<Option<String>>>, Error> {
        match array_items(text) {
            None if !self.try_only => {
                let error = Error::user(
                    SqlState::InvalidTextRepresentation,
                    format!("malformed array literal: \"{text}\""),
                );
                Err(error
                    .hint("An array is written as '{1,2,NULL}' or ARRAY[1, 2, NULL].")
                    .about(Culprit::Text(text.to_owned())))
            }
            items => Ok(items),
        }
    }
}
