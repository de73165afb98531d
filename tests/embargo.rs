//! Figures that are not yet for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use didymium_engine::{Engine, ErrorKind, Limits, QueryRequest};
use didymium_store::{LoadOptions, LoadRequest, Store};

use crate::figures::{
    NOW_MS, csv_request, declaration, load, output_csv, output_row, output_table,
};

static TIME_MS: AtomicI64 = AtomicI64::new(NOW_MS);

/// A store whose figure of 2021 comes from a source that is released an hour after the test begins.
async fn store(folder: &std::path::Path) -> Arc<Store> {
    let store = Arc::new(Store::create(folder).await.unwrap());
    let sources = store
        .create_table(&declaration("sources"), NOW_MS)
        .await
        .unwrap();
    let header = "source_id,title,publisher,published_on,published_precision,locator,tier,rank,terms,release_at";
    let source = |id: &str, release: &str| {
        format!("{id},A bulletin,A bureau,2020-01-01,day,page 1,primary_file,1,free,{release}")
    };
    let csv = format!(
        "{header}\n{}\n{}\n",
        source("S", ""),
        source("HELD", "2026-11-24T01:00:00Z")
    );
    load(&sources, &csv).await.unwrap();
    let table = output_table(&store).await;
    load(&table, &output_csv(&[output_row("a", 2020, 1, "1")]))
        .await
        .unwrap();
    let held = output_csv(&[output_row("a", 2021, 1, "2")]).replace(",S,1", ",HELD,1");
    table.load(csv_request(&held)).await.unwrap();
    store
}

/// A statement's rows, as who may write sees them, or a reader.
async fn rows(engine: &Arc<Engine>, sql: &str, may_write: bool) -> RecordBatch {
    let request = QueryRequest {
        sql: sql.to_owned(),
        may_write,
        ..QueryRequest::default()
    };
    let mut result = engine.query(request).await.unwrap();
    result.rest().await.unwrap()
}

async fn count(engine: &Arc<Engine>, sql: &str, may_write: bool) -> usize {
    rows(engine, sql, may_write).await.num_rows()
}

/// A statement's answer as text.
async fn text(engine: &Arc<Engine>, sql: &str, may_write: bool) -> String {
    let rows = rows(engine, sql, may_write).await;
    pretty_format_batches(&[rows]).unwrap().to_string()
}

/// An engine whose clock stands still.
fn engine(store: Arc<Store>) -> Arc<Engine> {
    Arc::new(Engine::new(store, Limits::default(), || NOW_MS).unwrap())
}

#[tokio::test]
async fn figures_appear_for_readers_at_their_release() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let clock = || TIME_MS.load(Ordering::Relaxed);
    let engine = Arc::new(Engine::new(store, Limits::default(), clock).unwrap());
    let questions = [
        "SELECT value FROM output",
        "SELECT value FROM output WHERE source_id = 'HELD' OR period_start < DATE '2021-01-01'",
        "SELECT * FROM all_vintages('output')",
        "SELECT * FROM as_of('output', DATE '2026-11-01')",
        "SELECT * FROM provenance('output')",
        "SELECT source_id FROM sources",
        "SELECT o.value FROM output o JOIN sources s USING (source_id)",
    ];
    for question in questions {
        assert_eq!(count(&engine, question, false).await, 1, "{question}");
        assert_eq!(
            count(&engine, question, true).await,
            2,
            "{question}, who may write"
        );
    }
    let counted = "SELECT 1 FROM (SELECT count(*) AS n FROM all_vintages('output')) WHERE n = 1";
    assert_eq!(
        count(&engine, counted, false).await,
        1,
        "statistics tell nothing"
    );
    let plan = "EXPLAIN FORMAT INDENT SELECT value FROM output";
    let plan = text(&engine, plan, false).await;
    assert!(
        plan.contains("released") && !plan.contains("HELD"),
        "{plan}"
    );
    TIME_MS.fetch_add(3600 * 1000, Ordering::Relaxed);
    for question in questions {
        assert_eq!(
            count(&engine, question, false).await,
            2,
            "{question}, released"
        );
    }
    let unknown = QueryRequest {
        sql: "SELECT * FROM outputs".to_owned(),
        ..QueryRequest::default()
    };
    assert_eq!(
        engine.query(unknown).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn what_tells_of_hidden_rows_is_hidden_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let table = store.table("output").await.unwrap();
    // Two rows in one file, of which one is held; then that one is corrected, and the file written anew.
    let held = |value: &str| output_row("a", 2022, 2, value).replace(",S,1", ",HELD,1");
    let mixed = output_csv(&[output_row("a", 2022, 1, "3"), held("4")]);
    load(&table, &mixed).await.unwrap();
    let options = LoadOptions {
        supersede: Some("a slip of the pen".to_owned()),
        ..LoadOptions::default()
    };
    let corrected = LoadRequest {
        options,
        ..csv_request(&output_csv(&[held("5")]))
    };
    assert_eq!(table.load(corrected).await.unwrap().superseded, 1);
    let rates = declaration("exchange_rates");
    store.create_table(&rates, NOW_MS).await.unwrap();

    let engine = engine(store);
    let output = "table_name = 'output'";
    let sources = "table_name = 'sources'";
    for (question, reader, writer) in [
        // The load of the figure of 2020, and the one of two rows; the other two brought what is hidden.
        (
            format!("SELECT * FROM system.commits WHERE {output} AND operation = 'WRITE'"),
            2,
            4,
        ),
        (
            format!("SELECT * FROM system.commits WHERE {output} AND version IN (2, 4)"),
            0,
            2,
        ),
        (
            format!("SELECT * FROM system.commits WHERE {output} AND reason IS NOT NULL"),
            0,
            1,
        ),
        (
            format!("SELECT * FROM system.commits WHERE {output} AND rows_added > 0"),
            1,
            4,
        ),
        (
            format!("SELECT * FROM system.commits WHERE {sources} AND rows_added > 0"),
            0,
            1,
        ),
        (format!("SELECT * FROM system.files WHERE {output}"), 1, 4),
        (format!("SELECT * FROM system.files WHERE {sources}"), 0, 1),
        (
            "SELECT * FROM system.tables WHERE rows IS NULL AND bytes IS NULL".to_owned(),
            2,
            0,
        ),
        (
            "SELECT * FROM system.tables WHERE table_name = 'exchange_rates' AND rows = 0"
                .to_owned(),
            1,
            1,
        ),
        // The name that a relation's own commits have in its query.
        (
            "SELECT c.version FROM (SELECT 1 FROM provenance('output') LIMIT 1) p, \"commits('output')\" c WHERE c.operation = 'WRITE'".to_owned(),
            2,
            4,
        ),
        (
            "SELECT * FROM provenance('output') WHERE commit_version IS NOT NULL".to_owned(),
            2,
            5,
        ),
    ] {
        assert_eq!(count(&engine, &question, false).await, reader, "{question}");
        assert_eq!(
            count(&engine, &question, true).await,
            writer,
            "{question}, who may write"
        );
    }
}

#[tokio::test]
async fn plans_and_errors_tell_nothing_of_hidden_rows() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(store(folder.path()).await);
    let all = "FROM all_vintages('output')";
    for verb in [
        "EXPLAIN FORMAT INDENT",
        "EXPLAIN VERBOSE",
        "EXPLAIN ANALYZE",
        "EXPLAIN ANALYZE VERBOSE",
    ] {
        // The hidden value is 2.
        let above = format!("{verb} SELECT 1 {all} WHERE value > 2.5");
        let above = text(&engine, &above, false).await;
        assert!(above.contains("released"), "{verb}: {above}");
        for telling in ["parquet", "HELD", "DataSourceExec"] {
            assert!(!above.contains(telling), "{verb}: {above}");
        }
    }
    let explained =
        |value: &str| format!("EXPLAIN FORMAT INDENT SELECT 1 {all} WHERE value > {value}");
    let below = text(&engine, &explained("1.5"), false).await;
    let above = text(&engine, &explained("2.5"), false).await;
    assert_eq!(below.replace("1.5", "2.5"), above);
    let seen = text(&engine, &explained("1.5"), true).await;
    assert!(seen.contains("parquet"), "{seen}");
    // No row that is hidden is divided by.
    let divided = format!("SELECT mine {all} WHERE 1 / (CAST(value AS BIGINT) - 2) < 0");
    assert_eq!(count(&engine, &divided, false).await, 1);
}

#[tokio::test]
async fn a_reader_is_told_of_no_hidden_rows_that_were_read() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(store(folder.path()).await);
    for (may_write, expected) in [(false, (1, 0, 1)), (true, (2, 2, 2))] {
        let request = QueryRequest {
            sql: "SELECT value FROM all_vintages('output')".to_owned(),
            may_write,
            ..QueryRequest::default()
        };
        let mut result = engine.query(request).await.unwrap();
        result.rest().await.unwrap();
        let read = result.reading().unwrap().read();
        let told = (read.rows, read.files, read.files_total);
        assert_eq!(told, expected, "may write: {may_write}");
        assert_eq!(read.rows_to_read, None);
    }
}
