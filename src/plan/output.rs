//! What is done with an aggregate's rows, once those of the lanes are put together.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{AggregatePlan, RowStage};

/// A step after the first aggregate. Rows come to it a closed window at a time.
#[derive(Debug, Clone)]
pub enum OutputStage {
    /// Looks at one row at a time.
    Rows(RowStage),
    /// Gives each row as often as its last column says, in these columns, which are the others.
    Repeat(SchemaRef),
    /// A window over the windows below.
    Aggregate(AggregatePlan),
    /// Numbers the rows of a window.
    Rank(RankPlan),
    /// Orders the rows of a window and keeps the first.
    Top(TopPlan),
}

/// `ROW_NUMBER()` and its like within a window.
#[derive(Debug, Clone)]
pub struct RankPlan {
    /// PARTITION BY.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// ORDER BY.
    pub order: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// Which numbers, one a new column.
    pub numbers: Vec<Numbering>,
    /// The columns, then the numbers.
    pub schema: SchemaRef,
}

/// How rows are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// 1, 2, 3.
    RowNumber,
    /// Equal rows have the same number, and the next one counts them: 1, 1, 3.
    Rank,
    /// Equal rows have the same number: 1, 1, 2.
    DenseRank,
}

/// `ORDER BY .. LIMIT n` within a window.
#[derive(Debug, Clone)]
pub struct TopPlan {
    /// ORDER BY.
    pub order: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// How many rows are kept; `None`: all.
    pub limit: Option<usize>,
}

impl OutputStage {
    /// The aggregate that the step is, if it is one.
    pub fn aggregate(&self) -> Option<&AggregatePlan> {
        match self {
            Self::Aggregate(aggregate) => Some(aggregate),
            Self::Rows(_) | Self::Repeat(_) | Self::Rank(_) | Self::Top(_) => None,
        }
    }
}
