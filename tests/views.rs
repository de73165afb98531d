//! Stored views: a name for a query, over gRPC and in SQL.

use didymium_api::v1::catalog_service_client::CatalogServiceClient;
use didymium_api::v1::{
    CreateViewRequest, Date, DropViewRequest, GetTableRequest, ListTablesRequest, QueryRequest,
};
use didymium_engine::Limits;
use didymium_store::{Declaration, Error, Store};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::figures::{OUTPUT, shipped};
use crate::server::TestServer;

/// A server of the shipped figures and a client for its views.
async fn served() -> (tempfile::TempDir, TestServer, CatalogServiceClient<Channel>) {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    let catalog = CatalogServiceClient::connect(server.address.clone())
        .await
        .unwrap();
    (folder, server, catalog)
}

fn view(name: &str, sql: &str) -> CreateViewRequest {
    CreateViewRequest {
        name: name.to_owned(),
        sql: sql.to_owned(),
        description: "a view of a test".to_owned(),
        replace: false,
        author: "test".to_owned(),
    }
}

async fn refused(catalog: &mut CatalogServiceClient<Channel>, view: CreateViewRequest) -> Status {
    catalog.create_view(view).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_shows_what_its_query_shows() {
    let (_folder, server, mut catalog) = served().await;
    let sql = "SELECT area, value, published_on FROM reserves WHERE category = 'reserves'";
    let made = catalog.create_view(view("held", sql)).await.unwrap();
    let made = made.into_inner();
    assert_eq!((made.kind.as_str(), made.sql.as_str()), ("view", sql));
    let columns: Vec<_> = made.columns.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(columns, ["area", "value", "published_on"]);

    let by_view = "SELECT * FROM held ORDER BY area, value";
    let by_query = format!("SELECT * FROM ({sql}) ORDER BY area, value");
    let day = Date {
        year: 2023,
        month: 6,
        day: 1,
    };
    for published_as_of in [None, Some(day)] {
        let request = |sql: &str| QueryRequest {
            sql: sql.to_owned(),
            published_as_of,
            ..QueryRequest::default()
        };
        let theirs = server.ask(request(by_view)).await.unwrap();
        let ours = server.ask(request(&by_query)).await.unwrap();
        assert!(!ours.batches.is_empty());
        assert_eq!(theirs.batches, ours.batches, "at {published_as_of:?}");
        assert_eq!(
            theirs.summary.table_versions, ours.summary.table_versions,
            "the tables behind the view are told"
        );
    }
    // A name that the statement defines is the statement's.
    let defined = "WITH held AS (SELECT 1 AS one) SELECT * FROM held";
    assert_eq!(server.query(defined).await.unwrap().summary.rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_listed_beside_tables() {
    let (_folder, server, mut catalog) = served().await;
    let sql = "SELECT series, value FROM quotas";
    catalog.create_view(view("issued", sql)).await.unwrap();
    let listed = catalog.list_tables(ListTablesRequest {}).await.unwrap();
    let listed = listed.into_inner().tables;
    let kind = |name: &str| {
        let table = listed.iter().find(|table| table.name == name);
        table.map(|table| table.kind.clone()).unwrap_or_default()
    };
    assert_eq!(
        (kind("issued"), kind("quotas")),
        ("view".into(), "series".into())
    );
    for (sql, rows) in [
        (
            "SELECT * FROM system.tables WHERE table_name = 'issued' AND kind = 'view'",
            1,
        ),
        (
            "SELECT * FROM system.columns WHERE table_name = 'issued'",
            2,
        ),
        (
            "SELECT * FROM information_schema.views WHERE table_name = 'issued' AND definition LIKE 'SELECT%'",
            1,
        ),
    ] {
        assert_eq!(server.query(sql).await.unwrap().summary.rows, rows, "{sql}");
    }
    let request = |name: &str| GetTableRequest {
        name: name.to_owned(),
    };
    let issued = catalog.get_table(request("issued")).await.unwrap();
    assert_eq!(issued.into_inner().sql, sql);

    let name = "issued".to_owned();
    catalog.drop_view(DropViewRequest { name }).await.unwrap();
    let gone = catalog.get_table(request("issued")).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let name = "isued".to_owned();
    let gone = catalog.drop_view(DropViewRequest { name }).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_shows_what_only_the_server_knows() {
    let (_folder, server, mut catalog) = served().await;
    let sql = "SELECT query_id, sql FROM system.queries";
    catalog.create_view(view("busy", sql)).await.unwrap();
    let sql = "SELECT sql FROM busy";
    catalog.create_view(view("at_work", sql)).await.unwrap();
    for sql in [
        "SELECT query_id FROM busy",
        "SELECT sql FROM At_Work",
        "SELECT w.sql FROM main.at_work w LIMIT 10",
    ] {
        let answer = server.query(sql).await.unwrap();
        assert_eq!(answer.summary.rows, 1, "the statement itself: {sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_view_is_refused() {
    let (folder, server, mut catalog) = served().await;
    catalog
        .create_view(view("a", "SELECT 1 AS x"))
        .await
        .unwrap();
    for (name, sql, code, message) in [
        (
            "a",
            "SELECT 2",
            Code::AlreadyExists,
            "there is a view a already",
        ),
        (
            "quotas",
            "SELECT 2",
            Code::AlreadyExists,
            "there is a table quotas",
        ),
        (
            "quotas_by_year",
            "SELECT 2",
            Code::AlreadyExists,
            "a relation",
        ),
        ("Wrong", "SELECT 2", Code::InvalidArgument, "lower-case"),
        ("../b", "SELECT 2", Code::InvalidArgument, "lower-case"),
        (
            "b",
            "SELECT nothing FROM quotas",
            Code::InvalidArgument,
            "nothing",
        ),
        ("b", "SELECT * FROM nowhere", Code::NotFound, "nowhere"),
        ("b", "SELECT $1", Code::InvalidArgument, "$1"),
        ("b", "DELETE FROM quotas", Code::PermissionDenied, "DELETE"),
        ("b", "EXPLAIN SELECT 1", Code::InvalidArgument, "EXPLAIN"),
        (
            "b",
            "SELECT 1; SELECT 2",
            Code::InvalidArgument,
            "one statement",
        ),
    ] {
        let status = refused(&mut catalog, view(name, sql)).await;
        assert_eq!(status.code(), code, "{name}: {sql}: {status}");
        assert!(status.message().contains(message), "{status}");
    }
    // Nor is a table made in a view's place.
    let store = Store::open(folder.path()).await.unwrap();
    let declaration = OUTPUT.replace("name = \"output\"", "name = \"a\"");
    let declaration = Declaration::parse(&declaration).unwrap();
    let made = store.create_table(&declaration, 0).await;
    assert!(matches!(made, Err(Error::AlreadyExists(_))));
    assert_eq!(
        server.query("SELECT * FROM a").await.unwrap().summary.rows,
        1
    );
}

/// Short texts that stand for a plan without end, or for one that is too large.
#[tokio::test(flavor = "multi_thread")]
async fn views_that_read_views_end() {
    let (_folder, server, mut catalog) = served().await;
    catalog
        .create_view(view("a", "SELECT 1 AS x"))
        .await
        .unwrap();
    catalog
        .create_view(view("b", "SELECT x FROM a"))
        .await
        .unwrap();
    let circle = CreateViewRequest {
        replace: true,
        ..view("a", "SELECT x FROM b")
    };
    let status = refused(&mut catalog, circle).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("reads itself"), "{status}");

    let mut before = "a".to_owned();
    let mut stopped = None;
    for level in 0..20 {
        let name = format!("level{level}");
        let sql = format!("SELECT l.x FROM {before} l, {before} m, {before} n, {before} o");
        match catalog.create_view(view(&name, &sql)).await {
            Ok(_) => before = name,
            Err(status) => {
                stopped = Some(status);
                break;
            }
        }
    }
    let status = stopped.expect("4 to the power of 20 tables");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("1024 tables"), "{status}");
    let sql = format!("SELECT count(*) FROM {before} a, {before} b, {before} c");
    let status = server.query(&sql).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");

    let mut before = "b".to_owned();
    for level in 0..6 {
        let name = format!("deep{level}");
        let sql = format!("SELECT x FROM {before}");
        catalog.create_view(view(&name, &sql)).await.unwrap();
        before = name;
    }
    let status = refused(
        &mut catalog,
        view("too_deep", &format!("SELECT x FROM {before}")),
    )
    .await;
    assert!(status.message().contains("8 views"), "{status}");
    let sql = format!("SELECT x FROM {before}");
    assert_eq!(server.query(&sql).await.unwrap().summary.rows, 1);
}
