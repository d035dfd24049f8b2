//! `length` and `octet_length` of bytes, as PostgreSQL has them; those of texts are DataFusion's.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions::{string, unicode};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::delegated::coerced;

/// The functions, under the names that DataFusion's have.
pub(super) fn byte_lengths() -> Vec<Arc<ScalarUDF>> {
    [unicode::character_length(), string::octet_length()]
        .map(|of_text| {
            Arc::new(ScalarUDF::from(ByteLength {
                of_text,
                signature: Signature::user_defined(Volatility::Immutable),
            }))
        })
        .to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByteLength {
    of_text: Arc<ScalarUDF>,
    signature: Signature,
}

fn is_bytes(types: &[DataType]) -> bool {
    matches!(
        types,
        [DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)]
    )
}

impl ScalarUDFImpl for ByteLength {
    fn name(&self) -> &str {
        self.of_text.name()
    }

    fn aliases(&self) -> &[String] {
        self.of_text.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if is_bytes(arguments) {
            return Ok(arguments.to_vec());
        }
        coerced(&self.of_text, arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if is_bytes(arguments) {
            return Ok(DataType::Int32);
        }
        self.of_text.return_type(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [bytes] = arguments.args.as_slice() else {
            return self.of_text.invoke_with_args(arguments);
        };
        if !is_bytes(&[bytes.data_type()]) {
            return self.of_text.invoke_with_args(arguments);
        }
        let of = |bytes: &ArrayRef| length(&cast(bytes, &DataType::Binary)?);
        match bytes {
            ColumnarValue::Array(bytes) => Ok(ColumnarValue::Array(of(bytes)?)),
            ColumnarValue::Scalar(bytes) => {
                let lengths = of(&bytes.to_array()?)?;
                let length = datafusion::scalar::ScalarValue::try_from_array(&lengths, 0)?;
                Ok(ColumnarValue::Scalar(length))
            }
        }
    }
}
