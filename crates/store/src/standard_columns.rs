//! The columns that every series table has beside its key.

use crate::declaration::{ColumnDeclaration, ColumnType};

/// The column that names a row's series, first in the table and derived from the key.
pub(crate) const SERIES: &str = "series";

/// The column that names the load which brought a row, written by the store.
pub(crate) const LOAD_ID: &str = "load_id";

/// The column whose place a series table's key may take: what a unit counts.
pub(crate) const BASIS: &str = "basis";

/// The columns that are in a row's unit.
pub(crate) const VALUES: [&str; 3] = ["value", "value_low", "value_high"];

/// The columns that a series table's files are sorted by.
pub(crate) const SORT: [&str; 6] = [
    "series",
    "period_start",
    "period_end",
    "published_on",
    "source_id",
    "statement",
];

/// How exactly a publication day is known.
pub(crate) const PRECISIONS: [&str; 3] = ["day", "month", "year"];

/// The standard columns in their order, after `series`, the key and the table's own columns.
pub(crate) fn standard_columns() -> Vec<ColumnDeclaration> {
    use ColumnType::{Boolean, Date, Double, Int, Text};
    let required = |name, kind, description| column(name, kind, false, description);
    let optional = |name, kind, description| column(name, kind, true, description);
    vec![
        required(
            "measure",
            Text,
            "What is measured; the table's declaration lists the measures with their units.",
        ),
        required("period_start", Date, "The first day that the value covers."),
        required(
            "period_end",
            Date,
            "The last day that the value covers, itself included.",
        ),
        required(
            "frequency",
            Text,
            "A, H, Q, M, W or D where the period is exactly a calendar year, half-year, quarter, month, week or day, else X.",
        ),
        required(
            "cumulative",
            Boolean,
            "Whether the value counts from the start of its year to the end of the period.",
        ),
        optional(
            "value",
            Double,
            "The value in the row's unit; NULL where the status says why there is none.",
        ),
        optional(
            "value_low",
            Double,
            "The lower end of a printed range or bound.",
        ),
        optional(
            "value_high",
            Double,
            "The upper end of a printed range or bound.",
        ),
        required("unit", Text, "The unit of the value."),
        optional(
            BASIS,
            Text,
            "What the unit counts: REO, oxide, metal, gross weight.",
        ),
        optional(
            "printed_value",
            Text,
            "The figure as the source printed it.",
        ),
        optional("printed_unit", Text, "The unit as the source printed it."),
        required(
            "status",
            Text,
            "final, provisional, estimated, rounded, derived, contradicted, superseded, not_disclosed, not_available or withdrawn.",
        ),
        required(
            "published_on",
            Date,
            "The vintage: the day on which the value became public, at the latest.",
        ),
        required(
            "published_precision",
            Text,
            "Whether the source gives the publication's day, month or year.",
        ),
        required("source_id", Text, "The source; see the table sources."),
        required(
            "statement",
            Int,
            "1, 2 … where one source says several things about one period.",
        ),
        optional("note", Text, "What a reader must know beside the figure."),
        optional(
            LOAD_ID,
            Text,
            "The load that brought the row; system.commits says who loaded what.",
        ),
    ]
}

pub(crate) fn column(
    name: &str,
    kind: ColumnType,
    nullable: bool,
    description: &str,
) -> ColumnDeclaration {
    ColumnDeclaration {
        name: name.to_owned(),
        kind,
        nullable,
        values: Vec::new(),
        min: None,
        max: None,
        description: description.to_owned(),
    }
}
