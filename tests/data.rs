//! The shipped figures: declared, loadable, without two rows for one thing.

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use didymium_engine::{Clock, Limits};
use didymium_store::TableKind;

use crate::figures::{NOW_MS, declaration, root, shipped, tables};
use crate::server::TestServer;

/// Loading checks every rule of a declaration, the uniqueness of every row among them.
#[tokio::test(flavor = "multi_thread")]
async fn every_table_loads_and_no_two_rows_collide() {
    let folder = tempfile::tempdir().unwrap();
    let store = shipped(folder.path()).await;
    for name in tables() {
        let csv = std::fs::read_to_string(root().join(format!("data/{name}.csv"))).unwrap();
        let rows = store
            .table(&name)
            .await
            .unwrap()
            .snapshot()
            .await
            .unwrap()
            .rows();
        let records = csv_records(&csv);
        assert_eq!(rows, Some(records), "{name}");
        // Rates are the user's to load.
        assert_eq!(records == 0, name == "exchange_rates", "{name}");
    }
}

#[test]
fn every_column_is_described() {
    for name in tables() {
        let declaration = declaration(&name);
        assert_eq!(declaration.name, name);
        for column in declaration.all_columns() {
            assert!(column.description.len() > 5, "{name}.{}", column.name);
        }
        let series = declaration.kind == TableKind::Series;
        assert_eq!(series, declaration.source_rank.is_some(), "{name}");
    }
}

/// Records after the header: line ends outside quotes.
fn csv_records(csv: &str) -> u64 {
    let mut quoted = false;
    let mut lines = 0;
    for character in csv.chars() {
        match character {
            '"' => quoted = !quoted,
            '\n' if !quoted => lines += 1,
            _ => {}
        }
    }
    lines - 1
}

/// A rating report of 2021 prints 115,000 t; no later day makes it count.
#[tokio::test(flavor = "multi_thread")]
async fn the_separation_quota_of_2020_is_the_notices_today_and_in_2027() {
    const NEW_YEAR_2027_MS: i64 = 1_798_761_600_000;
    for clock in [(|| NOW_MS) as Clock, || NEW_YEAR_2027_MS] {
        let folder = tempfile::tempdir().unwrap();
        let store = shipped(folder.path()).await;
        let server = TestServer::start_at(store, Limits::default(), clock).await;
        let answer = server
            .query(
                "SELECT value FROM quotas_by_year \
                 WHERE commodity = 'rare_earths' AND stage = 'smelting_separation' \
                 AND holder_kind = 'national' AND mineral_class = 'all' \
                 AND period_start = DATE '2020-01-01'",
            )
            .await
            .unwrap();
        let values = answer.batches[0].column(0).as_primitive::<Float64Type>();
        assert_eq!(values.values(), &[135_000.0]);
    }
}
