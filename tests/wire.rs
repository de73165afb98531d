//! What a gRPC client may rely on.

use std::time::Duration;

use arrow::datatypes::{DataType, TimeUnit};
use didymium_api::v1::value::Kind;
use didymium_api::v1::{CancelRequest, Date, QueryRequest, Value};
use didymium_engine::Limits;
use tonic::Code;
use tonic_types::StatusExt;

use crate::server::TestServer;

async fn server(limits: Limits) -> (tempfile::TempDir, TestServer) {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::empty(folder.path(), limits).await;
    (folder, server)
}

#[tokio::test]
async fn an_empty_result_has_its_schema() {
    let (_folder, server) = server(Limits::default()).await;
    let answer = server
        .query("SELECT 1 AS a, 'x' AS b WHERE false")
        .await
        .unwrap();
    assert_eq!(answer.summary.rows, 0);
    let names: Vec<_> = answer
        .header
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test]
async fn results_come_in_plain_types() {
    let (_folder, server) = server(Limits::default()).await;
    let answer = server
        .query(
            "SELECT arrow_cast('x', 'Utf8View') AS view, arrow_cast('x', 'Dictionary(Int32, Utf8)') AS dictionary, \
             now() AS now, arrow_cast(['x'], 'List(Utf8View)') AS list, 1.5::decimal(5, 2) AS decimal",
        )
        .await
        .unwrap();
    let types: Vec<_> = answer.batches[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    assert_eq!(types[0], DataType::Utf8);
    assert_eq!(types[1], DataType::Utf8);
    assert_eq!(types[2], DataType::Timestamp(TimeUnit::Microsecond, None));
    assert!(matches!(&types[3], DataType::List(item) if *item.data_type() == DataType::Utf8));
    assert_eq!(types[4], DataType::Decimal128(5, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_comes_in_small_messages() {
    let (_folder, server) = server(Limits::default()).await;
    let answer = server
        .query("SELECT value, 'row ' || value AS text FROM generate_series(1, 300000)")
        .await
        .unwrap();
    assert_eq!(answer.summary.rows, 300_000);
    assert!(
        answer.longest_message <= 2 * 1024 * 1024,
        "{}",
        answer.longest_message
    );
    // One row of 3 MB, and a row can't be parted.
    let columns: Vec<String> = (0..12)
        .map(|i| format!("repeat('x', 250000) AS c{i}"))
        .collect();
    let long = server
        .query(&format!("SELECT {}", columns.join(", ")))
        .await
        .unwrap_err();
    assert_eq!(long.code(), Code::OutOfRange, "{long}");
}

#[tokio::test]
async fn errors_have_the_code_that_says_what_to_do() {
    let (_folder, server) = server(Limits::default()).await;
    for (sql, code, word) in [
        ("SELEC 1", Code::InvalidArgument, "syntax"),
        ("SELECT * FROM nowhere", Code::NotFound, "no table nowhere"),
        ("SELECT * FROM elsewhere.t", Code::NotFound, "elsewhere.t"),
        (
            "SELECT valu FROM (VALUES (1)) AS t(value)",
            Code::InvalidArgument,
            "did you mean value?",
        ),
        ("SELECT yoyo(1)", Code::InvalidArgument, "yoyo"),
        ("SELECT 1 / 0", Code::InvalidArgument, "division by zero"),
        ("SELECT 'x'::int", Code::InvalidArgument, "x"),
        (
            "SELECT * FROM t TABLESAMPLE BERNOULLI (1)",
            Code::Unimplemented,
            "TABLESAMPLE",
        ),
        ("DROP TABLE t", Code::PermissionDenied, "DROP"),
        ("SELECT 1; SELECT 2", Code::InvalidArgument, "one statement"),
    ] {
        let status = server.query(sql).await.unwrap_err();
        assert_eq!(status.code(), code, "{sql}: {status}");
        assert!(status.message().contains(word), "{sql}: {status}");
        let details = status.get_error_details();
        let info = details.error_info().expect("every error says its reason");
        assert_eq!(info.domain, "didymium");
        assert!(info.metadata.contains_key("query_id"), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_is_limited_over_the_whole_stream() {
    let second = Duration::from_secs(1);
    let (_folder, server) = server(Limits {
        timeout: second * 2,
        ..Limits::default()
    })
    .await;
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
        "SELECT * FROM generate_series(1, 1000000000000)",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    ] {
        for asked in [Some(second), None] {
            let status = server.query_within(sql, asked).await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded, "{sql}: {status}");
        }
    }
    assert_eq!(server.query("SELECT 1").await.unwrap().summary.rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_limited() {
    let limits = Limits {
        memory_bytes: 16 * 1024 * 1024,
        ..Limits::default()
    };
    let (_folder, server) = server(limits).await;
    let status = server
        .query("SELECT array_agg(value) FROM generate_series(1, 20000000)")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(server.query("SELECT 1").await.unwrap().summary.rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_lets_running_queries_end() {
    let (_folder, server) = server(Limits::default()).await;
    let client = server.client.clone();
    let request = QueryRequest {
        sql: "SELECT value FROM generate_series(1, 3000000)".to_owned(),
        ..QueryRequest::default()
    };
    let mut replies = client.clone().query(request).await.unwrap().into_inner();
    replies.message().await.unwrap();
    let address = server.address.clone();
    let (stopped, summary) = tokio::join!(server.stop(), async {
        let mut last = None;
        while let Some(reply) = replies.message().await.unwrap() {
            last = reply.payload;
        }
        drop((replies, client));
        last
    });
    let () = stopped;
    let summary = summary.expect("the query ended");
    assert!(matches!(
        summary,
        didymium_api::v1::query_response::Payload::Summary(summary) if summary.rows == 3_000_000
    ));
    let refused =
        didymium_api::v1::query_service_client::QueryServiceClient::connect(address).await;
    assert!(refused.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_cancelled_by_its_id() {
    let (_folder, server) = server(Limits::default()).await;
    let mut client = server.client.clone();
    let request = QueryRequest {
        sql: "SELECT * FROM generate_series(1, 1000000000000)".to_owned(),
        query_id: "mine".to_owned(),
        ..QueryRequest::default()
    };
    let mut replies = client.query(request.clone()).await.unwrap().into_inner();
    replies.message().await.unwrap();
    let twice = client.query(request).await.unwrap_err();
    assert_eq!(twice.code(), Code::AlreadyExists, "{twice}");
    let cancel = |id: &str| CancelRequest {
        query_id: id.to_owned(),
    };
    client.cancel(cancel("mine")).await.unwrap();
    let ended = loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(ended.unwrap_err().code(), Code::Cancelled);
    let unknown = client.cancel(cancel("mine")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    let strange = QueryRequest {
        query_id: "a b".to_owned(),
        ..QueryRequest::default()
    };
    assert_eq!(
        client.query(strange).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn small_results_come_as_typed_rows() {
    let (_folder, server) = server(Limits::default()).await;
    let mut client = server.client.clone();
    let named = |name: &str, kind| (name.to_owned(), Value { kind: Some(kind) });
    let request = QueryRequest {
        sql: "SELECT $n + 1, $t, $d, $x::decimal(5, 2), 2.5e0, true, NULL, [1, 2] AS list"
            .to_owned(),
        named_parameters: [
            named("n", Kind::Integer(-2)),
            named("t", Kind::Text("it's; DROP".to_owned())),
            named(
                "d",
                Kind::Date(Date {
                    year: 2024,
                    month: 2,
                    day: 29,
                }),
            ),
            named("x", Kind::Decimal("-1.50".to_owned())),
        ]
        .into(),
        ..QueryRequest::default()
    };
    let response = client.execute(request).await.unwrap().into_inner();
    let row: Vec<Kind> = response.rows[0]
        .values
        .iter()
        .map(|value| value.kind.clone().unwrap())
        .collect();
    assert_eq!(
        row,
        [
            Kind::Integer(-1),
            Kind::Text("it's; DROP".to_owned()),
            Kind::Date(Date {
                year: 2024,
                month: 2,
                day: 29
            }),
            Kind::Decimal("-1.50".to_owned()),
            Kind::Number(2.5),
            Kind::Boolean(true),
            Kind::Null(0),
            Kind::Text("[1, 2]".to_owned()),
        ]
    );
    let many = QueryRequest {
        sql: "SELECT * FROM generate_series(1, 5000)".to_owned(),
        ..QueryRequest::default()
    };
    assert_eq!(
        client.execute(many).await.unwrap_err().code(),
        Code::OutOfRange
    );
}

#[tokio::test]
async fn every_parameter_has_a_value_and_every_value_a_parameter() {
    let (_folder, server) = server(Limits::default()).await;
    let value = |number| Value {
        kind: Some(Kind::Integer(number)),
    };
    let ask = |sql: &str, values: Vec<Value>| {
        let sql = sql.to_owned();
        server.ask(QueryRequest {
            sql,
            positional_parameters: values,
            ..QueryRequest::default()
        })
    };
    assert_eq!(
        ask("SELECT $1 + $2 LIMIT $1", vec![value(1), value(2)])
            .await
            .unwrap()
            .summary
            .rows,
        1
    );
    let marks = ask("SELECT ?, ?", vec![value(1), value(1)]).await.unwrap();
    let names = marks.header.columns.iter().map(|it| it.name.as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["$1", "$2"],
        "two of one value are two"
    );
    for (sql, values, word) in [
        ("SELECT $1 + $2", vec![value(1)], "$2 has no value"),
        ("SELECT $1", vec![value(1), value(2)], "no parameter $2"),
        ("SELECT ?, $1", vec![value(1)], "of one kind"),
        ("SELECT ?, ?", vec![value(1)], "$2 has no value"),
        (
            "SELECT $1",
            vec![Value { kind: None }],
            "$1: the value is not set",
        ),
    ] {
        let status = ask(sql, values).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{sql}: {status}");
        assert!(status.message().contains(word), "{sql}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_no_longer_served_than_others() {
    let (_folder, server) = server(Limits {
        timeout: Duration::from_secs(1),
        ..Limits::default()
    })
    .await;
    let request = QueryRequest {
        sql: "SELECT * FROM generate_series(1, 1000000000000)".to_owned(),
        ..QueryRequest::default()
    };
    let mut replies = server
        .client
        .clone()
        .query(request)
        .await
        .unwrap()
        .into_inner();
    replies.message().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // What lies in buffers on the way still comes; then the error, and no summary.
    let ended = loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_long_message_fits_into_the_headers() {
    let (_folder, server) = server(Limits::default()).await;
    let status = server
        .query(&format!("SELECT '{}'::int", "é".repeat(50_000)))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = server
        .query("SELECT * FROM information_schema.\"DF_SETTINGS\"")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
}
