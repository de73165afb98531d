//! What `QueryService` tells beside a query's rows: warnings, progress, plans, who runs what.

use std::sync::Arc;
use std::time::Duration;

use didymium_api::v1::query_response::Payload;
use didymium_api::v1::value::Kind;
use didymium_api::v1::{
    CancelRequest, ExplainRequest, ListQueriesRequest, Phase, QueryRequest, Value,
};
use didymium_engine::Limits;
use didymium_server::Settings;
use didymium_store::Store;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::figures::{NOW_MS, shipped};
use crate::server::TestServer;

#[tokio::test]
async fn a_statement_that_cuts_off_its_bases_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    let growth = |clause: &str| {
        format!(
            "SELECT series, period_start, yoy(value) OVER (PARTITION BY series ORDER BY period_start, period_end) AS g FROM exports {clause}"
        )
    };
    let cut = server
        .query(&growth("WHERE period_start >= DATE '2020-01-01'"))
        .await
        .unwrap();
    assert_eq!(cut.warnings, ["BASE_PERIODS_REMOVED"]);
    for sound in [
        "QUALIFY period_start >= DATE '2020-01-01'",
        "WHERE period_start <= DATE '2020-01-01'",
        "WHERE flow = 'export'",
    ] {
        let answer = server.query(&growth(sound)).await.unwrap();
        assert!(answer.warnings.is_empty(), "{sound}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_dry_run_tells_the_columns_and_reads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    let dry = |sql: &str| QueryRequest {
        sql: sql.to_owned(),
        dry_run: true,
        ..QueryRequest::default()
    };
    let planned = server
        .ask(dry("SELECT holder, value FROM quotas"))
        .await
        .unwrap();
    let names = planned.header.columns.iter().map(|it| it.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["holder", "value"]);
    assert!(planned.batches.is_empty());
    assert_eq!(planned.summary.rows, 0);
    assert!(planned.summary.table_versions.contains_key("quotas"));
    let wrong = server
        .ask(dry("SELECT nobody FROM quotas"))
        .await
        .unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test]
async fn the_summary_tells_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    let answer = server
        .query("SELECT count(*) FROM all_vintages('exports') WHERE value > 0")
        .await
        .unwrap();
    assert_eq!(answer.summary.files_read, 1);
    assert_eq!(answer.summary.files_total, 1);
    assert!(answer.summary.rows_read > 0 && answer.summary.bytes_read > 0);
    server.stop().await;
}

#[tokio::test]
async fn progress_comes_while_a_query_runs_and_it_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::empty(folder.path(), Limits::default()).await;
    let interval = prost_types::Duration {
        seconds: 0,
        nanos: 100_000_000,
    };
    let request = QueryRequest {
        sql: "SELECT count(*) FROM generate_series(1, 1000000000000)".to_owned(),
        query_id: "long".to_owned(),
        progress_interval: Some(interval),
        ..QueryRequest::default()
    };
    let mut client = server.client.clone();
    let mut replies = client.query(request.clone()).await.unwrap().into_inner();
    let progress = loop {
        match replies.message().await.unwrap().unwrap().payload.unwrap() {
            Payload::Progress(progress) if progress.phase() == Phase::Running => break progress,
            _ => {}
        }
    };
    assert!(progress.elapsed.is_some());
    let listed = client
        .list_queries(ListQueriesRequest {})
        .await
        .unwrap()
        .into_inner();
    let listed: Vec<_> = listed
        .queries
        .iter()
        .map(|it| it.query_id.as_str())
        .collect();
    assert_eq!(listed, ["long"]);
    let seen = server
        .query("SELECT query_id FROM system.queries WHERE query_id = 'long' AND phase = 'running'")
        .await
        .unwrap();
    assert_eq!(seen.summary.rows, 1);
    let cancel = CancelRequest {
        query_id: "long".to_owned(),
    };
    client.cancel(cancel).await.unwrap();
    let ended = loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended well"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Cancelled);
    let hasty = QueryRequest {
        progress_interval: Some(prost_types::Duration {
            seconds: 0,
            nanos: 1,
        }),
        ..request
    };
    let refused = client.query(hasty).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test]
async fn a_plan_is_explained_and_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    let explain = |analyze| ExplainRequest {
        query: Some(QueryRequest {
            sql: "SELECT count(*) AS n FROM quotas WHERE stage = $1".to_owned(),
            positional_parameters: vec![Value {
                kind: Some(Kind::Text("mining".to_owned())),
            }],
            ..QueryRequest::default()
        }),
        analyze,
    };
    let mut client = server.client.clone();
    let plan = client.explain(explain(false)).await.unwrap().into_inner();
    assert!(plan.plan.contains("DataSourceExec"), "{}", plan.plan);
    assert_eq!(plan.columns[0].name, "n");
    let run = client.explain(explain(true)).await.unwrap().into_inner();
    assert!(run.plan.contains("output_rows"), "{}", run.plan);
    server.stop().await;
}

/// A query of another caller's is not delayed by those who wait, and one too many is told when to come
/// again.
#[tokio::test]
async fn one_query_too_many_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        running: 1,
        waiting: 1,
        ..Settings::default()
    };
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    let server = TestServer::start_with(store, Limits::default(), || NOW_MS, settings).await;
    let long = |id: &str| QueryRequest {
        sql: "SELECT count(*) FROM generate_series(1, 1000000000000)".to_owned(),
        query_id: id.to_owned(),
        progress_interval: Some(prost_types::Duration {
            seconds: 0,
            nanos: 100_000_000,
        }),
        ..QueryRequest::default()
    };
    let mut client = server.client.clone();
    let mut waits = Vec::new();
    for (id, phase) in [("first", Phase::Running), ("second", Phase::Queued)] {
        let mut replies = client.query(long(id)).await.unwrap().into_inner();
        loop {
            let reply = replies.message().await.unwrap().unwrap();
            if let Payload::Progress(progress) = reply.payload.unwrap() {
                assert_eq!(progress.phase(), phase, "{id}");
                break;
            }
        }
        waits.push(replies);
    }
    let away = server.query("SELECT 1").await.unwrap_err();
    assert_eq!(away.code(), Code::ResourceExhausted, "{away}");
    assert!(away.get_details_retry_info().is_some());
    drop(waits);
    // Places come back as soon as the server hears that the clients have gone.
    let again = async {
        while server.query("SELECT 1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again)
        .await
        .unwrap();
    server.stop().await;
}
