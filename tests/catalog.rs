//! What a server says that it holds, and what was known and committed when.

use std::sync::Arc;

use didymium_api::v1::catalog_service_client::CatalogServiceClient;
use didymium_api::v1::{
    Date, GetTableRequest, ListFunctionsRequest, ListTablesRequest, QueryRequest,
};
use didymium_engine::Limits;
use didymium_store::Store;
use tonic::Code;

use crate::figures::{
    NOW_MS, csv_request, load, output_csv, output_row, output_table, root, shipped, tables,
};
use crate::server::TestServer;
use crate::sql::slt_files;

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_functions_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    let mut catalog = CatalogServiceClient::connect(server.address.clone())
        .await
        .unwrap();
    let listed = catalog
        .list_tables(ListTablesRequest {})
        .await
        .unwrap()
        .into_inner()
        .tables;
    let names: Vec<_> = listed.iter().map(|table| table.name.clone()).collect();
    assert_eq!(names, tables());
    let request = GetTableRequest {
        name: "quotas".to_owned(),
    };
    let quotas = catalog.get_table(request).await.unwrap().into_inner();
    assert_eq!((quotas.kind.as_str(), quotas.rows), ("series", Some(428)));
    assert!(
        quotas
            .columns
            .iter()
            .all(|column| !column.description.is_empty())
    );
    assert!(
        quotas
            .measures
            .iter()
            .any(|m| (m.unit.as_str(), m.basis.as_str()) == ("t", "REO"))
    );
    let unknown = GetTableRequest {
        name: "quota".to_owned(),
    };
    let status = catalog.get_table(unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("quotas"), "{status}");

    let functions = catalog
        .list_functions(ListFunctionsRequest {})
        .await
        .unwrap()
        .into_inner();
    let relations = functions
        .functions
        .iter()
        .filter(|function| function.kind == "relation");
    let mut documented: Vec<_> = relations.map(|function| function.name.clone()).collect();
    documented.sort();
    let mut tested: Vec<_> = slt_files(&root().join("tests/sql/relations"))
        .iter()
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    tested.sort();
    assert_eq!(
        documented, tested,
        "every relation has documentation and an .slt"
    );
    // An example that does not run is no example.
    for function in functions.functions {
        let answer = server.query(&function.example).await;
        assert!(answer.is_ok(), "{}: {answer:?}", function.name);
    }
}

/// What the table `output` gives for a day's knowledge and a time's store.
async fn sum(
    server: &TestServer,
    day: Option<Date>,
    seconds: Option<i64>,
) -> Result<String, tonic::Status> {
    let request = QueryRequest {
        sql: "SELECT sum(value) AS sum FROM output".to_owned(),
        published_as_of: day,
        committed_as_of: seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        ..QueryRequest::default()
    };
    let answer = server.ask(request).await?;
    Ok(arrow::util::display::array_value_to_string(answer.batches[0].column(0), 0).unwrap())
}

#[tokio::test]
async fn both_clocks_can_be_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    let table = output_table(&store).await;
    load(&table, &output_csv(&[output_row("a", 2024, 1, "1")]))
        .await
        .unwrap();
    let revised = output_row("a", 2024, 1, "5").replace("2026-01-01", "2026-06-01");
    let mut later = csv_request(&output_csv(&[revised]));
    later.now_ms = NOW_MS + 3_600_000;
    table.load(later).await.unwrap();
    let now = NOW_MS / 1000;
    let server = TestServer::start_at(store, Limits::default(), || NOW_MS + 7_200_000).await;
    let day = |month| {
        Some(Date {
            year: 2026,
            month,
            day: 15,
        })
    };
    assert_eq!(sum(&server, None, None).await.unwrap(), "5.0");
    assert_eq!(sum(&server, day(3), None).await.unwrap(), "1.0");
    assert_eq!(sum(&server, day(7), None).await.unwrap(), "5.0");
    assert_eq!(sum(&server, day(7), Some(now + 60)).await.unwrap(), "1.0");
    assert_eq!(sum(&server, None, Some(now + 3_700)).await.unwrap(), "5.0");
    let future = Some(Date {
        year: 2030,
        month: 1,
        day: 1,
    });
    assert_eq!(
        sum(&server, future, None).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let status = sum(&server, None, Some(now + 86_400)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let status = sum(&server, None, Some(now - 60)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
}
