//! What happens to a store over the years: compaction when it is due, the end of history, new columns.

use std::sync::Arc;
use std::time::Duration;

use didymium_api::v1::QueryRequest;
use didymium_engine::Limits;
use didymium_store::{Declaration, Kind, LoadRequest, Store, Table, Upkeep};
use tonic::Code;

use crate::figures::{NOW_MS, OUTPUT, csv_request, output_csv, output_row};
use crate::server::TestServer;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A table of one small load a day, the last one today.
async fn daily_loads(days: i64) -> (tempfile::TempDir, Arc<Store>, Arc<Table>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    let declaration = Declaration::parse(OUTPUT).unwrap();
    let made = store.create_table(&declaration, NOW_MS - days * DAY_MS);
    let table = made.await.unwrap();
    for day in 0..days {
        let row = output_row(
            "a",
            2000 + day as i32 / 12,
            day as u32 % 12 + 1,
            &day.to_string(),
        );
        let request = LoadRequest {
            now_ms: NOW_MS - (days - 1 - day) * DAY_MS,
            ..csv_request(&output_csv(&[row]))
        };
        table.load(request).await.unwrap();
    }
    (folder, store, table)
}

fn upkeep(history: Option<Duration>) -> Upkeep {
    Upkeep {
        loose_files: 8,
        grace: Duration::from_secs(3600),
        history,
    }
}

fn at(sql: &str, time_ms: i64) -> QueryRequest {
    QueryRequest {
        sql: sql.to_owned(),
        committed_as_of: Some(
            std::time::SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_millis(time_ms as u64))
                .unwrap()
                .into(),
        ),
        ..QueryRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_compacted_once_it_has_many_files() {
    let (_folder, store, table) = daily_loads(11).await;
    let files = async || table.snapshot().await.unwrap().files().count();
    store.look_after(&upkeep(None), NOW_MS).await.unwrap();
    assert_eq!(files().await, 11, "four files are as good as one");
    let late = output_csv(&[output_row("b", 2024, 1, "1")]);
    table.load(csv_request(&late)).await.unwrap();
    store.look_after(&upkeep(None), NOW_MS).await.unwrap();
    assert_eq!(files().await, 1);
    let version = table.snapshot().await.unwrap().version();
    store.look_after(&upkeep(None), NOW_MS).await.unwrap();
    assert_eq!(
        table.snapshot().await.unwrap().version(),
        version,
        "there is nothing to do"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn history_ends_where_the_operator_says_and_no_row_is_lost() {
    let (folder, store, table) = daily_loads(12).await;
    table.compact("test", NOW_MS - 5 * DAY_MS).await.unwrap();
    let server = TestServer::start(Arc::clone(&store), Limits::default()).await;
    let count = "SELECT count(*) AS rows, sum(value) AS sum FROM output";
    let now = server.text(count).await;
    let before = server.ask(at(count, NOW_MS - 3 * DAY_MS)).await.unwrap();

    // The compaction's time is set after the last load's: history never goes back.
    store
        .look_after(&upkeep(Some(Duration::from_secs(3600))), NOW_MS)
        .await
        .unwrap();
    assert_eq!(server.text(count).await, now);
    let answer = server.ask(at(count, NOW_MS - 3 * DAY_MS)).await.unwrap();
    assert_eq!(
        answer.batches, before.batches,
        "an hour has not passed since the compaction"
    );

    let later = NOW_MS + 2 * DAY_MS;
    let day = Duration::from_secs(24 * 3600);
    store.look_after(&upkeep(Some(day)), later).await.unwrap();
    let server = TestServer::start_at(store, Limits::default(), || NOW_MS + 2 * DAY_MS).await;
    assert_eq!(server.text(count).await, now, "every row is there");
    let status = server
        .ask(at(count, NOW_MS - 3 * DAY_MS))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(
        status.message().contains("every version from 13 on can"),
        "{status}"
    );
    let answer = server.ask(at(count, NOW_MS + DAY_MS)).await.unwrap();
    assert_eq!(
        answer.summary.table_versions["output"], 13,
        "that one is read"
    );
    let files = std::fs::read_dir(folder.path().join("output")).unwrap();
    let parquet = files.filter(|file| {
        file.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|it| it == "parquet")
    });
    assert_eq!(parquet.count(), 1);
    let verified = Store::open(folder.path())
        .await
        .unwrap()
        .verify()
        .await
        .unwrap();
    assert!(verified.findings.is_empty(), "{verified:?}");
}

/// The declaration with another text in one place.
fn changed(from: &str, to: &str) -> Declaration {
    assert!(OUTPUT.contains(from), "{from}");
    Declaration::parse(&OUTPUT.replacen(from, to, 1)).unwrap()
}

const GRADE: &str = "[[columns]]\nname = \"grade\"\ntype = \"text\"\nvalues = [\"a\", \"b\"]\ndescription = \"How rich the ore is.\"\n[[measures]]";

#[tokio::test(flavor = "multi_thread")]
async fn a_nullable_column_is_added_and_old_rows_have_none() {
    let (_folder, store, table) = daily_loads(2).await;
    let wider = changed("[[measures]]", GRADE);
    let version = store.alter_table(&wider, "test", NOW_MS).await.unwrap();
    assert_eq!(version, 3);
    let again = store.alter_table(&wider, "test", NOW_MS).await.unwrap();
    assert_eq!(again, 3, "nothing changed");

    let csv = output_csv(&[output_row("b", 2024, 1, "5")]);
    let csv = csv
        .replacen("mine,", "grade,mine,", 1)
        .replacen("\nb,", "\nb,b,", 1);
    table.load(csv_request(&csv)).await.unwrap();
    let server = TestServer::start(Arc::clone(&store), Limits::default()).await;
    let sql = "SELECT mine, grade, value FROM output ORDER BY value";
    let told = server.text(sql).await;
    assert!(told.contains("| a    |       | 0.0"), "{told}");
    assert!(told.contains("| b    | b     | 5.0"), "{told}");
    let graded = server
        .text("SELECT count(*) AS n FROM output WHERE grade IS NULL")
        .await;
    assert!(graded.contains("| 2 "), "{graded}");

    // What reads rows to write them anew knows the column too.
    let repeated = csv.replace(",5,t", ",7,t");
    let mut correction = csv_request(&repeated);
    correction.options.supersede = Some("a slip".to_owned());
    table.load(correction).await.unwrap();
    table.compact("test", NOW_MS).await.unwrap();
    let told = server.text(sql).await;
    assert!(told.contains("| a    |       | 0.0"), "{told}");
    assert!(told.contains("| b    | b     | 7.0"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_change_of_a_declaration_is_refused() {
    let (_folder, store, table) = daily_loads(1).await;
    let version = table.snapshot().await.unwrap().version();
    for (from, to, rule) in [
        (
            "key = [\"mine\"]",
            "key = [\"mine\", \"grade\"]",
            "the kind or key",
        ),
        (
            "[[measures]]",
            &GRADE.replace("values", "nullable = false\nvalues"),
            "must be nullable",
        ),
        (
            "type = \"text\"",
            "type = \"int\"",
            "the column mine would be narrower",
        ),
        (
            "type = \"text\"",
            "type = \"text\"\nvalues = [\"a\"]",
            "the column mine would be narrower",
        ),
        (
            "min = 0.0",
            "min = 1.0",
            "the measure output in t would go or be narrower",
        ),
        (
            "unit = \"t\"",
            "unit = \"kt\"",
            "the measure output in t would go",
        ),
        (
            "description = \"Output of mines.\"",
            "description = \"Output of mines.\"\nsource_rank = \"sources.rank\"",
            "source_rank",
        ),
    ] {
        let declaration = match rule {
            "the kind or key" => {
                Declaration::parse(&OUTPUT.replace(from, to).replacen("[[measures]]", GRADE, 1))
                    .unwrap()
            }
            _ => changed(from, to),
        };
        let refused = store
            .alter_table(&declaration, "test", NOW_MS)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), Kind::InvalidInput, "{refused}");
        assert!(refused.to_string().contains(rule), "{refused}");
    }
    assert_eq!(table.snapshot().await.unwrap().version(), version);
    let wider = changed("min = 0.0", "min = -1.0");
    store.alter_table(&wider, "test", NOW_MS).await.unwrap();
    let negative = output_csv(&[output_row("b", 2024, 1, "-0.5")]);
    table.load(csv_request(&negative)).await.unwrap();
}
