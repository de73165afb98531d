//! Loads that land whole or not at all, and damage that is seen.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Float32Array, Int32Array, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Float64Type, Int64Type};
use didymium_engine::Limits;
use didymium_store::{Declaration, Error, Input, InputFormat, Kind, LoadRequest, Store};
use parquet::arrow::ArrowWriter;
use tonic::Code;

use crate::figures::{
    NOW_MS, OUTPUT, OUTPUT_HEADER, csv_request, load, output_csv, output_row, output_table,
};
use crate::server::TestServer;

async fn new_store() -> (tempfile::TempDir, Arc<Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    (folder, store)
}

/// The faults of a load, one line each.
async fn faults(csv: &str) -> Vec<String> {
    let (_folder, store) = new_store().await;
    let table = output_table(&store).await;
    let error = load(&table, csv).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidInput);
    assert_eq!(
        table.snapshot().await.unwrap().rows(),
        Some(0),
        "nothing is loaded"
    );
    assert_eq!(
        table.snapshot().await.unwrap().version(),
        0,
        "no version is made"
    );
    let Error::Faulty(faults) = error else {
        panic!("{error}")
    };
    faults.shown().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn every_fault_is_told_with_row_column_and_rule() {
    let good = output_row("a", 2024, 1, "1");
    let rows = [
        good.clone(),
        good.replace("2024-01-31", "2024-01-30"),
        good.replace(",M,", ",A,"),
        output_row("a", 2024, 2, "many"),
        output_row("", 2024, 3, "1"),
        output_row("a", 2024, 4, "-1"),
        output_row("a", 2024, 5, "1").replace(",t,", ",USD/t,"),
        output_row("a", 2024, 6, "1").replace("final", "certain"),
        output_row("a", 2024, 7, "1").replace("2026-01-01", "2099-01-01"),
        output_row("a", 2024, 8, "1").replace(",day,", ",hour,"),
        output_row("a", 2024, 9, "NaN"),
        "a,output,2024-10-01".to_owned(),
        output_row("a", 2024, 11, "1").replace("2024-11-30", "2024-10-30"),
        output_row("a", 2024, 12, "1").replace("output", "sales"),
    ];
    let faults = faults(&output_csv(&rows)).await;
    let expected = [
        "a.csv row 13: has 3 cells where the header has 14",
        "a.csv row 5, column value: must be a finite number, such as 5489.2 or 5,489.2, found 'many'",
        "a.csv row 12, column value: must be a finite number, such as 5489.2 or 5,489.2, found 'NaN'",
        "a.csv row 3, column frequency: must be X for 2024-01-01 to 2024-01-30, found 'M'",
        "a.csv row 4, column frequency: must be M for 2024-01-01 to 2024-01-31, found 'A'",
        "a.csv row 6, column mine: must not be empty",
        "a.csv row 7, column value: output must not be less than 0, found '-1.0'",
        "a.csv row 8, column unit: output is measured in t REO, not in USD/t REO, found 'USD/t'",
        "a.csv row 9, column status: must be one of final, provisional, estimated, rounded, derived, contradicted, superseded, not_disclosed, not_available, withdrawn, found 'certain'",
        "a.csv row 10, column published_on: must not lie in the future, today is 2026-11-24, found '2099-01-01'",
        "a.csv row 11, column published_precision: must be one of day, month, year, found 'hour'",
        "a.csv row 14, column period_end: must not lie before period_start, 2024-11-01, found '2024-10-30'",
        "a.csv row 15, column measure: must be one of output, found 'sales'",
    ];
    for line in expected {
        assert!(
            faults.iter().any(|fault| fault == line),
            "{line}\nnot in\n{}",
            faults.join("\n")
        );
    }
    assert_eq!(faults.len(), expected.len(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn many_faults_are_counted_beyond_the_first_fifty() {
    let rows: Vec<String> = (0..200)
        .map(|mine| output_row(&format!("m{mine}"), 2024, 1, "x"))
        .collect();
    let (_folder, store) = new_store().await;
    let error = load(&*output_table(&store).await, &output_csv(&rows))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("200 faults, nothing was loaded"), "{text}");
    assert!(text.ends_with("and 150 more"), "{text}");
    assert_eq!(text.lines().count(), 52);
}

#[tokio::test]
async fn a_header_must_name_the_tables_columns() {
    let header = OUTPUT_HEADER
        .replace("mine,", "mime,")
        .replace(",source_id", ",value");
    let told = faults(&format!("{header}\n")).await;
    assert!(
        told.contains(&"a.csv row 1, column mime: the table has no such column".to_owned()),
        "{told:?}"
    );
    assert!(
        told.contains(&"a.csv row 1, column value: occurs twice in the header".to_owned()),
        "{told:?}"
    );
    assert!(
        told.contains(&"a.csv row 1, column mine: is missing in the header".to_owned()),
        "{told:?}"
    );
    assert!(
        told.contains(&"a.csv row 1, column source_id: is missing in the header: --source names the source of the whole file".to_owned()),
        "{told:?}"
    );
}

#[tokio::test]
async fn one_thing_said_twice_is_refused_with_both_rows() {
    let row = output_row("a", 2024, 1, "1");
    let other_value = output_row("a", 2024, 1, "2");
    let told = faults(&output_csv(&[
        row,
        output_row("a", 2024, 2, "1"),
        other_value,
    ]))
    .await;
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("a.csv row 4: has the same series, period_start"),
        "{told:?}"
    );
    assert!(told[0].ends_with("as row 2"), "{told:?}");
}

#[tokio::test]
async fn a_quote_that_is_never_closed_swallows_no_rows() {
    let rows: Vec<String> = (1..=9)
        .map(|month| output_row("a", 2024, month, "1"))
        .collect();
    let csv = output_csv(&rows).replace("a,output,2024-03-01", "\"a,output,2024-03-01");
    let told = faults(&csv).await;
    assert_eq!(
        told[0], "a.csv row 4: has a quote that is never closed",
        "{told:?}"
    );
}

#[tokio::test]
async fn a_cell_is_told_once() {
    let told = faults(&output_csv(&[
        output_row("a", 2024, 1, "1").replace("2024-01-01", "2024-1-1")
    ]))
    .await;
    assert_eq!(
        told,
        ["a.csv row 2, column period_start: must be a day written YYYY-MM-DD, found '2024-1-1'"]
    );
}

/// Bounds travel through the log's JSON, which gives a double back to within its last bit.
#[tokio::test]
async fn a_double_comes_back_bit_by_bit() {
    let (_folder, store) = new_store().await;
    let table = output_table(&store).await;
    let values = [
        966.564_312_317_195_5,
        0.1 + 0.2,
        1.0 / 3.0,
        123_456_789.123_456_78,
        5e-324,
        1.797_693_134_862_315_7e308,
    ];
    for (month, value) in (1..).zip(values) {
        load(
            &table,
            &output_csv(&[output_row("a", 2024, month, &format!("{value:?}"))]),
        )
        .await
        .unwrap();
    }
    let server = TestServer::start(store, Limits::default()).await;
    let answer = server
        .query("SELECT value FROM output ORDER BY period_start")
        .await
        .unwrap();
    let read: Vec<f64> = answer
        .batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Float64Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(read, values);
    let found = server
        .text("SELECT count(*) AS n FROM output WHERE value = 966.5643123171955")
        .await;
    assert!(found.contains("| 1 |"), "{found}");
}

/// NULL comes last, so a file with one does not come before another whole file.
#[tokio::test]
async fn a_null_in_the_first_key_keeps_its_place() {
    let (_folder, store) = new_store().await;
    let plain = r#"
        name = "plain"
        kind = "plain"
        description = "A table whose key may be NULL."
        key = ["k"]
        [[columns]]
        name = "k"
        type = "text"
        description = "The key."
        [[columns]]
        name = "v"
        type = "int"
        description = "A value."
    "#;
    let table = store
        .create_table(&Declaration::parse(plain).unwrap(), NOW_MS)
        .await
        .unwrap();
    load(&table, "k,v\na,1\n,2\n").await.unwrap();
    load(&table, "k,v\nb,3\nc,4\n").await.unwrap();
    let server = TestServer::start(store, Limits::default()).await;
    let answer = server
        .query("SELECT v FROM plain ORDER BY k")
        .await
        .unwrap();
    let read: Vec<i64> = answer
        .batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    assert_eq!(read, [1, 3, 4, 2]);
}

#[tokio::test]
async fn an_interrupted_init_can_be_finished() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("_didymium")).unwrap();
    let store = Store::create(folder.path()).await.unwrap();
    fs::create_dir_all(folder.path().join("output/_delta_log")).unwrap();
    assert!(store.table_names().await.unwrap().is_empty());
    output_table(&store).await;
    assert_eq!(store.table_names().await.unwrap(), ["output"]);
}

#[tokio::test]
async fn a_row_that_the_table_holds_is_refused() {
    let (folder, store) = new_store().await;
    let table = output_table(&store).await;
    load(&table, &output_csv(&[output_row("a", 2024, 1, "1")]))
        .await
        .unwrap();
    let again = output_csv(&[output_row("b", 2024, 1, "1"), output_row("a", 2024, 1, "2")]);
    let error = load(&table, &again).await.unwrap_err().to_string();
    assert!(
        error.contains("a.csv row 3: the table holds a row with the same series"),
        "{error}"
    );
    assert_eq!(table.snapshot().await.unwrap().rows(), Some(1));
    assert_eq!(
        data_files(folder.path()).len(),
        1,
        "the refused load leaves no file"
    );
}

#[tokio::test]
async fn the_same_bytes_land_once() {
    let (_folder, store) = new_store().await;
    let table = output_table(&store).await;
    let csv = output_csv(&[output_row("a", 2024, 1, "1")]);
    let first = load(&table, &csv).await.unwrap();
    let second = load(&table, &csv).await.unwrap();
    assert!(!first.repeated && second.repeated);
    assert_eq!((first.version, first.rows), (second.version, second.rows));
    assert_eq!(table.snapshot().await.unwrap().version(), first.version);
}

#[tokio::test]
async fn a_byte_order_mark_and_windows_line_ends_are_read() {
    let (_folder, store) = new_store().await;
    let table = output_table(&store).await;
    let csv = output_csv(&[output_row("a", 2024, 1, "-0.0")]).replace('\n', "\r\n");
    load(&table, &format!("\u{feff}{csv}")).await.unwrap();
    let server = TestServer::start(store, Limits::default()).await;
    let text = server.text("SELECT mine, value, series FROM output").await;
    assert!(
        text.contains("| a    | 0.0   | a/output |"),
        "minus zero is zero: {text}"
    );
}

#[tokio::test]
async fn parquet_of_other_widths_is_read_and_other_types_are_refused() {
    let (_folder, store) = new_store().await;
    let table = output_table(&store).await;
    let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let file = |value: ArrayRef| {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("mine", text("a")),
            ("measure", text("output")),
            ("period_start", Arc::new(Date32Array::from(vec![19_723]))),
            ("period_end", Arc::new(Date32Array::from(vec![19_753]))),
            ("frequency", text("M")),
            ("cumulative", Arc::new(BooleanArray::from(vec![false]))),
            ("value", value),
            ("unit", text("t")),
            ("basis", text("REO")),
            ("status", text("final")),
            ("published_on", Arc::new(Date32Array::from(vec![20_000]))),
            ("published_precision", text("day")),
            ("source_id", text("S")),
            ("statement", Arc::new(Int32Array::from(vec![1]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let input = Input {
            name: "a.parquet".into(),
            format: InputFormat::Parquet,
            encoding: None,
            bytes: bytes.into(),
        };
        LoadRequest {
            inputs: vec![input],
            ..csv_request("")
        }
    };
    let error = table
        .load(file(text("many")))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("a.parquet row 1, column value: must be a finite number"),
        "{error}"
    );
    let flag = Arc::new(BooleanArray::from(vec![true]));
    let error = table.load(file(flag)).await.unwrap_err().to_string();
    assert!(
        error.contains("a.parquet, column value: must be a finite number, such as 5489.2 or 5,489.2, not Boolean"),
        "{error}"
    );
    let nan = Arc::new(Float32Array::from(vec![f32::NAN]));
    let error = table.load(file(nan)).await.unwrap_err().to_string();
    assert!(
        error.contains("a.parquet row 1, column value: must be a finite number"),
        "{error}"
    );
    let loaded = table
        .load(file(Arc::new(Float32Array::from(vec![1.5]))))
        .await
        .unwrap();
    assert_eq!(loaded.rows, 1);
    let garbage = Input {
        name: "b.parquet".into(),
        format: InputFormat::Parquet,
        encoding: None,
        bytes: "PAR1".into(),
    };
    let error = table
        .load(LoadRequest {
            inputs: vec![garbage],
            ..csv_request("")
        })
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("b.parquet: is not a readable Parquet file"),
        "{error}"
    );
}

/// Two processes on one folder: every load lands exactly once, in some order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_race_and_none_is_lost() {
    let (folder, store) = new_store().await;
    output_table(&store).await;
    let writers = (0..4).map(|writer| {
        let folder = folder.path().to_owned();
        async move {
            let store = Store::open(folder.as_path()).await.unwrap();
            let table = store.table("output").await.unwrap();
            for month in 1..=6 {
                let row = output_row(&format!("m{writer}"), 2024, month, "1");
                load(&table, &output_csv(&[row])).await.unwrap();
            }
        }
    });
    let mut running = tokio::task::JoinSet::new();
    writers.for_each(|writer| drop(running.spawn(writer)));
    running.join_all().await;
    let snapshot = store
        .table("output")
        .await
        .unwrap()
        .snapshot()
        .await
        .unwrap();
    assert_eq!((snapshot.rows(), snapshot.version()), (Some(24), 24));
}

#[tokio::test]
async fn a_damaged_file_is_data_loss_and_never_a_wrong_number() {
    let (folder, store) = new_store().await;
    let table = output_table(&store).await;
    let rows: Vec<String> = (1..=12)
        .map(|month| output_row("a", 2024, month, "1"))
        .collect();
    load(&table, &output_csv(&rows)).await.unwrap();
    let file = data_files(folder.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let server = TestServer::start(store, Limits::default()).await;
    let status = server
        .query("SELECT sum(value) FROM output")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status}");
    fs::remove_file(&file).unwrap();
    let status = server
        .query("SELECT sum(value) FROM output")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status}");
}

#[tokio::test]
async fn a_damaged_log_spoils_its_table_and_no_other() {
    let (folder, store) = new_store().await;
    load(
        &*output_table(&store).await,
        &output_csv(&[output_row("a", 2024, 1, "1")]),
    )
    .await
    .unwrap();
    let other =
        Declaration::parse(&OUTPUT.replace("name = \"output\"", "name = \"other\"")).unwrap();
    store.create_table(&other, NOW_MS).await.unwrap();
    fs::write(log_entry(folder.path(), "output", 1), "{\"add\":").unwrap();
    let server = TestServer::start(
        Arc::new(Store::open(folder.path()).await.unwrap()),
        Limits::default(),
    )
    .await;
    let status = server.query("SELECT * FROM output").await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status}");
    assert_eq!(
        server
            .query("SELECT * FROM other")
            .await
            .unwrap()
            .summary
            .rows,
        0
    );
}

#[tokio::test]
async fn a_table_that_would_be_misread_is_refused() {
    let (folder, store) = new_store().await;
    output_table(&store).await;
    let protocol = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#;
    fs::write(log_entry(folder.path(), "output", 1), protocol).unwrap();
    let error = store
        .table("output")
        .await
        .unwrap()
        .snapshot()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Precondition);
    assert!(error.to_string().contains("deletionVectors"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
    for error in [
        Store::create(folder.path()).await.unwrap_err(),
        Store::open(folder.path()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Precondition, "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_commits_time_never_goes_back() {
    let (folder, store) = new_store().await;
    let table = output_table(&store).await;
    let mut request = csv_request(&output_csv(&[output_row("a", 2024, 1, "1")]));
    request.now_ms = NOW_MS - 1_000_000;
    table.load(request).await.unwrap();
    let entry = fs::read_to_string(log_entry(folder.path(), "output", 1)).unwrap();
    assert!(
        entry.contains(&format!("\"timestamp\":{}", NOW_MS + 1)),
        "{entry}"
    );
    assert!(entry.contains("\"inputSha256\""), "{entry}");
}

fn log_entry(store: &Path, table: &str, version: u64) -> PathBuf {
    store.join(format!("{table}/_delta_log/{version:020}.json"))
}

fn data_files(store: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(store.join("output"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        .collect()
}
