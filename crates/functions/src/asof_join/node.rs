//! The logical node of the as-of join.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion_common::{DFSchemaRef, JoinType, Result, internal_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore, build_join_schema};

/// Each left row with the newest right row of its keys that is not after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AsofJoin {
    pub(crate) left: LogicalPlan,
    pub(crate) right: LogicalPlan,
    /// Expressions of both sides that must be equal.
    pub(crate) keys: Vec<(Expr, Expr)>,
    pub(crate) upper: Comparison,
    pub(crate) lower: Option<Comparison>,
    /// Whether left rows without a match stay.
    pub(crate) is_outer: bool,
    schema: DFSchemaRef,
}

/// A comparison of an expression of a left row with one of a right row: `left >= right` where it bounds
/// the right row from above, `right >= left` where from below.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Comparison {
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    /// Without the equality.
    pub(crate) is_strict: bool,
}

impl AsofJoin {
    pub(crate) fn new(
        (left, right): (LogicalPlan, LogicalPlan),
        keys: Vec<(Expr, Expr)>,
        upper: Comparison,
        lower: Option<Comparison>,
        is_outer: bool,
    ) -> Result<Self> {
        let join_type = match is_outer {
            true => JoinType::Left,
            false => JoinType::Inner,
        };
        let schema = Arc::new(build_join_schema(
            left.schema(),
            right.schema(),
            &join_type,
        )?);
        Ok(Self {
            left,
            right,
            keys,
            upper,
            lower,
            is_outer,
            schema,
        })
    }
}

impl Hash for AsofJoin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.left.hash(state);
        self.right.hash(state);
        self.keys.hash(state);
        self.upper.hash(state);
        self.lower.hash(state);
        self.is_outer.hash(state);
    }
}

impl PartialOrd for AsofJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.keys.partial_cmp(&other.keys) {
            Some(Ordering::Equal) if self == other => Some(Ordering::Equal),
            Some(Ordering::Equal) => None,
            order => order,
        }
    }
}

impl UserDefinedLogicalNodeCore for AsofJoin {
    fn name(&self) -> &str {
        "AsofJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The comparisons first, then the keys, the left side before the right.
    fn expressions(&self) -> Vec<Expr> {
        let comparisons = std::iter::once(&self.upper).chain(&self.lower);
        comparisons
            .map(|it| (&it.left, &it.right))
            .chain(self.keys.iter().map(|(left, right)| (left, right)))
            .flat_map(|(left, right)| [left.clone(), right.clone()])
            .collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sign = |strict| if strict { ">" } else { ">=" };
        let Comparison {
            left,
            right,
            is_strict,
        } = &self.upper;
        write!(f, "AsofJoin: {left} {} {right}", sign(*is_strict))?;
        if let Some(lower) = &self.lower {
            let (left, right) = (&lower.left, &lower.right);
            write!(f, " AND {right} {} {left}", sign(lower.is_strict))?;
        }
        for (left, right) in &self.keys {
            write!(f, ", {left} = {right}")?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return internal_err!("AsofJoin has two inputs");
        };
        let mut exprs = exprs.into_iter();
        let mut pair = || exprs.next().zip(exprs.next());
        let mut comparison = |old: &Comparison| {
            pair().map(|(left, right)| Comparison {
                left,
                right,
                is_strict: old.is_strict,
            })
        };
        let upper = comparison(&self.upper);
        let lower = self.lower.as_ref().and_then(&mut comparison);
        let keys: Vec<_> = std::iter::from_fn(pair).collect();
        let (Some(upper), true) = (upper, keys.len() == self.keys.len()) else {
            return internal_err!("AsofJoin has lost an expression");
        };
        Self::new((left, right), keys, upper, lower, self.is_outer)
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let needed = |plan: &LogicalPlan, shown: Vec<usize>| {
            let columns = self.expressions();
            let columns = columns.iter().flat_map(|expr| expr.column_refs());
            let used = columns.filter_map(|column| plan.schema().maybe_index_of_column(column));
            let all: BTreeSet<usize> = shown.into_iter().chain(used).collect();
            all.into_iter().collect::<Vec<_>>()
        };
        let (left, right): (Vec<usize>, Vec<usize>) =
            output.iter().partition(|place| **place < width);
        let right = right.into_iter().map(|place| place - width).collect();
        Some(vec![needed(&self.left, left), needed(&self.right, right)])
    }
}
