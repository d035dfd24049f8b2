//! Whether the texts of a column are one short text: the most frequent condition of alerts.
//!
//! A text of at most 12 bytes is its own view (Arrow's `Utf8View`), so that one comparison of 128 bits
//! answers for a row.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, make_view};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

/// The longest text that is a view by itself, in bytes.
const SHORT_MAX: usize = 12;

/// The rows that pass, NULL as false; `None` if the condition is of another form.
pub(super) fn equal(
    condition: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
) -> Option<BooleanArray> {
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    if *binary.op() != Operator::Eq {
        return None;
    }
    let (one, other) = (binary.left(), binary.right());
    let (column, literal) = match (
        one.downcast_ref::<Column>(),
        other.downcast_ref::<Literal>(),
    ) {
        (Some(column), Some(literal)) => (column, literal),
        _ => (
            other.downcast_ref::<Column>()?,
            one.downcast_ref::<Literal>()?,
        ),
    };
    let text = literal.value().try_as_str()??;
    if text.len() > SHORT_MAX {
        return None;
    }
    let column = batch.columns().get(column.index())?.as_string_view_opt()?;
    let wanted = make_view(text.as_bytes(), 0, 0);
    let equal = places_of(wanted, &column.views()[..column.len()]);
    let equal = match column.nulls() {
        // What lies under a NULL is no text.
        Some(nulls) => &equal & nulls.inner(),
        None => equal,
    };
    Some(BooleanArray::new(equal, None))
}

/// Which of the views are the wanted one. By whole words of the result, so that no row asks where its bit goes.
fn places_of(wanted: u128, views: &[u128]) -> BooleanBuffer {
    let (whole, rest) = views.as_chunks::<64>();
    let mut words = Vec::with_capacity(whole.len() + 1);
    words.extend(whole.iter().map(|views| word(wanted, views)));
    words.push(word(wanted, rest));
    BooleanBuffer::new(Buffer::from_vec(words), 0, views.len())
}

/// The bits of at most 64 views, the first one lowest.
#[inline(always)]
fn word(wanted: u128, views: &[u128]) -> u64 {
    let bits = views.iter().enumerate();
    bits.fold(0, |word, (bit, view)| {
        word | (u64::from(*view == wanted) << bit)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, StringViewArray};
    use arrow::record_batch::RecordBatch;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
    use datafusion::scalar::ScalarValue;

    use super::equal;
    use crate::operator::row_pipeline::evaluate;

    #[test]
    fn a_short_text_is_compared_as_the_general_comparison_does() {
        let texts = [
            Some("BTC-USD"),
            None,
            Some(""),
            Some("BTC-USDT"),
            Some("twelve bytes"),
            Some("thirteen byte"),
            Some("a text that is far longer"),
        ];
        let column = StringViewArray::from_iter(texts.iter().cycle().take(200).copied());
        let column = column.slice(3, 190);
        let batch = RecordBatch::try_from_iter([("t", Arc::new(column) as _)]).expect("one column");
        for text in texts.into_iter().flatten() {
            let text = ScalarValue::Utf8View(Some(text.to_owned()));
            let column = || -> Arc<dyn PhysicalExpr> { Arc::new(Column::new("t", 0)) };
            for (one, other) in [(column(), lit(text.clone())), (lit(text.clone()), column())] {
                let is = |op| -> Arc<dyn PhysicalExpr> {
                    Arc::new(BinaryExpr::new(Arc::clone(&one), op, Arc::clone(&other)))
                };
                let general = evaluate(&is(Operator::Eq), &batch).expect("texts compare");
                let general = general
                    .as_any()
                    .downcast_ref::<BooleanArray>()
                    .expect("booleans");
                let expected: Vec<bool> = general.iter().map(|is| is == Some(true)).collect();
                match equal(&is(Operator::Eq), &batch) {
                    Some(found) => {
                        let found: Vec<bool> = found.values().iter().collect();
                        assert_eq!(found, expected, "{text}");
                    }
                    None => assert!(text.to_string().len() > 12, "{text} is short"),
                }
                assert!(equal(&is(Operator::NotEq), &batch).is_none(), "only =");
            }
        }
    }
}
