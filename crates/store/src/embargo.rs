//! Sources whose figures are not yet for everybody.
//!
//! A source may carry the moment of its release (`release_at`). Until then its rows, and its own row among the
//! sources, are hidden from those who only read. So is what would tell of them: how many rows, bytes and files
//! there are where theirs may be among them, the loads that brought nothing else, and whatever a plan knows of
//! the files below the step that leaves the rows out.
//!
//! The log says of each file which sources come first and last in it. Files are not read to find out more: where
//! a hidden source may be in one, it is taken to be.

mod released;
mod span;
mod unpruned;

use arrow::datatypes::{DataType, TimeUnit};

use crate::data_file::DataFile;
use crate::{CommitRecord, Error, FileSummary, OfSources, Result, Snapshot, Table};
pub(crate) use released::without;
pub(crate) use span::Span;
pub use unpruned::Unpruned;

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

/// What is told of a table to those from whom some sources are hidden, which are given in order.
impl Snapshot {
    /// Whether its rows name their sources.
    pub fn names_sources(&self) -> bool {
        self.schema.index_of(SOURCE).is_ok()
    }

    /// Whether rows of these sources may be in the table.
    pub fn may_hold(&self, hidden: &[String]) -> bool {
        self.files.iter().any(|file| self.may_be_in(file, hidden))
    }

    /// The rows of all files; `None` where the log does not know them, and where hidden ones may be among them.
    pub fn rows_without(&self, hidden: &[String]) -> Option<u64> {
        match self.may_hold(hidden) {
            true => None,
            false => self.rows(),
        }
    }

    /// The data files in which there are no hidden rows.
    pub fn files_without<'a>(
        &'a self,
        hidden: &'a [String],
    ) -> impl Iterator<Item = FileSummary<'a>> {
        let files = self.files().zip(&self.files);
        let files = files.filter(move |(_, file)| !self.may_be_in(file, hidden));
        files.map(|(summary, _)| summary)
    }

    fn may_be_in(&self, file: &DataFile, hidden: &[String]) -> bool {
        match self.schema.index_of(SOURCE) {
            Ok(column) => Span::of_file(file, column).may_hold(hidden),
            Err(_) => false,
        }
    }
}

/// The same of a commit of a table whose rows name their sources.
impl CommitRecord {
    /// Whether it is hidden: a file that it added holds nothing but hidden rows. A correction brings such a file
    /// beside those that it writes anew.
    pub fn is_hidden(&self, hidden: &[String]) -> bool {
        self.added.iter().any(|span| span.is_only_of(hidden))
    }

    /// The rows in the files that it added; `None` where hidden ones may be among them.
    pub fn rows_without(&self, hidden: &[String]) -> Option<u64> {
        let may_hold = self.added.iter().any(|span| span.may_hold(hidden));
        (!may_hold).then_some(self.rows_added)
    }
}
