use super::*;

/// On a stack as the engine's own threads have it.
fn refusal(sql: String) -> Option<Error> {
    let thread = std::thread::Builder::new().stack_size(crate::limits::STACK_BYTES);
    let parsed = thread
        .spawn(move || parse(&sql).err())
        .expect("a thread starts");
    parsed.join().expect("no statement panics")
}

fn kind(sql: impl Into<String>) -> Option<ErrorKind> {
    refusal(sql.into()).map(|error| error.kind())
}

#[test]
fn queries_pass() {
    for sql in [
        "SELECT 1",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a;",
        "VALUES (1), (-2)",
        "EXPLAIN ANALYZE SELECT * FROM t WHERE a BETWEEN 1 AND 2 QUALIFY x > -1",
        "(SELECT 1) UNION ALL (SELECT 2)",
    ] {
        assert_eq!(kind(sql), None, "{sql}");
    }
}

#[test]
fn what_is_no_query_is_denied() {
    for sql in [
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/hostname'",
        "COPY (SELECT 1) TO 'x.csv'",
        "EXPLAIN COPY (SELECT 1) TO 'x.csv'",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "INSERT INTO t VALUES (1)",
        "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1 INTO t",
        "SELECT 1 UNION SELECT 2 INTO t",
        "DROP TABLE t",
        "DELETE FROM t",
        "UPDATE t SET a = 1",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "SHOW ALL",
        "START TRANSACTION",
    ] {
        assert_eq!(kind(sql), Some(ErrorKind::Denied), "{sql}");
    }
}

#[test]
fn one_statement_at_a_time() {
    assert_eq!(kind("SELECT 1; SELECT 2"), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(""), Some(ErrorKind::InvalidInput));
    assert_eq!(kind("SELEC 1"), Some(ErrorKind::InvalidInput));
}

#[test]
fn what_the_planner_would_ignore_is_refused() {
    for sql in [
        "SELECT * FROM t TABLESAMPLE BERNOULLI (50)",
        "SELECT * FROM (SELECT 1) AS t TABLESAMPLE BERNOULLI (50)",
        "SELECT * FROM t PREWHERE a = 1",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t SETTINGS a = 1",
        "SELECT * FROM t FORMAT csv",
        "SELECT * FROM t WITH (NOLOCK)",
        "SELECT a FROM t GROUP BY a WITH TOTALS",
        "SELECT a FROM t SORT BY a",
    ] {
        assert_eq!(kind(sql), Some(ErrorKind::Unsupported), "{sql}");
    }
    assert_eq!(kind("SELECT FROM t"), Some(ErrorKind::InvalidInput));
}

#[test]
fn deep_statements_are_refused_before_they_are_parsed() {
    let chain = |operator: &str, terms: usize| {
        format!("SELECT 1 WHERE {}", vec!["1 = 1"; terms].join(operator))
    };
    assert_eq!(kind(chain(" OR ", 400)), None);
    for sql in [
        chain(" OR ", 20_000),
        chain(" AND ", 20_000),
        format!("SELECT {}", vec!["1"; 20_000].join("+")),
        format!("SELECT {}", vec!["'a'"; 20_000].join("||")),
        format!("SELECT 1{}", "::int".repeat(20_000)),
        format!("SELECT a{}", "[1]".repeat(20_000)),
        format!("SELECT {}1", "- ".repeat(20_000)),
        format!("SELECT {}true", "NOT ".repeat(20_000)),
        format!("SELECT 1{}", " IS NULL".repeat(20_000)),
        format!("SELECT now(){}", " AT TIME ZONE 'UTC'".repeat(13_000)),
        format!("SELECT 1{}", " NOTNULL".repeat(20_000)),
        vec!["SELECT 1,2"; 11_000].join(" UNION ALL "),
        vec!["SELECT 1,2"; 3_000].join(" INTERSECT "),
        format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        vec!["SELECT 1"; 2_000].join(" UNION ALL "),
        format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 100_000].join(",")),
        format!("SELECT {}", vec!["1"; 20_000].join(",")),
        format!("SELECT * FROM {}", vec!["t"; 2_000].join(",")),
        format!("SELECT '{}'", "x".repeat(300 * 1024)),
    ] {
        assert_eq!(
            kind(sql.clone()),
            Some(ErrorKind::InvalidInput),
            "{}",
            &sql[..40]
        );
    }
}

#[test]
fn common_tables_count_wherever_they_are_named() {
    let doubling = |levels: usize| {
        let tables = (1..=levels).map(|i| {
            format!(
                "c{i} AS (SELECT a.x FROM c{0} a JOIN c{0} b ON a.x = b.x)",
                i - 1
            )
        });
        let tables: Vec<_> = std::iter::once("c0 AS (SELECT 1 AS x)".to_owned())
            .chain(tables)
            .collect();
        format!("WITH {} SELECT * FROM c{levels}", tables.join(", "))
    };
    assert_eq!(kind(doubling(5)), None);
    assert_eq!(kind(doubling(20)), Some(ErrorKind::InvalidInput));
    let nested = format!("WITH o AS ({}) SELECT * FROM o", doubling(20));
    assert_eq!(kind(nested), Some(ErrorKind::InvalidInput));
    assert_eq!(kind(format!("SELECT * FROM ({}) AS s", doubling(6))), None);
    // A recursive table names itself once.
    assert_eq!(
        kind(
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r"
        ),
        None
    );
    let columns: Vec<_> = (0..20).map(|i| format!("c{i}")).collect();
    assert_eq!(
        kind(format!(
            "SELECT 1 FROM t GROUP BY CUBE({})",
            columns.join(",")
        )),
        Some(ErrorKind::InvalidInput)
    );
}

#[test]
fn a_function_that_would_panic_is_refused() {
    assert_eq!(
        kind("SELECT first_value() OVER ()"),
        Some(ErrorKind::InvalidInput)
    );
    assert_eq!(
        kind("SELECT 1 + LAST_VALUE() OVER ()"),
        Some(ErrorKind::InvalidInput)
    );
    assert_eq!(kind("SELECT first_value(1) OVER ()"), None);
}

#[test]
fn many_rows_are_no_depth() {
    let rows = vec!["('a', DATE '2024-01-01', -1.5)"; 7_000].join(", ");
    assert_eq!(
        kind(format!("SELECT * FROM (VALUES {rows}) AS t(a, b, c)")),
        None
    );
}
