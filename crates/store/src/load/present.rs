//! What a load says that the table knows already, and what it says otherwise.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, Date32Array, Int64Array, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type};
use arrow::row::OwnedRow;
use datafusion::common::ScalarValue;
use didymium_model::Status;

use super::sorted::Sorted;
use crate::data_file::DataFile;
use crate::layout::Layout;
use crate::standard_columns::LOAD_ID;
use crate::{Declaration, Fault, Faults, Result, Snapshot, Table, TableKind};

/// The columns that name what a row is about: all of its identity but its vintage.
const SUBJECT: [&str; 4] = ["series", "period_start", "period_end", "source_id"];

/// The columns that make a row's figure: a later vintage with the same ones is none.
const FIGURE: [&str; 6] = [
    "value",
    "value_low",
    "value_high",
    "unit",
    "status",
    "cumulative",
];

/// What becomes of a load's rows beside those of a table.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The rows that are new, in their order.
    pub(super) new: Vec<u32>,
    /// How many say again what the table holds.
    pub(super) unchanged: u64,
    /// The table's rows that the load contradicts, by file, and the row of the load that does.
    pub(super) contradicted: HashMap<String, Vec<Contradicted>>,
}

/// A row of the table that a load states anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contradicted {
    /// Its place in its file.
    pub(super) place: usize,
    /// The row of the load.
    pub(super) by: u32,
    /// The number under which it stays as a superseded statement.
    pub(super) statement: i64,
}

impl Verdict {
    /// Of rows that are beside none.
    pub(super) fn of_new(rows: &Sorted) -> Self {
        Self {
            new: (0..rows.count() as u32).collect(),
            ..Self::default()
        }
    }

    /// The faults of rows that contradict the table without saying why.
    pub(super) fn faults(&self, declaration: &Declaration, prepared: &Sorted) -> Faults {
        let key = declaration.sort_columns().join(", ");
        let mut by: Vec<u32> = self
            .contradicted
            .values()
            .flatten()
            .map(|it| it.by)
            .collect();
        by.sort_unstable();
        let mut faults = Faults::default();
        for row in by {
            let (file, number) = prepared.origin(row as usize);
            faults.add(Fault {
                file: file.to_owned(),
                row: number,
                column: String::new(),
                rule: format!(
                    "the table holds a row with the same {key} and other values: a revision has a later published_on; --supersede REASON corrects a mistake"
                ),
                value: None,
            });
        }
        faults
    }
}

impl Table {
    /// Compares a load with the table's rows of the same subjects. Only files whose bounds overlap the
    /// load's are read.
    pub(super) async fn compare(
        &self,
        declaration: &Declaration,
        prepared: &Sorted,
        snapshot: &Snapshot,
    ) -> Result<Verdict> {
        let rows = prepared.count() as u32;
        if rows == 0 {
            // It has no bounds, so every file would seem to overlap it.
            return Ok(Verdict::default());
        }
        let overlapping = self.overlapping(declaration, prepared, snapshot);
        if overlapping.is_empty() {
            return Ok(Verdict {
                new: (0..rows).collect(),
                ..Verdict::default()
            });
        }
        let forms = Forms::of(declaration)?;
        let subjects = prepared.batches().into_iter();
        let subjects = subjects.map(|rows| forms.subject.keys(rows));
        let subjects = subjects.collect::<Result<Vec<_>>>()?;
        let mut groups: HashMap<&[u8], Group> = HashMap::new();
        for row in 0..rows {
            let (part, place) = prepared.place(row as usize);
            let subject = subjects[part].row(place).data();
            groups.entry(subject).or_default().new.push(row);
        }
        for file in overlapping {
            let batches = self.columns_of(file, forms.whole.schema()).await?;
            let mut first = 0;
            for batch in &batches {
                let subjects = forms.subject.keys(batch)?;
                for row in 0..batch.num_rows() {
                    if let Some(group) = groups.get_mut(subjects.row(row).data()) {
                        group.met.push(Met {
                            file: file.path.clone(),
                            place: first + row,
                            saying: forms.saying(&batch.slice(row, 1))?,
                        });
                    }
                }
                first += batch.num_rows();
            }
        }
        let mut verdict = Verdict::default();
        for group in groups.into_values() {
            group.judge(&forms, prepared, &mut verdict)?;
        }
        verdict.new.sort_unstable();
        Ok(verdict)
    }

    /// The files that may hold rows of the load's subjects, by their bounds in the sort columns.
    fn overlapping<'s>(
        &self,
        declaration: &Declaration,
        prepared: &Sorted,
        snapshot: &'s Snapshot,
    ) -> Vec<&'s DataFile> {
        if snapshot.files.is_empty() {
            return Vec::new();
        }
        let compared = match declaration.kind {
            // A later vintage may meet an earlier one: no bound of the vintage counts.
            TableKind::Series => SUBJECT[..3].to_vec(),
            TableKind::Plain => declaration.sort_columns(),
        };
        let bounds: Vec<_> = compared
            .into_iter()
            .filter_map(|name| {
                let place = snapshot.schema.index_of(name).ok()?;
                let own = prepared.bounds(name)?;
                Some((place, own))
            })
            .collect();
        let overlaps = |file: &&DataFile| {
            bounds.iter().all(|(place, (low, high))| {
                let statistics = &file.statistics.column_statistics[*place];
                // NULL has no bound, and compares with nothing.
                let is_apart = |theirs: Option<&ScalarValue>, ours: &ScalarValue, order| {
                    theirs.and_then(|theirs| theirs.partial_cmp(ours)) == Some(order)
                };
                let has_nulls = statistics.null_count.get_value() != Some(&0);
                has_nulls
                    || !(is_apart(
                        statistics.min_value.get_value(),
                        high,
                        std::cmp::Ordering::Greater,
                    ) || is_apart(
                        statistics.max_value.get_value(),
                        low,
                        std::cmp::Ordering::Less,
                    ))
            })
        };
        snapshot.files.iter().filter(overlaps).collect()
    }
}

/// The forms in which a table's rows are compared.
struct Forms {
    kind: TableKind,
    subject: Layout,
    figure: Layout,
    whole: Layout,
}

/// What a row says of its subject.
struct Saying {
    /// Its day and statement; a plain table's rows have no vintages.
    vintage: (i32, i64),
    figure: OwnedRow,
    whole: OwnedRow,
    /// Whether it takes back all that its source said before.
    withdraws: bool,
}

impl Forms {
    fn of(declaration: &Declaration) -> Result<Self> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let columns = declaration.all_columns().into_iter();
        let whole = columns.map(|column| column.name);
        let (subject, figure, whole) = match declaration.kind {
            TableKind::Series => (
                owned(&SUBJECT),
                owned(&FIGURE),
                whole.filter(|name| name != LOAD_ID).collect(),
            ),
            TableKind::Plain => (
                declaration.key.clone(),
                declaration.key.clone(),
                whole.collect(),
            ),
        };
        Ok(Self {
            kind: declaration.kind,
            subject: Layout::over(declaration, subject)?,
            figure: Layout::over(declaration, figure)?,
            whole: Layout::over(declaration, whole)?,
        })
    }

    /// What the first row of a batch says.
    fn saying(&self, row: &RecordBatch) -> Result<Saying> {
        let column = |name: &str| row.column_by_name(name).filter(|it| it.is_valid(0));
        let day =
            column("published_on").and_then(|it| it.as_primitive_opt::<Date32Type>().cloned());
        let number = column("statement").and_then(|it| it.as_primitive_opt::<Int64Type>().cloned());
        let vintage = match self.kind {
            TableKind::Series => (
                day.map_or(i32::MIN, |days: Date32Array| days.value(0)),
                number.map_or(0, |numbers: Int64Array| numbers.value(0)),
            ),
            TableKind::Plain => (0, 0),
        };
        Ok(Saying {
            vintage,
            figure: self.figure.keys(row)?.row(0).owned(),
            whole: self.whole.keys(row)?.row(0).owned(),
            withdraws: column("status").is_some_and(|status| {
                let status = status.as_string_opt::<i32>();
                status.is_some_and(|status| status.value(0) == Status::Withdrawn.word())
            }),
        })
    }
}

/// The rows of one subject: the load's, and the table's.
#[derive(Default)]
struct Group {
    new: Vec<u32>,
    met: Vec<Met>,
}

/// A row of the table.
struct Met {
    file: String,
    place: usize,
    saying: Saying,
}

impl Group {
    fn judge(self, forms: &Forms, prepared: &Sorted, verdict: &mut Verdict) -> Result<()> {
        if self.met.is_empty() {
            verdict.new.extend(self.new);
            return Ok(());
        }
        let mut sayings = Vec::with_capacity(self.new.len());
        for row in self.new {
            let saying = forms.saying(&prepared.row(row as usize))?;
            sayings.push((row, saying));
        }
        sayings.sort_by_key(|(_, saying)| saying.vintage);
        let mut corrections = 0;
        for (place, (row, saying)) in sayings.iter().enumerate() {
            let (day, statement) = saying.vintage;
            let same = self
                .met
                .iter()
                .find(|met| met.saying.vintage == saying.vintage);
            if let Some(met) = same {
                if met.saying.whole == saying.whole {
                    verdict.unchanged += 1;
                    continue;
                }
                verdict.new.push(*row);
                corrections += 1;
                let said = self.met.iter().map(|met| met.saying.vintage);
                let said = said.chain(sayings.iter().map(|(_, saying)| saying.vintage));
                let numbers = said.filter(|it| it.0 == day).map(|it| it.1);
                let contradicted = Contradicted {
                    place: met.place,
                    by: *row,
                    statement: numbers.max().unwrap_or(statement) + corrections,
                };
                let in_file = verdict.contradicted.entry(met.file.clone()).or_default();
                in_file.push(contradicted);
                continue;
            }
            // The newest that was said before, by the table or by this load.
            let earlier = self.met.iter().map(|met| &met.saying);
            let earlier = earlier.chain(sayings[..place].iter().map(|(_, saying)| saying));
            let before = earlier
                .filter(|it| it.vintage.0 < day && (it.vintage.1 == statement || it.withdraws))
                .max_by_key(|it| it.vintage);
            match before {
                Some(before) if before.figure == saying.figure => verdict.unchanged += 1,
                _ => verdict.new.push(*row),
            }
        }
        Ok(())
    }
}
