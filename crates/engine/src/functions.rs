//! What Didymium adds to SQL, as documentation.

use std::collections::BTreeMap;

use datafusion::logical_expr::Documentation;

use crate::Engine;

/// A function or relation, for people and programs that ask what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDoc {
    /// The name in SQL.
    pub name: String,
    /// `window`, `aggregate`, `scalar`, `table` or `relation`.
    pub kind: &'static str,
    /// How it is called.
    pub syntax: String,
    /// Meaning, units, nulls and errors.
    pub description: String,
    /// Its arguments by name.
    pub arguments: Vec<(String, String)>,
    /// A statement that uses it.
    pub example: String,
}

impl Engine {
    /// Every function that a statement may call, with the section of the documentation that it stands
    /// in; those of Didymium's own, and all that aggregate, have none.
    pub fn function_sections(&self) -> BTreeMap<String, &'static str> {
        let state = self.base();
        let scalars = state.scalar_functions().iter().map(|(name, function)| {
            let documentation = function.documentation();
            let section = documentation.map(|it| it.doc_section.label);
            (name.clone(), section.unwrap_or_default())
        });
        let names = state
            .aggregate_functions()
            .keys()
            .chain(state.window_functions().keys());
        let others = names.map(|name| (name.clone(), ""));
        scalars.chain(others).collect()
    }
}

/// Every function and relation of Didymium's own.
pub fn functions() -> Vec<FunctionDoc> {
    let windows = didymium_functions::window_functions();
    let aggregates = didymium_functions::aggregate_functions();
    let scalars = didymium_functions::scalar_functions();
    let windows = windows
        .iter()
        .map(|f| (f.name(), "window", f.documentation()));
    let aggregates = aggregates
        .iter()
        .map(|f| (f.name(), "aggregate", f.documentation()));
    let scalars = scalars
        .iter()
        .map(|f| (f.name(), "scalar", f.documentation()));
    let documented =
        windows
            .chain(aggregates)
            .chain(scalars)
            .filter_map(|(name, kind, documentation)| {
                documentation.map(|documentation| function(name, kind, documentation))
            });
    documented.chain(RELATIONS.iter().map(relation)).collect()
}

fn function(name: &str, kind: &'static str, documentation: &Documentation) -> FunctionDoc {
    FunctionDoc {
        name: name.to_owned(),
        kind,
        syntax: documentation.syntax_example.clone(),
        description: documentation.description.clone(),
        arguments: documentation.arguments.clone().unwrap_or_default(),
        example: documentation.sql_example.clone().unwrap_or_default(),
    }
}

struct RelationDoc {
    syntax: &'static str,
    description: &'static str,
    arguments: &'static [(&'static str, &'static str)],
    example: &'static str,
}

const TABLE: (&str, &str) = ("table", "A series table's name in quotes.");
const DAY: (&str, &str) = ("day", "A constant DATE, not in the future.");
const AS_OF: (&str, &str) = (
    "as_of",
    "A constant DATE, not in the future; by default what is known.",
);
const YEAR: (&str, &str) = ("year", "The quota's year, or NULL for all.");

fn relation(doc: &RelationDoc) -> FunctionDoc {
    let (name, _) = doc.syntax.split_once('(').unwrap_or((doc.syntax, ""));
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    FunctionDoc {
        name: name.to_owned(),
        kind: "relation",
        syntax: doc.syntax.to_owned(),
        description: doc.description.to_owned(),
        arguments: doc.arguments.iter().map(owned).collect(),
        example: doc.example.to_owned(),
    }
}

const RELATIONS: [RelationDoc; 12] = [
    RelationDoc {
        syntax: "all_vintages('table')",
        description: "Every row of a table, whatever its status and day of publication. Growth within one edition is growth over this, partitioned by source.",
        arguments: &[TABLE],
        example: "SELECT producer, period_start, value, unit, published_on, status FROM all_vintages('production') WHERE source_id = 'USGS-MCS2021' ORDER BY series, period_start",
    },
    RelationDoc {
        syntax: "as_of('table', day)",
        description: "What was known on a day: one row per series and period. Among the rows public by then and neither contradicted, superseded nor withdrawn, an exact one before a rounded one, then the best source, then the newest, then the first by source and statement. A bare table name is this for everything that is known.",
        arguments: &[TABLE, DAY],
        example: "SELECT value FROM as_of('reserves', DATE '2026-03-01') WHERE area = 'Brazil'",
    },
    RelationDoc {
        syntax: "latest('table' [, as_of => day])",
        description: "The newest observation of each series, of those that a bare table name gives: the one whose period ends last, then starts last. It may be NULL with a status, as where a figure is no longer disclosed.",
        arguments: &[TABLE, AS_OF],
        example: "SELECT product, period_end, value, unit FROM latest('prices') WHERE authority = '100ppi' ORDER BY product",
    },
    RelationDoc {
        syntax: "revisions('table' [, as_of => day])",
        description: "Every day on which another value began to count: from_value, to_value, changed_on, and the sources of both. A reprint of the same value is no revision.",
        arguments: &[TABLE, AS_OF],
        example: "SELECT product, period_start, from_value, to_value, unit, changed_on FROM revisions('prices') WHERE changed_on >= DATE '2024-01-01' ORDER BY product, period_start, changed_on",
    },
    RelationDoc {
        syntax: "conflicts('table' [, as_of => day])",
        description: "Every row that holds on a day, for the periods for which they say different things.",
        arguments: &[TABLE, AS_OF],
        example: "SELECT period_start, value, source_id FROM conflicts('quotas') WHERE stage = 'smelting_separation' AND holder_kind = 'national' ORDER BY period_start, value",
    },
    RelationDoc {
        syntax: "provenance('table')",
        description: "Every row of a series table, as all_vintages gives it, with where it comes from: document, publisher and locator of its source, and of the commit that brought it input_files, input_sha256 (of each file, in their order), loader, commit_version, committed_at and commit_message. load_id names the load in system.commits. NULL where sources does not list the source, and, of the commit, in rows that another program wrote.",
        arguments: &[TABLE],
        example: "SELECT value, published_on, document, publisher, commit_version FROM provenance('reserves') WHERE area = 'Brazil' AND source_id = 'USGS-MCS2026v1.3'",
    },
    RelationDoc {
        syntax: "calendar(first, last, interval)",
        description: "The periods that follow each other from a day on, up to the one that holds the last day: period_start and period_end, both DATEs and part of the period. Each starts a whole number of intervals after the first, so a month's end never drifts. At most a million.",
        arguments: &[
            ("first", "The day with which the first period starts."),
            ("last", "A day that the last period holds."),
            (
                "interval",
                "A number of months, quarters, years, weeks or days.",
            ),
        ],
        example: "SELECT period_start, period_end FROM calendar(DATE '2024-01-01', DATE '2024-12-31', INTERVAL '1 month')",
    },
    RelationDoc {
        syntax: "asof_join('left', 'right', on, left_time, right_time [, tolerance] [, how])",
        description: "Each row of a table with the newest row of another of equal keys whose time is not after its own. The columns are those of both tables, by the tables' names. A row without a match has NULLs, or goes with how => 'inner'. NULL keys and times match nothing; an error where two right rows of one key and time would match. For any relations write a ASOF JOIN b MATCH_CONDITION (a.t >= b.t) ON a.k = b.k.",
        arguments: &[
            ("left, right", "The tables' names in quotes."),
            (
                "on",
                "The key columns, which both tables have, in quotes and with commas between them.",
            ),
            (
                "left_time, right_time",
                "The columns that are compared, in quotes.",
            ),
            (
                "tolerance",
                "How much older the right row may be, an INTERVAL; months count by the calendar.",
            ),
            ("how", "'left', as where left out, or 'inner'."),
        ],
        example: "SELECT quotas.holder, quotas.period_end, sources.published_on FROM asof_join('quotas', 'sources', on => 'source_id', left_time => 'published_on', right_time => 'published_on') ORDER BY quotas.series, quotas.period_end",
    },
    RelationDoc {
        syntax: "quota_issued(year [, as_of => day])",
        description: "What had been issued by a day, in tonnes, per line of regulators, stage, class, holder and basis: the full year's statement, else the cumulative one and the batches after it. complete is false where a batch up to the national one is not known. issued_t is NULL with the status not_disclosed where the authorities kept it back. Totals and their holders, and all and its classes, stand beside each other: adding them counts twice, so add one level at a time, and divide a holder by the national figure of its class.",
        arguments: &[YEAR, AS_OF],
        example: "SELECT holder, mineral_class, issued_t, batches, round(issued_t / max(issued_t) FILTER (WHERE holder_kind = 'national') OVER (PARTITION BY mineral_class), 4) AS share FROM quota_issued(2023) WHERE commodity = 'rare_earths' AND stage = 'mining' QUALIFY complete ORDER BY mineral_class, issued_t DESC",
    },
    RelationDoc {
        syntax: "quotas_by_year",
        description: "One figure per year along a line of regulators, whichever way the year was issued, so that growth does not depend on it. A view: no parentheses. NULL where it is not disclosed or a batch was not published.",
        arguments: &[],
        example: "SELECT period_start, value, yoy(value) OVER (ORDER BY period_start, period_end) AS growth FROM quotas_by_year WHERE commodity = 'rare_earths' AND regulator_line = 'mining_control' AND holder_kind = 'national' AND mineral_class = 'all' ORDER BY period_start",
    },
    RelationDoc {
        syntax: "quota_execution(year [, as_of => day])",
        description: "How much of a quota had been used, by what was public on a day, one row for each body that counts output: rate_issued against what had been issued by then, rate_full_year against the full year's figure in hindsight, elapsed (the fraction of the year that the output covers), pace, remaining_t, excess_t. Output that restates the quota is not output. reason says why there is no rate_issued: quota_not_disclosed, holder_batch_unpublished, no_quota, output_is_quota_copy, bound_only, no_output_reported.",
        arguments: &[YEAR, AS_OF],
        example: "SELECT counted_by, rate_issued FROM quota_execution(2014) WHERE stage = 'export' AND holder_kind = 'national' ORDER BY counted_by",
    },
    RelationDoc {
        syntax: "published_vs_computed()",
        description: "Each printed growth, share, sum, difference, ratio and rate beside what the levels give that it names. verdict: agrees to the printed digits; rounding, where the levels are printed too coarsely to tell; disagrees; circular, where a level was derived from the figure; levels_missing; not_printed.",
        arguments: &[],
        example: "SELECT measure, kind, period_start, published_value, computed_value FROM published_vs_computed() WHERE verdict = 'disagrees' ORDER BY oracle_id",
    },
];
