//! Sources whose figures are not yet for everybody.
//!
//! A source may carry the moment of its release (`release_at`). Until then its rows, and its own row among the
//! sources, are hidden from those who only read.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{binary, col, in_list, is_null, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

use crate::{Result, Snapshot, Table};

/// The column that names a row's source.
pub(crate) const SOURCE: &str = "source_id";

/// The column of a source's release.
const RELEASE: &str = "release_at";

/// When sources are released, in microseconds since 1970; those that are not held back have no moment.
pub type Releases = Arc<HashMap<String, i64>>;

impl Table {
    /// The releases of the sources in a snapshot of this table, whose rows are sources; none where it has
    /// no such column.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] or [`crate::Error::Unavailable`] where a file can't be read.
    pub async fn releases(&self, snapshot: &Snapshot) -> Result<Releases> {
        let is_moment = |field: &Field| matches!(field.data_type(), DataType::Timestamp(..));
        let release = snapshot.schema().field_with_name(RELEASE);
        if !release.is_ok_and(is_moment) {
            return Ok(Releases::default());
        }
        let wanted: SchemaRef = Arc::new(Schema::new(vec![
            Field::new(SOURCE, DataType::Utf8, true),
            Field::new(
                RELEASE,
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                true,
            ),
        ]));
        let mut releases = HashMap::new();
        for file in &snapshot.files {
            for batch in self.columns_of(file, &wanted).await? {
                let sources = batch.column(0).as_string_opt::<i32>();
                let moments = batch
                    .column(1)
                    .as_primitive_opt::<TimestampMicrosecondType>();
                let pairs = sources
                    .into_iter()
                    .flatten()
                    .zip(moments.into_iter().flatten());
                releases.extend(pairs.filter_map(|(source, at)| Some((source?.to_owned(), at?))));
            }
        }
        Ok(Arc::new(releases))
    }
}

/// The rows of a plan, whose columns include the source, that are of none of the hidden sources.
pub(crate) fn without(
    plan: Arc<dyn ExecutionPlan>,
    hidden: &[String],
) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let source = col(SOURCE, &schema)?;
    let names = hidden.iter().map(|name| lit(name.as_str())).collect();
    let others = in_list(Arc::clone(&source), names, &true, &schema)?;
    let seen: Arc<dyn PhysicalExpr> = binary(is_null(source)?, Operator::Or, others, &schema)?;
    let filtered = FilterExec::try_new(seen, plan)
        .map_err(|error| DataFusionError::Context("the embargo".to_owned(), Box::new(error)))?;
    Ok(Arc::new(filtered))
}
