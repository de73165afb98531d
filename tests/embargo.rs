//! Figures that are not yet for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::util::pretty::pretty_format_batches;
use didymium_engine::{Engine, ErrorKind, Limits, QueryRequest};
use didymium_store::Store;

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

async fn count(engine: &Arc<Engine>, sql: &str, may_write: bool) -> usize {
    let request = QueryRequest {
        sql: sql.to_owned(),
        may_write,
        ..QueryRequest::default()
    };
    let mut result = engine.query(request).await.unwrap();
    let mut rows = 0;
    while let Some(batch) = result.next().await {
        rows += batch.unwrap().num_rows();
    }
    rows
}

/// A statement's plan, as a reader sees it.
async fn plan(engine: &Arc<Engine>, sql: &str) -> String {
    let request = QueryRequest {
        sql: format!("EXPLAIN FORMAT INDENT {sql}"),
        ..QueryRequest::default()
    };
    let mut result = engine.query(request).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = result.next().await {
        batches.push(batch.unwrap());
    }
    pretty_format_batches(&batches).unwrap().to_string()
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
    let plan = plan(&engine, "SELECT value FROM output").await;
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
