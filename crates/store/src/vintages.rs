//! An operator that reads a series table period by period: what counts, what changed, what conflicts.

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, UInt32Array,
};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::equivalence::ProjectionMapping;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, Partitioning,
    PhysicalExpr,
};
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use didymium_model::{Day, Revision, Statement, Status, Vintages};
use futures::{StreamExt, TryStreamExt, stream};

use crate::layout::only_text;
use crate::scan::ordering;
use crate::standard_columns::SERIES;
use crate::{Declaration, Error, OfSources};

/// What is told of each series and period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The one row that counts on the day.
    Current,
    /// Of the rows that count on the day, the newest of each series.
    Latest,
    /// Each change of the value that counts, until the day.
    Revisions,
    /// Every row that holds on the day, where they say different things.
    Conflicts,
}

/// The columns that decide which row counts, beside the sort columns.
pub(crate) const DECIDING: [&str; 2] = ["status", "value"];

/// The columns that hold a period together.
const PERIOD: [&str; 3] = ["series", "period_start", "period_end"];

/// The columns of [`View::Revisions`].
pub(crate) fn revisions_schema(declaration: &Declaration) -> SchemaRef {
    let schema = declaration.schema();
    let key = declaration.key.iter().map(String::as_str);
    let names = PERIOD[..1].iter().copied().chain(key).chain([
        "measure",
        "period_start",
        "period_end",
        "unit",
    ]);
    let mut fields: Vec<Field> = names
        .filter_map(|name| schema.field_with_name(name).ok().cloned())
        .collect();
    fields.extend([
        Field::new("from_value", DataType::Float64, true),
        Field::new("to_value", DataType::Float64, true),
        Field::new("from_source_id", DataType::Utf8, true),
        Field::new("to_source_id", DataType::Utf8, true),
        Field::new("changed_on", DataType::Date32, false),
    ]);
    Arc::new(Schema::new(fields))
}

/// Reads rows in the order of series and period and tells one [`View`] of each period.
///
/// It streams: what it holds is the rows of one period and one batch.
#[derive(Debug)]
pub(crate) struct VintagesExec {
    input: Arc<dyn ExecutionPlan>,
    view: View,
    day: Day,
    ranks: OfSources,
    /// The columns that it gives, by their places among all that it can: the input's, or those of
    /// [`View::Revisions`].
    projection: Vec<usize>,
    /// All that it can give.
    all: SchemaRef,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl VintagesExec {
    /// Gives these columns, by their names.
    pub(crate) fn of(
        input: Arc<dyn ExecutionPlan>,
        view: View,
        day: Day,
        ranks: OfSources,
        (revisions, names): (&SchemaRef, &[&str]),
    ) -> Result<Self> {
        let all = match view {
            View::Current | View::Latest | View::Conflicts => input.schema(),
            View::Revisions => Arc::clone(revisions),
        };
        let projection = names.iter().map(|name| all.index_of(name));
        let projection = projection.collect::<Result<_, _>>()?;
        Self::new(input, view, day, ranks, (projection, all))
    }

    fn new(
        input: Arc<dyn ExecutionPlan>,
        view: View,
        day: Day,
        ranks: OfSources,
        (projection, all): (Vec<usize>, SchemaRef),
    ) -> Result<Self> {
        let of_all = match view {
            View::Current | View::Latest | View::Conflicts => {
                input.equivalence_properties().clone()
            }
            View::Revisions => EquivalenceProperties::new(Arc::clone(&all)),
        };
        let mapping = ProjectionMapping::from_indices(&projection, &all)?;
        let schema = Arc::new(all.project(&projection)?);
        let partitioning = match (view, input.output_partitioning()) {
            (View::Revisions, parts) => Partitioning::UnknownPartitioning(parts.partition_count()),
            (_, parts) => parts.project(&mapping, &of_all),
        };
        let properties = Arc::new(PlanProperties::new(
            of_all.project(&mapping, Arc::clone(&schema)),
            partitioning,
            input.pipeline_behavior(),
            input.boundedness(),
        ));
        Ok(Self {
            input,
            view,
            day,
            ranks,
            projection,
            all,
            schema,
            properties,
        })
    }
}

impl DisplayAs for VintagesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VintagesExec: view={:?}, day={}", self.view, self.day)
    }
}

impl ExecutionPlan for VintagesExec {
    fn name(&self) -> &str {
        "VintagesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else {
            return internal_err!("VintagesExec has one input");
        };
        let new = Self::new(
            input,
            self.view,
            self.day,
            Arc::clone(&self.ranks),
            (self.projection.clone(), Arc::clone(&self.all)),
        );
        Ok(Arc::new(new?))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// No period is parted: one stream, unless the table comes cut between its series already.
    fn required_input_distribution(&self) -> Vec<Distribution> {
        let schema = self.input.schema();
        let series = Column::new_with_schema(SERIES, &schema);
        match (self.input.output_partitioning(), series) {
            (Partitioning::Range(_), Ok(series)) => {
                vec![Distribution::KeyPartitioned(vec![Arc::new(series)])]
            }
            _ => vec![Distribution::SinglePartition],
        }
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let order = ordering(&PERIOD, &self.input.schema());
        vec![order.map(|order| OrderingRequirements::from(LexRequirement::from(order)))]
    }

    /// The order of its rows stands in its properties. To call it the input's would let a sort by other
    /// columns be put below, where this operator needs its own.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reading = Reading {
            memory: MemoryConsumer::new("VintagesExec").register(context.memory_pool()),
            input: self.input.execute(partition, context)?,
            input_schema: self.input.schema(),
            pending: None,
            ready: None,
            newest: None,
            ended: false,
            view: self.view,
            day: self.day,
            ranks: Arc::clone(&self.ranks),
            projection: self.projection.clone(),
            all: Arc::clone(&self.all),
        };
        let batches = stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|batch| (batch, reading)))
        });
        let batches = batches.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        )))
    }
}

struct Reading {
    input: SendableRecordBatchStream,
    input_schema: SchemaRef,
    /// Rows of a period whose last row may not have come yet.
    pending: Option<RecordBatch>,
    /// What has been told and waits.
    ready: Option<RecordBatch>,
    /// For [`View::Latest`], the newest row so far of the series whose last row may not have come yet.
    newest: Option<RecordBatch>,
    ended: bool,
    memory: MemoryReservation,
    view: View,
    day: Day,
    ranks: OfSources,
    projection: Vec<usize>,
    all: SchemaRef,
}

impl Reading {
    /// The next rows of the view; `None` after the last.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let rows = match (self.view, self.next_periods().await?) {
            (View::Latest, Some(rows)) => Some(self.newest_of(&rows)?),
            (View::Latest, None) => self.newest.take(),
            // Projected where its rows were chosen.
            (_, rows) => return Ok(rows),
        };
        Ok(rows
            .map(|rows| rows.project(&self.projection))
            .transpose()?)
    }

    /// The newest row of each series that ends in these rows.
    fn newest_of(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let rows = match self.newest.take() {
            None => rows.clone(),
            Some(newest) => concat_batches(&self.all, [&newest, rows])?,
        };
        let groups = Groups::of(&rows)?;
        let age = |row: usize| (groups.end.value(row), groups.start.value(row));
        let mut newest: Vec<u32> = Vec::new();
        for row in 0..rows.num_rows() {
            match newest.last_mut() {
                Some(best) if groups.series.value(*best as usize) == groups.series.value(row) => {
                    if age(row) > age(*best as usize) {
                        *best = row as u32;
                    }
                }
                _ => newest.push(row as u32),
            }
        }
        let unfinished = newest.pop();
        self.newest = unfinished.map(|row| taken(&rows, vec![row])).transpose()?;
        taken(&rows, newest)
    }

    /// What is told of the next periods that have ended; `None` after the last.
    async fn next_periods(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(told) = self.ready.take() {
            return Ok(Some(told));
        }
        loop {
            if self.ended {
                return Ok(None);
            }
            let Some(batch) = self.input.next().await.transpose()? else {
                self.ended = true;
                let last = self.pending.take();
                return last.map(|rows| self.tell_one(&rows)).transpose();
            };
            if let Some(told) = self.take(batch)? {
                return Ok(Some(told));
            }
        }
    }

    /// Takes the rows that come next; what is told of the periods that end among them.
    fn take(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        let groups = Groups::of(&batch)?;
        let starts = groups.starts();
        let Some(last) = starts.last().copied() else {
            return Ok(None);
        };
        let mut first = None;
        let mut told = &starts[..];
        if let Some(pending) = self.pending.take() {
            let goes_on = Groups::of(&pending)?.is_same_period(0, &groups, 0);
            if goes_on && last == 0 {
                let rows = concat_batches(&self.input_schema, [&pending, &batch])?;
                self.memory.try_resize(rows.get_array_memory_size())?;
                self.pending = Some(rows);
                return Ok(None);
            }
            first = Some(match goes_on {
                false => self.tell_one(&pending)?,
                true => {
                    told = &starts[1..];
                    let rest = batch.slice(0, starts[1]);
                    self.tell_one(&concat_batches(&self.input_schema, [&pending, &rest])?)?
                }
            });
        }
        let start = told[0];
        let bounds: Vec<usize> = told.iter().map(|place| place - start).collect();
        let others = self.tell(&batch.slice(start, last - start), &bounds)?;
        let pending = batch.slice(last, batch.num_rows() - last);
        self.memory.try_resize(pending.get_array_memory_size())?;
        self.pending = Some(pending);
        Ok(Some(match first {
            None => others,
            Some(first) => {
                self.ready = Some(others);
                first
            }
        }))
    }

    /// What is told of one whole period.
    fn tell_one(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.tell(rows, &[0, rows.num_rows()])
    }

    /// What is told of whole periods; each lies between two neighbours in `bounds`.
    fn tell(&self, rows: &RecordBatch, bounds: &[usize]) -> Result<RecordBatch> {
        let said = Said::of(rows, &self.ranks)?;
        let mut places: Vec<u32> = Vec::new();
        let mut changes: Vec<Revision> = Vec::new();
        let mut statements = Vec::new();
        for group in bounds.windows(2) {
            let (start, end) = (group[0], group[1]);
            if end - start == 1 {
                // Nearly every period of most tables: it changed nothing and conflicts with nothing.
                let is_chosen = matches!(self.view, View::Current | View::Latest)
                    && said.counts_alone(start, self.day)?;
                places.extend(is_chosen.then_some(start as u32));
                continue;
            }
            if matches!(self.view, View::Current | View::Latest) && said.are_alike(start..end)? {
                places.extend(said.newest(start..end, self.day).map(|row| row as u32));
                continue;
            }
            statements.clear();
            for row in start..end {
                statements.push(said.statement(row)?);
            }
            let vintages = Vintages::of(&statements);
            match self.view {
                View::Current | View::Latest => {
                    let chosen = vintages.choose(self.day);
                    places.extend(chosen.map(|place| (start + place) as u32));
                }
                View::Conflicts => {
                    let held = vintages.conflicts(self.day).into_iter();
                    places.extend(held.map(|place| (start + place) as u32));
                }
                View::Revisions => {
                    let found = vintages.revisions(self.day).into_iter();
                    changes.extend(found.map(|change| Revision {
                        from: start + change.from,
                        to: start + change.to,
                        ..change
                    }));
                }
            }
        }
        match self.view {
            View::Revisions => Ok(self
                .told_changes(rows, &changes)?
                .project(&self.projection)?),
            View::Latest => taken(rows, places),
            View::Current | View::Conflicts => taken(&rows.project(&self.projection)?, places),
        }
    }

    fn told_changes(&self, rows: &RecordBatch, changes: &[Revision]) -> Result<RecordBatch> {
        let places = |place: fn(&Revision) -> usize| {
            UInt32Array::from_iter_values(changes.iter().map(|change| place(change) as u32))
        };
        let (from, to) = (places(|change| change.from), places(|change| change.to));
        let days = changes
            .iter()
            .map(|change| change.changed_on.days_from_epoch());
        let columns = self.all.fields().iter().map(|field| -> Result<ArrayRef> {
            let (name, places) = match field.name().as_str() {
                "from_value" => ("value", &from),
                "to_value" => ("value", &to),
                "from_source_id" => ("source_id", &from),
                "to_source_id" => ("source_id", &to),
                "changed_on" => {
                    return Ok(Arc::new(Date32Array::from_iter_values(days.clone())));
                }
                name => (name, &to),
            };
            Ok(take(column(rows, name)?, places, None)?)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.all), columns)?)
    }
}

/// The rows in these places.
fn taken(rows: &RecordBatch, places: Vec<u32>) -> Result<RecordBatch> {
    if places.len() == rows.num_rows() {
        // All of them, for no row is chosen twice.
        return Ok(rows.clone());
    }
    let count = RecordBatchOptions::new().with_row_count(Some(places.len()));
    let places = UInt32Array::from(places);
    let columns = rows.columns().iter();
    let columns = columns.map(|column| take(column, &places, None));
    let columns = columns.collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new_with_options(
        rows.schema(),
        columns,
        &count,
    )?)
}

/// Where the periods of a batch begin.
struct Groups<'a> {
    series: &'a StringArray,
    start: &'a Date32Array,
    end: &'a Date32Array,
}

impl<'a> Groups<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self> {
        Ok(Self {
            series: column(rows, "series")?.as_string(),
            start: column(rows, "period_start")?.as_primitive(),
            end: column(rows, "period_end")?.as_primitive(),
        })
    }

    fn starts(&self) -> Vec<usize> {
        (0..self.series.len())
            .filter(|row| *row == 0 || !self.is_same_period(row - 1, self, *row))
            .collect()
    }

    fn is_same_period(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self.start.value(row) == other.start.value(other_row)
            && self.end.value(row) == other.end.value(other_row)
            && self.series.value(row) == other.series.value(other_row)
    }
}

/// What the rows say, as the choice among them reads it.
struct Said<'a> {
    status: &'a StringArray,
    published: &'a Date32Array,
    source: &'a StringArray,
    number: &'a Int64Array,
    value: &'a Float64Array,
    ranks: &'a OfSources,
    /// Whether all have one source and one status, as in most tables.
    all_are_alike: bool,
}

impl<'a> Said<'a> {
    fn of(rows: &'a RecordBatch, ranks: &'a OfSources) -> Result<Self> {
        let status = column(rows, "status")?.as_string();
        let source = column(rows, "source_id")?.as_string();
        Ok(Self {
            all_are_alike: only_text(status).is_some() && only_text(source).is_some(),
            status,
            published: column(rows, "published_on")?.as_primitive(),
            source,
            number: column(rows, "statement")?.as_primitive(),
            value: column(rows, "value")?.as_primitive(),
            ranks,
        })
    }

    fn status(&self, row: usize) -> Result<Status> {
        let word = self.status.value(row);
        Status::of(word).ok_or_else(|| {
            let error = Error::Corrupt(format!("a row has the unknown status '{word}'"));
            DataFusionError::External(error.into())
        })
    }

    /// Whether a row counts on a day that has its period to itself.
    fn counts_alone(&self, row: usize, day: Day) -> Result<bool> {
        let is_public = self.published.value(row) <= day.days_from_epoch();
        Ok(!self.status(row)?.is_set_aside() && is_public)
    }

    /// Whether one source says all of these rows, of one status that counts: then only their age decides.
    fn are_alike(&self, rows: Range<usize>) -> Result<bool> {
        let first = rows.start;
        if self.status(first)?.is_set_aside() {
            return Ok(false);
        }
        let is_like_first = |row: usize| {
            self.status.value(row) == self.status.value(first)
                && self.source.value(row) == self.source.value(first)
        };
        Ok(self.all_are_alike || rows.skip(1).all(is_like_first))
    }

    /// Of such rows, the newest that is public on a day; of several of one day the first by number.
    fn newest(&self, rows: Range<usize>, day: Day) -> Option<usize> {
        let is_public = |row: &usize| self.published.value(*row) <= day.days_from_epoch();
        let age = |row: &usize| {
            let published = Reverse(self.published.value(*row));
            (published, self.number.value(*row))
        };
        rows.filter(is_public).min_by_key(age)
    }

    fn statement(&self, row: usize) -> Result<Statement<'a>> {
        let source = self.source.value(row);
        Ok(Statement {
            status: self.status(row)?,
            published_on: Day::from_epoch(self.published.value(row)),
            source,
            rank: self.ranks.get(source).copied().unwrap_or(i64::MAX),
            number: self.number.value(row),
            value: self.value.is_valid(row).then(|| self.value.value(row)),
        })
    }
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    match rows.column_by_name(name) {
        Some(column) => Ok(column),
        None => internal_err!("the scan of a series table gave no column {name}"),
    }
}
