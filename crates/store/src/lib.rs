//! Tables of observations as Delta tables on an object store.
//!
//! A [`Store`] is a folder of tables. Each table is a Delta table: a log of numbered commits beside
//! sorted Parquet files, so that other programs read the same files without an export. Loading is
//! all or nothing: [`Table::load`] parses, checks, sorts, writes and commits, or changes nothing.
//! Reading is by [`Snapshot`]: one version of one table, to the end of a statement.
//!
//! No SQL here, and nothing that prints.

mod alter;
mod backup;
mod clean;
mod commit;
mod compact;
mod data_file;
mod declaration;
mod embargo;
mod error;
mod exports;
mod fault;
mod file_order;
mod history;
mod in_order;
mod layout;
mod load;
mod local;
mod location;
mod long_rows;
mod own_files;
mod own_tables;
mod parts;
mod purge;
mod retention;
mod scan;
mod series_table;
mod snapshot;
mod standard_columns;
mod store;
mod table;
mod upkeep;
mod verify;
mod view;
mod vintages;
mod write;

pub use backup::Backup;
pub use compact::Compacted;
pub use declaration::{
    ColumnDeclaration, ColumnType, Declaration, Measure, TableKind, Total, is_identifier,
};
pub use embargo::Unpruned;
pub use error::{Error, Kind, Result};
pub use exports::Exports;
pub use fault::{Fault, Faults};
pub use history::CommitRecord;
pub use load::{
    Factor, Input, InputFormat, LoadOptions, LoadRequest, Loaded, Made, MappedRow, Mapping, Origin,
    Progress, Stage,
};
pub use location::Location;
pub use own_files::OwnFolder;
pub use own_tables::{JOB_RUNS, is_own_table, job_runs};
pub use purge::{Purge, Purged};
pub use retention::Forgotten;
pub use scan::SnapshotTable;
pub use series_table::SeriesTable;
pub use snapshot::{FileSummary, Snapshot};
pub use store::{OBJECT_STORE_URL, Store};
pub use table::{OfSources, Table};
pub use upkeep::Upkeep;
pub use verify::{Finding, Problem, Verified};
pub use view::ViewDefinition;
pub use vintages::View;
