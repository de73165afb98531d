//! What the plans of growth look like: streaming, and never sorted again.

use std::sync::Arc;

use didymium_engine::Limits;
use didymium_store::Store;

use crate::figures::{load, output_csv, output_row, output_table, shipped};
use crate::server::TestServer;

const GROWTH: &str = "SELECT series, yoy(value, period_start, period_end) \
     OVER (PARTITION BY series ORDER BY period_start, period_end) AS growth FROM output";

/// A table of these files, each of one load, and the plan of growth over it.
async fn plan_over(files: &[&[&str]]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    let table = output_table(&store).await;
    for (year, mines) in (2020..).zip(files) {
        let rows: Vec<String> = mines
            .iter()
            .flat_map(|mine| (1..=12).map(|month| output_row(mine, year, month, "1")))
            .collect();
        load(&table, &output_csv(&rows)).await.unwrap();
    }
    let server = TestServer::start(store, Limits::default()).await;
    let plan = server.text(&format!("EXPLAIN {GROWTH}")).await;
    let rows: usize = server.query(GROWTH).await.unwrap().summary.rows as usize;
    assert_eq!(
        rows,
        files.iter().map(|mines| mines.len() * 12).sum::<usize>()
    );
    plan
}

#[tokio::test]
async fn one_file_is_read_in_its_order() {
    let plan = plan_over(&[&["a", "b"]]).await;
    assert!(!plan.contains("SortExec"), "{plan}");
    assert!(!plan.contains("SortPreservingMergeExec"), "{plan}");
    assert!(plan.contains("SeriesWindowExec"), "{plan}");
}

#[tokio::test]
async fn files_that_follow_one_another_are_one_ordered_scan() {
    let plan = plan_over(&[&["a"], &["b"], &["c"]]).await;
    assert!(!plan.contains("SortExec"), "{plan}");
    assert!(!plan.contains("SortPreservingMergeExec"), "{plan}");
    assert!(plan.contains("1 group"), "{plan}");
}

#[tokio::test]
async fn files_that_overlap_are_merged_and_not_sorted() {
    let plan = plan_over(&[&["a", "c"], &["a", "b"]]).await;
    assert!(!plan.contains("SortExec"), "{plan}");
    assert!(plan.contains("SortPreservingMergeExec"), "{plan}");
}

#[tokio::test]
async fn a_file_that_cannot_hold_the_series_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    let table = output_table(&store).await;
    for mine in ["a", "b", "c"] {
        load(&table, &output_csv(&[output_row(mine, 2024, 1, "1")]))
            .await
            .unwrap();
    }
    let server = TestServer::start(store, Limits::default()).await;
    let plan = server
        .text("EXPLAIN SELECT * FROM output WHERE mine = 'b'")
        .await;
    assert_eq!(plan.matches("part-").count(), 1, "{plan}");
    let none = server
        .text("EXPLAIN SELECT * FROM output WHERE mine = 'd'")
        .await;
    assert_eq!(none.matches("part-").count(), 0, "{none}");
}

/// Functions that rise with the day keep the order of the rows, and gap filling needs no other.
#[tokio::test]
async fn buckets_of_sorted_rows_are_not_sorted_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    for bucket in [
        "time_bucket(INTERVAL '3 months', period_start)",
        "end_of_period(period_start, 'M')",
        "fiscal_year(period_start, 7)",
        "time_bucket_gapfill(INTERVAL '1 month', period_start)",
    ] {
        let sql = format!(
            "EXPLAIN SELECT series, {bucket} AS bucket, sum(value) FROM exports \
             GROUP BY series, bucket ORDER BY series, bucket"
        );
        let plan = server.text(&sql).await;
        assert!(!plan.contains("SortExec"), "{bucket}: {plan}");
    }
}

#[tokio::test]
async fn a_fiscal_year_is_a_range_of_days() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    let plan = server
        .text("EXPLAIN SELECT value FROM exports WHERE fiscal_year(period_start, 7) = 2024")
        .await;
    let pushed = r#"partial_filters=[exports.period_start >= Date32("2023-07-01"), exports.period_start < Date32("2024-07-01")]"#;
    assert!(plan.contains(pushed), "{plan}");
}
