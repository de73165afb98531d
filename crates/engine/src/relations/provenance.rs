//! `provenance('quotas')`: every row of a table with its document and the commit that brought it.

use datafusion::sql::sqlparser::ast::{FunctionArg, TableAlias, TableFactor};

use super::{Arguments, Expand, Source, alias_of, derived, name_in_sql};
use crate::Result;

/// The rows beside what the table of sources and the table's own log say of them. A row that another
/// program wrote has no load.
const SQL: &str = include_str!("provenance.sql");

impl Expand<'_> {
    /// The query that the relation stands for.
    pub(super) fn provenance(
        &mut self,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Result<TableFactor> {
        let table = Arguments::of("provenance", &["table"], args)?.text("table")?;
        let rows = format!("all_vintages('{table}')");
        let commits = format!("commits('{table}')");
        let sql = SQL
            .replace("{rows}", &name_in_sql(&rows))
            .replace("{commits}", &name_in_sql(&commits));
        self.sources.insert(rows, Source::Rows(table.clone()));
        self.sources.insert(commits, Source::Commits(table));
        derived(&sql, alias_of(alias, "provenance"))
    }
}
