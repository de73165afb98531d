//! Loads through a server: one stream, one commit.

use std::sync::Arc;

use didymium_api::v1::ingest_request::Payload;
use didymium_api::v1::ingest_service_client::IngestServiceClient;
use didymium_api::v1::{Date, FileHeader, Format, IngestHeader, IngestRequest, IngestResponse};
use didymium_engine::Limits;
use didymium_store::Store;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::figures::{output_csv, output_row, output_table};
use crate::server::TestServer;

/// A server of a store with the empty table `output`.
async fn served(limits: Limits) -> (tempfile::TempDir, TestServer, IngestServiceClient<Channel>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    output_table(&store).await;
    let server = TestServer::start(store, limits).await;
    let client = IngestServiceClient::connect(server.address.clone())
        .await
        .unwrap();
    (folder, server, client)
}

fn header(table: &str) -> IngestHeader {
    IngestHeader {
        table: table.to_owned(),
        message: "a test's".to_owned(),
        author: "tester".to_owned(),
        ..IngestHeader::default()
    }
}

/// A file in chunks of a few bytes.
fn file(name: &str, content: &str) -> Vec<Payload> {
    let start = FileHeader {
        name: name.to_owned(),
        ..FileHeader::default()
    };
    let chunks = content.as_bytes().chunks(7);
    std::iter::once(Payload::File(start))
        .chain(chunks.map(|chunk| Payload::Chunk(chunk.to_vec())))
        .collect()
}

async fn ingest(
    client: &mut IngestServiceClient<Channel>,
    parts: Vec<Payload>,
) -> Result<IngestResponse, Status> {
    let parts = parts.into_iter().map(|payload| IngestRequest {
        payload: Some(payload),
    });
    let sent = futures::stream::iter(parts.collect::<Vec<_>>());
    client.ingest(sent).await.map(tonic::Response::into_inner)
}

fn load(header: IngestHeader, files: &[(&str, &str)]) -> Vec<Payload> {
    let files = files.iter().flat_map(|(name, content)| file(name, content));
    std::iter::once(Payload::Header(header))
        .chain(files)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_stream_land_in_one_commit_and_once() {
    let (_folder, server, mut client) = served(Limits::default()).await;
    let a = output_csv(&[output_row("a", 2024, 1, "1"), output_row("a", 2024, 2, "2")]);
    let b = output_csv(&[output_row("b", 2024, 1, "3")]);
    let files = [("a.csv", a.as_str()), ("b.csv", b.as_str())];
    let loaded = ingest(&mut client, load(header("output"), &files))
        .await
        .unwrap();
    assert_eq!(
        (loaded.rows, loaded.version, loaded.repeated),
        (3, 1, false)
    );
    let again = ingest(&mut client, load(header("output"), &files))
        .await
        .unwrap();
    assert_eq!((again.rows, again.version, again.repeated), (3, 1, true));
    assert_eq!(again.load_id, loaded.load_id);

    let told = server
        .text("SELECT inputs, author, message, rows_added FROM system.commits WHERE version = 1")
        .await;
    assert!(
        told.contains("| a.csv, b.csv | tester | a test's | 3"),
        "{told}"
    );
    let sum = server
        .text("SELECT sum(value) AS sum, count(*) FROM output")
        .await;
    assert!(sum.contains("| 6.0 | 3"), "{sum}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_told_and_nothing_lands() {
    let (_folder, server, mut client) = served(Limits::default()).await;
    let rows: Vec<_> = (1..=12)
        .map(|month| output_row("a", 2024, month, "much"))
        .collect();
    let csv = output_csv(&rows);
    let status = ingest(&mut client, load(header("output"), &[("a.csv", &csv)]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    for line in 2..=13 {
        assert!(
            status
                .message()
                .contains(&format!("row {line}, column value")),
            "{status}"
        );
    }
    let dry = IngestHeader {
        dry_run: true,
        ..header("output")
    };
    let told = ingest(&mut client, load(dry.clone(), &[("a.csv", &csv)]))
        .await
        .unwrap();
    assert_eq!((told.fault_count, told.faults.len()), (12, 12));
    let last = told.faults.last().unwrap();
    assert_eq!(
        (last.row, last.column.as_str(), last.value.as_str()),
        (13, "value", "much")
    );

    let good = output_csv(&[output_row("a", 2024, 1, "1")]);
    let told = ingest(&mut client, load(dry, &[("a.csv", &good)]))
        .await
        .unwrap();
    assert_eq!((told.fault_count, told.rows), (0, 1));
    assert_eq!(
        server
            .query("SELECT * FROM output")
            .await
            .unwrap()
            .summary
            .rows,
        0
    );
}

/// Thousands of faults, in a script of which each character takes nine bytes of a header.
#[tokio::test(flavor = "multi_thread")]
async fn what_stock_clients_can_take_is_told_of_many_faults() {
    let (_folder, _server, mut client) = served(Limits::default()).await;
    let rows: Vec<_> = (0..5000)
        .map(|mine| output_row(&format!("氧化镨钕{mine}"), 2024, 1, "稀土矿产品"))
        .collect();
    let csv = output_csv(&rows);
    let status = ingest(&mut client, load(header("output"), &[("产量.csv", &csv)]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().starts_with("5000 faults"), "{status}");
    assert!(status.message().ends_with('…'), "{status}");
    let escaped: usize = status
        .message()
        .chars()
        .map(|c| if c.is_ascii() { 1 } else { 3 * c.len_utf8() })
        .sum();
    assert!(escaped + status.details().len() * 4 / 3 < 8 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_of_a_sound_file_only() {
    let (_folder, server, mut client) = served(Limits::default()).await;
    let create = IngestHeader {
        create: true,
        source_id: "S".to_owned(),
        published_on: Some(Date {
            year: 2026,
            month: 1,
            day: 1,
        }),
        ..header("mine")
    };
    let unsound = load(
        create.clone(),
        &[("a.csv", "who,when\na,2024-01-01\na,2024-01-01\n")],
    );
    let status = ingest(&mut client, unsound).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let status = server.query("SELECT * FROM mine").await.unwrap_err();
    assert_eq!(
        status.code(),
        Code::NotFound,
        "no empty table is left behind"
    );

    let sound = || {
        load(
            create.clone(),
            &[("a.csv", "who,when\na,2024-01-01\nb,2024-02-01\n")],
        )
    };
    let made = ingest(&mut client, sound()).await.unwrap();
    assert!(
        made.declaration.contains("name = \"mine\""),
        "{}",
        made.declaration
    );
    assert_eq!(
        server
            .query("SELECT * FROM mine")
            .await
            .unwrap()
            .summary
            .rows,
        2
    );
    let again = ingest(&mut client, sound()).await.unwrap();
    assert!(again.repeated && again.declaration.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_out_of_order_or_too_large_is_refused() {
    let limits = Limits {
        load_bytes: 1000,
        ..Limits::default()
    };
    let (_folder, server, mut client) = served(limits).await;
    let csv = output_csv(&[output_row("a", 2024, 1, "1")]);
    let chunk = || Payload::Chunk(b"mine\n".to_vec());
    let odd = FileHeader {
        name: "figures.xlsx".to_owned(),
        ..FileHeader::default()
    };
    for (parts, code, message) in [
        (vec![], Code::InvalidArgument, "header"),
        (file("a.csv", &csv), Code::InvalidArgument, "header"),
        (
            load(header("output"), &[]),
            Code::InvalidArgument,
            "no files",
        ),
        (
            vec![Payload::Header(header("output")), chunk()],
            Code::InvalidArgument,
            "file's header",
        ),
        (
            vec![
                Payload::Header(header("output")),
                Payload::Header(header("output")),
            ],
            Code::InvalidArgument,
            "one header",
        ),
        (
            vec![Payload::Header(header("output")), Payload::File(odd)],
            Code::InvalidArgument,
            "figures.xlsx",
        ),
        (
            load(header("nothing"), &[("a.csv", &csv)]),
            Code::NotFound,
            "nothing",
        ),
        (
            load(header("output"), &[("a.csv", &csv.repeat(9))]),
            Code::ResourceExhausted,
            "--load-memory",
        ),
        (
            load(
                IngestHeader {
                    mapping: "[".to_owned(),
                    ..header("output")
                },
                &[("a.csv", &csv)],
            ),
            Code::InvalidArgument,
            "mapping",
        ),
    ] {
        let status = ingest(&mut client, parts).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(message), "{status}");
    }
    // What was refused holds no memory.
    let named = FileHeader {
        name: "figures".to_owned(),
        format: Format::Csv.into(),
        encoding: "utf-8".to_owned(),
    };
    let parts = vec![
        Payload::Header(header("output")),
        Payload::File(named),
        Payload::Chunk(csv.into_bytes()),
    ];
    assert_eq!(ingest(&mut client, parts).await.unwrap().rows, 1);
    assert_eq!(
        server
            .query("SELECT * FROM output")
            .await
            .unwrap()
            .summary
            .rows,
        1
    );
}
