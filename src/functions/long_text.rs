//! `lpad`, `rpad` and `repeat` with a bound: a length that no message can have is the row's error, and
//! asks for no memory.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::functions::{string, unicode};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::delegated::coerced;
use crate::error::{Error, SqlState};

/// As long as a message may be, in bytes.
const BYTES_MAX: i64 = 16 << 20;

/// The functions, under the names that DataFusion's have.
pub(super) fn long_texts() -> Vec<Arc<ScalarUDF>> {
    [unicode::lpad(), unicode::rpad(), string::repeat()]
        .map(|unbounded| {
            Arc::new(ScalarUDF::from(LongText {
                unbounded,
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LongText {
    unbounded: Arc<ScalarUDF>,
    signature: Signature,
}

impl LongText {
    /// Whether no result is longer than the bound.
    fn fits(&self, text: &ColumnarValue, length: &ColumnarValue, rows: usize) -> Result<bool> {
        let lengths = cast(&length.to_array(rows)?, &DataType::Int64)?;
        let lengths = lengths.as_primitive::<Int64Type>();
        if self.name() != "repeat" {
            return Ok(lengths.iter().flatten().all(|length| length <= BYTES_MAX));
        }
        let texts = cast(&text.to_array(rows)?, &DataType::Utf8View)?;
        let texts = texts.as_string_view();
        let bytes = |row: usize| i64::try_from(texts.value(row).len()).unwrap_or(i64::MAX);
        let fits = |row: usize| lengths.value(row).saturating_mul(bytes(row)) <= BYTES_MAX;
        let counts = |row: &usize| texts.is_valid(*row) && lengths.is_valid(*row);
        Ok((0..rows).filter(counts).all(fits))
    }
}

impl ScalarUDFImpl for LongText {
    fn name(&self) -> &str {
        self.unbounded.name()
    }

    fn aliases(&self) -> &[String] {
        self.unbounded.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        coerced(&self.unbounded, arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.unbounded.return_type(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [text, length, ..] = arguments.args.as_slice()
            && !self.fits(text, length, arguments.number_rows)?
        {
            let state = SqlState::ProgramLimitExceeded;
            let error = Error::user(
                state,
                format!("requested length of {} too large", self.name()),
            );
            let detail = format!("A text has at most {BYTES_MAX} bytes.");
            return Err(error.detail(detail).into());
        }
        self.unbounded.invoke_with_args(arguments)
    }
}
