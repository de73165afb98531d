//! The shipped figures: declared, loadable, without two rows for one thing.

use didymium_store::TableKind;

use crate::figures::{declaration, root, shipped, tables};

/// Loading checks every rule of a declaration, the uniqueness of every row among them.
#[tokio::test(flavor = "multi_thread")]
async fn every_table_loads_and_no_two_rows_collide() {
    let folder = tempfile::tempdir().unwrap();
    let store = shipped(folder.path()).await;
    for name in tables() {
        let csv = std::fs::read_to_string(root().join(format!("data/{name}.csv"))).unwrap();
        let rows = store.table(&name).unwrap().snapshot().await.unwrap().rows();
        let records = csv_records(&csv);
        assert_eq!(rows, Some(records), "{name}");
        assert!(records > 0, "{name}");
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
