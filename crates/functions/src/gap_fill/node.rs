//! The logical node of gap filling.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::{DFSchema, DFSchemaRef, Result, internal_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use didymium_model::{Day, Interval};

/// Adds the missing buckets of each series, and fills some columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GapFill {
    pub(crate) input: LogicalPlan,
    /// The place of the bucket among the input's columns.
    pub(crate) bucket: usize,
    /// The places of the columns that tell series apart.
    pub(crate) keys: Vec<usize>,
    pub(crate) interval: Interval,
    pub(crate) origin: Option<Day>,
    pub(crate) fills: Vec<Fill>,
    schema: DFSchemaRef,
}

/// A column that is filled, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fill {
    pub(crate) column: usize,
    pub(crate) kind: FillKind,
    /// The longest gap that is filled.
    pub(crate) max_gap: Option<Interval>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FillKind {
    LastKnown,
    Line,
}

impl GapFill {
    pub(crate) fn new(
        input: LogicalPlan,
        bucket: usize,
        keys: Vec<usize>,
        (interval, origin): (Interval, Option<Day>),
        fills: Vec<Fill>,
    ) -> Result<Self> {
        let schema = filled_schema(input.schema(), bucket, &keys)?;
        Ok(Self {
            input,
            bucket,
            keys,
            interval,
            origin,
            fills,
            schema,
        })
    }
}

/// What is no key may be NULL in an added row.
fn filled_schema(input: &DFSchemaRef, bucket: usize, keys: &[usize]) -> Result<DFSchemaRef> {
    let fields = input
        .iter()
        .enumerate()
        .map(|(place, (qualifier, field))| {
            let field = match place == bucket || keys.contains(&place) {
                true => Arc::clone(field),
                false => Arc::new(Field::clone(field).with_nullable(true)),
            };
            (qualifier.cloned(), field)
        })
        .collect();
    let schema = DFSchema::new_with_metadata(fields, input.metadata().clone())?;
    Ok(Arc::new(schema))
}

impl Hash for GapFill {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.bucket.hash(state);
        self.keys.hash(state);
        self.fills.hash(state);
    }
}

impl PartialOrd for GapFill {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let order = (self.bucket, &self.keys).cmp(&(other.bucket, &other.keys));
        match order {
            Ordering::Equal if self == other => Some(Ordering::Equal),
            Ordering::Equal => None,
            order => Some(order),
        }
    }
}

impl UserDefinedLogicalNodeCore for GapFill {
    fn name(&self) -> &str {
        "GapFill"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// It names its columns by place, and needs all of them.
    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "GapFill: every {}", self.interval)?;
        for fill in &self.fills {
            let column = self.schema.field(fill.column).name();
            write!(f, ", {:?} {column}", fill.kind)?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return internal_err!("GapFill has one input");
        };
        Self::new(
            input,
            self.bucket,
            self.keys.clone(),
            (self.interval, self.origin),
            self.fills.clone(),
        )
    }

    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.schema.fields().len()).collect()])
    }
}
