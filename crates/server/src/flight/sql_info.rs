//! What the server says of itself: every id of Flight SQL's SqlInfo.

use std::collections::BTreeMap;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedGroupBy, SqlSupportedResultSetConcurrency, SqlSupportedResultSetType,
    SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions, SqlSupportsConvert,
    SqlTransactionIsolationLevel, SupportedSqlGrammar,
};

/// The functions of SQL as JDBC sorts them, which is where editors take their highlighting from.
#[derive(Debug, Clone, Default)]
pub(crate) struct FunctionNames {
    pub(crate) numeric: Vec<String>,
    pub(crate) string: Vec<String>,
    pub(crate) system: Vec<String>,
    pub(crate) datetime: Vec<String>,
}

/// Every id has an answer: older drivers fail on one that is missing, and Java casts what it gets
/// without a look, so each answer has the type that it casts to.
///
/// # Errors
/// Where Arrow can't hold the answers.
pub(crate) fn sql_info(functions: &FunctionNames) -> Result<SqlInfoData, ArrowError> {
    let mut answers = SqlInfoDataBuilder::new();
    for &(id, text) in TEXTS {
        answers.append(id, text);
    }
    for &(id, is_so) in STATEMENTS {
        answers.append(id, is_so);
    }
    for &(id, code) in CODES {
        answers.append(id, code);
    }
    for &(id, most) in LIMITS {
        answers.append(id, most);
    }
    answers.append(SqlInfo::SqlKeywords, KEYWORDS);
    answers.append(SqlInfo::SqlNumericFunctions, functions.numeric.clone());
    answers.append(SqlInfo::SqlStringFunctions, functions.string.clone());
    answers.append(SqlInfo::SqlSystemFunctions, functions.system.clone());
    answers.append(SqlInfo::SqlDatetimeFunctions, functions.datetime.clone());
    answers.append(SqlInfo::SqlSupportsConvert, conversions());
    answers.build().map_err(arrow_error)
}

/// What went wrong in Flight's builders, which work on Arrow alone.
pub(super) fn arrow_error(error: FlightError) -> ArrowError {
    match error {
        FlightError::Arrow(error) => error,
        error => ArrowError::from_external_error(Box::new(error)),
    }
}

const TEXTS: &[(SqlInfo, &str)] = &[
    (SqlInfo::FlightSqlServerName, "Didymium"),
    (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
    (SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION),
    (SqlInfo::FlightSqlServerSubstraitMinVersion, ""),
    (SqlInfo::FlightSqlServerSubstraitMaxVersion, ""),
    (SqlInfo::SqlIdentifierQuoteChar, "\""),
    (SqlInfo::SqlSearchStringEscape, "\\"),
    (SqlInfo::SqlExtraNameCharacters, ""),
    (SqlInfo::SqlSchemaTerm, "schema"),
    (SqlInfo::SqlProcedureTerm, ""),
    (SqlInfo::SqlCatalogTerm, "catalog"),
];

const STATEMENTS: &[(SqlInfo, bool)] = &[
    (SqlInfo::FlightSqlServerReadOnly, false),
    (SqlInfo::FlightSqlServerSql, true),
    (SqlInfo::FlightSqlServerSubstrait, false),
    (SqlInfo::FlightSqlServerCancel, true),
    (SqlInfo::FlightSqlServerBulkIngestion, true),
    (SqlInfo::FlightSqlServerIngestTransactionsSupported, false),
    // Tables come of what is ingested, not of SQL.
    (SqlInfo::SqlDdlCatalog, false),
    (SqlInfo::SqlDdlSchema, false),
    (SqlInfo::SqlDdlTable, false),
    (SqlInfo::SqlAllTablesAreSelectable, true),
    (SqlInfo::SqlSupportsColumnAliasing, true),
    (SqlInfo::SqlNullPlusNullIsNull, true),
    (SqlInfo::SqlSupportsTableCorrelationNames, true),
    (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
    (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
    (SqlInfo::SqlSupportsOrderByUnrelated, true),
    (SqlInfo::SqlSupportsLikeEscapeClause, true),
    (SqlInfo::SqlSupportsNonNullableColumns, true),
    (SqlInfo::SqlSupportsIntegrityEnhancementFacility, false),
    (SqlInfo::SqlCatalogAtStart, true),
    (SqlInfo::SqlSelectForUpdateSupported, false),
    (SqlInfo::SqlStoredProceduresSupported, false),
    (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
    (SqlInfo::SqlMaxRowSizeIncludesBlobs, false),
    (SqlInfo::SqlTransactionsSupported, false),
    (SqlInfo::SqlDataDefinitionCausesTransactionCommit, false),
    (SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false),
    (SqlInfo::SqlBatchUpdatesSupported, false),
    (SqlInfo::SqlSavepointsSupported, false),
    (SqlInfo::SqlNamedParametersSupported, true),
    (SqlInfo::SqlLocatorsUpdateCopy, false),
    (SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false),
];

/// Ordinals and bitmasks.
const CODES: &[(SqlInfo, i32)] = &[
    // Told that there are none, ADBC never begins a transaction.
    (
        SqlInfo::FlightSqlServerTransaction,
        SqlSupportedTransaction::None as i32,
    ),
    // 0 is no timeout.
    (SqlInfo::FlightSqlServerStatementTimeout, 0),
    (SqlInfo::FlightSqlServerTransactionTimeout, 0),
    (
        SqlInfo::SqlIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32,
    ),
    // They are sensitive, for which the enum has no word; "unknown" at least claims no folding.
    (
        SqlInfo::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32,
    ),
    // Last in ascending order, first in descending order.
    (
        SqlInfo::SqlNullOrdering,
        SqlNullOrdering::SqlNullsSortedHigh as i32,
    ),
    (
        SqlInfo::SqlSupportedGroupBy,
        bits(&[
            SqlSupportedGroupBy::SqlGroupByUnrelated as i32,
            SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32,
        ]),
    ),
    (
        SqlInfo::SqlSupportedGrammar,
        bits(&[
            SupportedSqlGrammar::SqlMinimumGrammar as i32,
            SupportedSqlGrammar::SqlCoreGrammar as i32,
            SupportedSqlGrammar::SqlExtendedGrammar as i32,
        ]),
    ),
    (
        SqlInfo::SqlAnsi92SupportedLevel,
        bits(&[ANSI92_ENTRY, ANSI92_INTERMEDIATE]),
    ),
    // An ordinal by the letter of the protocol, but Java reads bits.
    (
        SqlInfo::SqlOuterJoinsSupportLevel,
        bits(&[
            SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins as i32,
            SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32,
        ]),
    ),
    // There are no procedures, indexes or privileges to name a schema or catalog in.
    (SqlInfo::SqlSchemasSupportedActions, 0),
    (SqlInfo::SqlCatalogsSupportedActions, 0),
    (SqlInfo::SqlSupportedPositionedCommands, 0),
    (
        SqlInfo::SqlSupportedSubqueries,
        bits(&[
            SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
            SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
            SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
            SqlSupportedSubqueries::SqlSubqueriesInQuantifieds as i32,
        ]),
    ),
    (
        SqlInfo::SqlSupportedUnions,
        bits(&[
            SqlSupportedUnions::SqlUnion as i32,
            SqlSupportedUnions::SqlUnionAll as i32,
        ]),
    ),
    (
        SqlInfo::SqlSupportedTransactionsIsolationLevels,
        bits(&[SqlTransactionIsolationLevel::SqlTransactionNone as i32]),
    ),
    (
        SqlInfo::SqlSupportedResultSetTypes,
        bits(&[SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32]),
    ),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 0),
    (
        SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly,
        bits(&[SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32]),
    ),
    (
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive,
        0,
    ),
    (
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive,
        0,
    ),
];

// Of SupportedAnsi92SqlGrammarLevel, which arrow-flight keeps to itself.
const ANSI92_ENTRY: i32 = 0;
const ANSI92_INTERMEDIATE: i32 = 1;

/// What a 64-bit number answers; 0 is no limit, or none that is known.
const LIMITS: &[(SqlInfo, i64)] = &[
    (SqlInfo::SqlMaxBinaryLiteralLength, 0),
    (SqlInfo::SqlMaxCharLiteralLength, 0),
    (SqlInfo::SqlMaxColumnNameLength, 0),
    (SqlInfo::SqlMaxColumnsInGroupBy, 0),
    (SqlInfo::SqlMaxColumnsInIndex, 0),
    (SqlInfo::SqlMaxColumnsInOrderBy, 0),
    (SqlInfo::SqlMaxColumnsInSelect, SELECTED_COLUMNS),
    (SqlInfo::SqlMaxColumnsInTable, 0),
    (SqlInfo::SqlMaxConnections, 0),
    (SqlInfo::SqlMaxCursorNameLength, 0),
    (SqlInfo::SqlMaxIndexLength, 0),
    (SqlInfo::SqlDbSchemaNameLength, 0),
    (SqlInfo::SqlMaxProcedureNameLength, 0),
    (SqlInfo::SqlMaxCatalogNameLength, 0),
    (SqlInfo::SqlMaxRowSize, 0),
    (SqlInfo::SqlMaxStatementLength, SQL_BYTES),
    (SqlInfo::SqlMaxStatements, 0),
    (SqlInfo::SqlMaxTableNameLength, 0),
    (SqlInfo::SqlMaxTablesInSelect, RELATIONS),
    (SqlInfo::SqlMaxUsernameLength, 0),
    // No limit, but a number that Java reads as one of these: an ordinal, 0 being none.
    (SqlInfo::SqlDefaultTransactionIsolation, 0),
];

// The engine's limits of these names.
const SELECTED_COLUMNS: i64 = 1024;
const SQL_BYTES: i64 = 256 * 1024;
const RELATIONS: i64 = 128;

/// The words that the parser takes for its own in a query.
const KEYWORDS: &[&str] = &[
    "ALL",
    "ANALYZE",
    "AND",
    "ANTI",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS",
    "CUBE",
    "CURRENT",
    "DATE",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "ESCAPE",
    "EXCEPT",
    "EXCLUDE",
    "EXISTS",
    "EXPLAIN",
    "EXTRACT",
    "FALSE",
    "FETCH",
    "FILTER",
    "FIRST",
    "FOLLOWING",
    "FROM",
    "FULL",
    "GROUP",
    "GROUPING",
    "HAVING",
    "IGNORE",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LAST",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NATURAL",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRECEDING",
    "QUALIFY",
    "RANGE",
    "RECURSIVE",
    "RESPECT",
    "RIGHT",
    "ROLLUP",
    "ROW",
    "ROWS",
    "SELECT",
    "SEMI",
    "SETS",
    "SIMILAR",
    "SOME",
    "STRUCT",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TRIM",
    "TRUE",
    "TRY_CAST",
    "UNBOUNDED",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "WITHIN",
];

/// The mask with the bits of these numbers.
const fn bits(numbers: &[i32]) -> i32 {
    let mut mask: i32 = 0;
    let mut at = 0;
    while at < numbers.len() {
        mask |= 1 << numbers[at];
        at += 1;
    }
    mask
}

/// To which types a CAST turns each type, asked of the kernel that does it.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    let types = types();
    let targets = |source: &DataType| -> Vec<i32> {
        let reached = types
            .iter()
            .filter(|(_, target)| can_cast_types(source, target));
        reached.map(|(to, _)| *to as i32).collect()
    };
    types
        .iter()
        .map(|(from, source)| (*from as i32, targets(source)))
        .collect()
}

/// The protocol's types as a CAST understands them. SQL's two intervals and the long types are none
/// of ours.
fn types() -> [(SqlSupportsConvert, DataType); 16] {
    let nanoseconds = TimeUnit::Nanosecond;
    [
        (SqlSupportsConvert::SqlConvertBigint, DataType::Int64),
        (SqlSupportsConvert::SqlConvertBinary, DataType::Binary),
        (SqlSupportsConvert::SqlConvertBit, DataType::Boolean),
        (SqlSupportsConvert::SqlConvertChar, DataType::Utf8),
        (SqlSupportsConvert::SqlConvertDate, DataType::Date32),
        (
            SqlSupportsConvert::SqlConvertDecimal,
            DataType::Decimal128(38, 10),
        ),
        (SqlSupportsConvert::SqlConvertFloat, DataType::Float32),
        (SqlSupportsConvert::SqlConvertInteger, DataType::Int32),
        (
            SqlSupportsConvert::SqlConvertNumeric,
            DataType::Decimal128(38, 10),
        ),
        (SqlSupportsConvert::SqlConvertReal, DataType::Float32),
        (SqlSupportsConvert::SqlConvertSmallint, DataType::Int16),
        (
            SqlSupportsConvert::SqlConvertTime,
            DataType::Time64(nanoseconds),
        ),
        (
            SqlSupportsConvert::SqlConvertTimestamp,
            DataType::Timestamp(nanoseconds, None),
        ),
        (SqlSupportsConvert::SqlConvertTinyint, DataType::Int8),
        (SqlSupportsConvert::SqlConvertVarbinary, DataType::Binary),
        (SqlSupportsConvert::SqlConvertVarchar, DataType::Utf8),
    ]
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, RecordBatch};
    use arrow::datatypes::UInt32Type;

    use super::*;

    #[test]
    fn every_id_has_an_answer() {
        let answered = ids(&answers());
        let missing: Vec<i32> = (0..=600_i32)
            .filter(|id| SqlInfo::try_from(*id).is_ok())
            .filter(|id| !answered.contains(&id.unsigned_abs()))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_numbers_that_java_reads_as_long_are_64_bits_wide() {
        const BIGINT: i8 = 2;
        let answers = answers();
        let values = answers.column(1).as_union();
        for (row, id) in ids(&answers).into_iter().enumerate() {
            let is_long = matches!(id, 541..=555 | 557..=562);
            assert_eq!(values.type_id(row) == BIGINT, is_long, "{id}");
        }
    }

    #[test]
    fn bits_are_numbered_from_zero() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 2]), 0b101);
    }

    #[test]
    fn a_truth_value_becomes_a_number_but_no_date() {
        let conversions = conversions();
        let targets = &conversions[&(SqlSupportsConvert::SqlConvertBit as i32)];
        assert!(targets.contains(&(SqlSupportsConvert::SqlConvertInteger as i32)));
        assert!(!targets.contains(&(SqlSupportsConvert::SqlConvertDate as i32)));
    }

    fn answers() -> RecordBatch {
        let infos = sql_info(&FunctionNames::default()).expect("the answers fit");
        infos
            .record_batch(std::iter::empty())
            .expect("all of them can be asked for")
    }

    fn ids(answers: &RecordBatch) -> Vec<u32> {
        answers
            .column(0)
            .as_primitive::<UInt32Type>()
            .values()
            .to_vec()
    }
}
