//! Flight SQL by arrow-flight's own client: the calls of JDBC and of Grafana, tickets and handles.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, CommandStatementQuery,
    ProstMessageExt as _,
};
use arrow_flight::{FlightDescriptor, FlightInfo, Ticket};
use didymium_engine::Limits;
use didymium_store::Store;
use futures::TryStreamExt as _;
use prost::Message as _;
use tonic::Code;
use tonic::transport::Channel;

use crate::figures::{NOW_MS, load, output_csv, output_row, output_table, shipped};
use crate::server::TestServer;

type Client = FlightSqlServiceClient<Channel>;

async fn channel(server: &TestServer) -> Channel {
    let channel = Channel::from_shared(server.address.clone()).unwrap();
    channel.connect().await.unwrap()
}

async fn connect(server: &TestServer) -> Client {
    FlightSqlServiceClient::new(channel(server).await)
}

async fn served(folder: &Path) -> (TestServer, Client) {
    let server = TestServer::start(shipped(folder).await, Limits::default()).await;
    let client = connect(&server).await;
    (server, client)
}

/// The rows that a flight promises, which have the columns that it promises.
async fn fetch(client: &mut Client, info: FlightInfo) -> Vec<RecordBatch> {
    let promised = info.clone().try_decode_schema().unwrap();
    let [endpoint] = info.endpoint.as_slice() else {
        panic!("one endpoint, not {}", info.endpoint.len());
    };
    assert!(endpoint.location.is_empty(), "it is fetched where it is");
    let ticket = endpoint.ticket.clone().unwrap();
    let mut rows = client.do_get(ticket).await.unwrap();
    let batches: Vec<RecordBatch> = (&mut rows).try_collect().await.unwrap();
    assert_eq!(**rows.schema().unwrap(), promised);
    batches
}

fn texts(batches: &[RecordBatch], column: &str) -> Vec<String> {
    let texts = batches.iter().flat_map(|batch| {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>();
        column.iter().map(|text| text.unwrap().to_owned())
    });
    texts.collect()
}

/// What the JDBC driver calls before it runs a statement, in its order.
#[tokio::test]
async fn the_calls_of_jdbc() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = served(folder.path()).await;
    client.handshake("anybody", "none").await.unwrap();
    let info = client.get_sql_info(Vec::new()).await.unwrap();
    let known: usize = fetch(&mut client, info)
        .await
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert!(known > 90, "every id of SqlInfo, not {known}");
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(
        texts(&fetch(&mut client, info).await, "catalog_name"),
        ["didymium"]
    );
    let schemas = CommandGetDbSchemas {
        catalog: None,
        db_schema_filter_pattern: None,
    };
    let info = client.get_db_schemas(schemas).await.unwrap();
    let schemas = texts(&fetch(&mut client, info).await, "db_schema_name");
    assert_eq!(schemas, ["main", "system"]);
    let tables = CommandGetTables {
        table_name_filter_pattern: Some("quota%".to_owned()),
        include_schema: true,
        ..CommandGetTables::default()
    };
    let info = client.get_tables(tables).await.unwrap();
    assert_eq!(
        texts(&fetch(&mut client, info).await, "table_name"),
        ["quotas"]
    );
    let info = client.get_table_types().await.unwrap();
    assert_eq!(
        texts(&fetch(&mut client, info).await, "table_type"),
        ["TABLE", "VIEW"]
    );
    let key = CommandGetPrimaryKeys {
        catalog: None,
        db_schema: None,
        table: "production".to_owned(),
    };
    let info = client.get_primary_keys(key).await.unwrap();
    let columns = texts(&fetch(&mut client, info).await, "column_name");
    assert_eq!(columns.last().unwrap(), "period_end");
    assert!(columns.contains(&"producer".to_owned()), "{columns:?}");
    let exported = CommandGetExportedKeys {
        table: "quotas".to_owned(),
        ..CommandGetExportedKeys::default()
    };
    let imported = CommandGetImportedKeys {
        table: "quotas".to_owned(),
        ..CommandGetImportedKeys::default()
    };
    let info = client.get_exported_keys(exported).await.unwrap();
    assert!(fetch(&mut client, info).await.is_empty());
    let info = client.get_imported_keys(imported).await.unwrap();
    assert!(fetch(&mut client, info).await.is_empty());
    let cross = CommandGetCrossReference::default();
    let info = client.get_cross_reference(cross).await.unwrap();
    assert!(fetch(&mut client, info).await.is_empty());
    let types = CommandGetXdbcTypeInfo { data_type: None };
    let info = client.get_xdbc_type_info(types).await.unwrap();
    assert!(!fetch(&mut client, info).await.is_empty());

    let mut prepared = client
        .prepare(
            "SELECT count(*) AS n FROM quotas WHERE stage = ?".to_owned(),
            None,
        )
        .await
        .unwrap();
    assert_eq!(prepared.dataset_schema().unwrap().field(0).name(), "n");
    let parameters = prepared.parameter_schema().unwrap();
    assert_eq!(parameters.field(0).data_type(), &DataType::Utf8);
    let stage = Schema::new(vec![Field::new("1", DataType::Utf8, false)]);
    let mining = StringArray::from(vec!["mining"]);
    let bound = RecordBatch::try_new(Arc::new(stage), vec![Arc::new(mining)]).unwrap();
    prepared.set_parameters(bound).unwrap();
    let info = prepared.execute().await.unwrap();
    let rows = fetch(&mut client, info).await;
    let plain = server
        .query("SELECT count(*) AS n FROM quotas WHERE stage = 'mining'")
        .await
        .unwrap();
    let number =
        |batches: &[RecordBatch]| batches[0].column(0).as_primitive::<Int64Type>().value(0);
    assert_eq!(number(&rows), number(&plain.batches));
    prepared.close().await.unwrap();
    server.stop().await;
}

/// What the Grafana plugin calls: statements without preparing them.
#[tokio::test]
async fn the_calls_of_grafana() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = served(folder.path()).await;
    let info = client.execute("select 1".to_owned(), None).await.unwrap();
    assert_eq!(fetch(&mut client, info).await[0].num_rows(), 1);
    let tables = CommandGetTables {
        table_types: vec!["BASE TABLE".to_owned(), "table".to_owned()],
        ..CommandGetTables::default()
    };
    let info = client.get_tables(tables).await.unwrap();
    let names = texts(&fetch(&mut client, info).await, "table_name");
    assert!(names.contains(&"exports".to_owned()), "{names:?}");
    let binned = "SELECT date_bin(interval '86400 second', cast(period_start as timestamp), timestamp '1970-01-01T00:00:00Z') AS t, datepart('month', period_start) AS m, sum(value) AS v FROM exports WHERE cast(period_start as timestamp) >= cast('2024-01-01T00:00:00Z' as timestamp) GROUP BY 1, 2 ORDER BY 1";
    let info = client.execute(binned.to_owned(), None).await.unwrap();
    assert!(!fetch(&mut client, info).await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn schema_and_poll_tell_what_the_flight_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = served(folder.path()).await;
    let mut client = FlightServiceClient::new(channel(&server).await);
    let command = CommandStatementQuery {
        query: "SELECT max(value) AS v, load_id FROM all_vintages('quotas') GROUP BY load_id"
            .to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client
        .get_flight_info(descriptor.clone())
        .await
        .unwrap()
        .into_inner();
    let polled = client
        .poll_flight_info(descriptor.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(polled.info.unwrap().schema, info.schema);
    assert!(polled.flight_descriptor.is_none(), "it is complete");
    let schema = client.get_schema(descriptor).await.unwrap().into_inner();
    assert_eq!(schema.schema, info.schema);
    let schema = info.try_decode_schema().unwrap();
    assert_eq!(
        schema.field(1).data_type(),
        &DataType::Utf8,
        "no dictionaries"
    );
    server.stop().await;
}

/// A handle reads the newest rows at each run, a ticket those that it was planned on.
#[tokio::test]
async fn a_ticket_keeps_its_versions_and_a_handle_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    let table = output_table(&store).await;
    load(&table, &output_csv(&[output_row("a", 2020, 1, "1")]))
        .await
        .unwrap();
    let server = TestServer::start(store, Limits::default()).await;
    let mut client = connect(&server).await;
    let count = "SELECT count(*) AS n FROM output".to_owned();
    let mut prepared = client.prepare(count, None).await.unwrap();
    let before = prepared.execute().await.unwrap();
    load(&table, &output_csv(&[output_row("a", 2021, 1, "2")]))
        .await
        .unwrap();
    let after = prepared.execute().await.unwrap();
    let number =
        |batches: Vec<RecordBatch>| batches[0].column(0).as_primitive::<Int64Type>().value(0);
    assert_eq!(number(fetch(&mut client, before.clone()).await), 1);
    assert_eq!(number(fetch(&mut client, after).await), 2);
    assert_eq!(
        number(fetch(&mut client, before).await),
        1,
        "it may be redeemed again"
    );
    server.stop().await;
}

static TIME_MS: AtomicI64 = AtomicI64::new(NOW_MS);

#[tokio::test]
async fn tickets_expire_and_are_not_forged() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    let clock = || TIME_MS.load(Ordering::Relaxed);
    let server = TestServer::start_at(store, Limits::default(), clock).await;
    let mut client = FlightServiceClient::new(channel(&server).await);
    let command = CommandStatementQuery {
        query: "SELECT 1".to_owned(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = client
        .get_flight_info(descriptor)
        .await
        .unwrap()
        .into_inner();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    assert!(client.do_get(ticket.clone()).await.is_ok());
    // The last byte is the signature's.
    let mut forged = ticket.ticket.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let error = client.do_get(Ticket::new(forged)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    TIME_MS.fetch_add(15 * 60 * 1000, Ordering::Relaxed);
    let error = client.do_get(ticket).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    server.stop().await;
}

#[tokio::test]
async fn rows_come_in_and_what_is_refused_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::empty(folder.path(), Limits::default()).await;
    let mut client = connect(&server).await;
    assert_eq!(
        client
            .execute_update("CREATE VIEW one AS SELECT 1 AS x".to_owned(), None)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        server
            .query("SELECT x FROM one")
            .await
            .unwrap()
            .summary
            .rows,
        1
    );
    let error = client
        .execute_update("SELECT 1".to_owned(), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("as a query"), "{error}");
    let error = client
        .execute("DELETE FROM one".to_owned(), None)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("DELETE is not allowed"),
        "{error}"
    );
    let error = client.begin_transaction().await.unwrap_err();
    assert!(error.to_string().contains("no transactions"), "{error}");
    // Two rows of parameters are two runs.
    let mut prepared = client
        .prepare("SELECT $1 + 1".to_owned(), None)
        .await
        .unwrap();
    let schema = Schema::new(vec![Field::new("1", DataType::Int64, false)]);
    let two = Int64Array::from(vec![1, 2]);
    let two = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(two)]).unwrap();
    prepared.set_parameters(two).unwrap();
    let error = prepared.execute().await.unwrap_err();
    assert!(
        error.to_string().contains("one row of parameters"),
        "{error}"
    );
    server.stop().await;
}
