//! Sources whose figures are not yet for everybody.
//!
//! A source may carry the moment of its release (`release_at`). Until then its rows, and its own row among the
//! sources, are hidden from those who only read.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::{Result as PlanResult, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

use crate::{Error, OfSources, Result, Snapshot, Table};

/// The column that names a row's source.
pub(crate) const SOURCE: &str = "source_id";

/// The column of a source's release.
const RELEASE: &str = "release_at";

impl Table {
    /// The releases of the sources in a snapshot of this table, whose rows are sources, in microseconds since
    /// 1970; none for those that are not held back, and where the table has no such column.
    ///
    /// # Errors
    /// [`Error::Precondition`] where the column is no moment, [`Error::Corrupt`] or [`Error::Unavailable`]
    /// where a file can't be read.
    pub async fn releases(&self, snapshot: &Snapshot) -> Result<OfSources> {
        match snapshot.schema().field_with_name(RELEASE) {
            Err(_) => return Ok(OfSources::default()),
            Ok(field)
                if matches!(
                    field.data_type(),
                    DataType::Timestamp(..) | DataType::Date32
                ) => {}
            // What can't be read as a moment must not open everything.
            Ok(field) => {
                return Err(Error::Precondition(format!(
                    "table {}: the column {RELEASE} is {}, and must be a timestamp",
                    self.name(),
                    field.data_type()
                )));
            }
        }
        let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        self.of_sources(snapshot, RELEASE, moment).await
    }
}

/// The rows of a plan, whose columns include the source, that are of none of the hidden sources, which
/// are given in order.
pub(crate) fn without(
    plan: Arc<dyn ExecutionPlan>,
    hidden: &Arc<Vec<String>>,
) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let released = Released {
        source: col(SOURCE, &plan.schema())?,
        hidden: Arc::clone(hidden),
    };
    Ok(Arc::new(FilterExec::try_new(Arc::new(released), plan)?))
}

/// Whether a row is of a source that is released. A plan shows its steps to whoever asks for it, so this
/// one does not say which sources are not.
struct Released {
    source: Arc<dyn PhysicalExpr>,
    hidden: Arc<Vec<String>>,
}

impl PhysicalExpr for Released {
    fn data_type(&self, _: &Schema) -> PlanResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> PlanResult<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> PlanResult<ColumnarValue> {
        let sources = self.source.evaluate(batch)?.into_array(batch.num_rows())?;
        let Some(sources) = sources.as_string_opt::<i32>() else {
            return internal_err!("a source is no text");
        };
        let is_hidden = |source: &str| {
            let found = self
                .hidden
                .binary_search_by(|hidden| hidden.as_str().cmp(source));
            found.is_ok()
        };
        let seen = sources.iter().map(|source| !source.is_some_and(is_hidden));
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from_iter(
            seen.map(Some),
        ))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.source]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> PlanResult<Arc<dyn PhysicalExpr>> {
        let [source] = children.as_slice() else {
            return internal_err!("a row has one source");
        };
        Ok(Arc::new(Self {
            source: Arc::clone(source),
            hidden: Arc::clone(&self.hidden),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("released")
    }
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Released {
    fn eq(&self, other: &Self) -> bool {
        self.source.eq(&other.source) && self.hidden == other.hidden
    }
}

impl Eq for Released {}

impl Hash for Released {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
        self.hidden.hash(state);
    }
}
