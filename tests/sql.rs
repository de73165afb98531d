//! The `.slt` files, each through a real gRPC connection.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use didymium_engine::Limits;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tonic::Status;

use crate::figures::{load, root, shipped};
use crate::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn every_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let store = shipped(folder.path()).await;
    // The table comes empty: no rates are shipped.
    let rates = std::fs::read_to_string(root().join("tests/sql/exchange_rates.csv")).unwrap();
    load(&store.table("exchange_rates").await.unwrap(), &rates)
        .await
        .unwrap();
    let server = TestServer::start(store, Limits::default()).await;
    let files = slt_files(&root().join("tests/sql"));
    assert!(files.len() >= 5, "the files are found");
    let mut failures = Vec::new();
    for file in files {
        let mut runner = Runner::new(async || Ok(OverGrpc { server: &server }));
        if let Err(error) = runner.run_file_async(&file).await {
            failures.push(format!("{}: {}", file.display(), error.display(false)));
        }
    }
    assert!(
        failures.is_empty(),
        "{}",
        failures.join(
            "

"
        )
    );
}

/// Every `.slt` file below a folder, in order.
pub(crate) fn slt_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(slt_files(&path));
        } else if path.extension() == Some(OsStr::new("slt")) {
            files.push(path);
        }
    }
    files.sort();
    files
}

struct OverGrpc<'a> {
    server: &'a TestServer,
}

#[async_trait]
impl AsyncDB for OverGrpc<'_> {
    type Error = Status;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Status> {
        let answer = self.server.query(sql).await?;
        let columns = answer.header.columns.len();
        let rows = answer.batches.iter().flat_map(rows).collect();
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; columns],
            rows,
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "didymium"
    }
}

fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default();
    let formatters: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    let cell = |column: usize, row: usize| {
        if batch.column(column).is_null(row) {
            return "NULL".to_owned();
        }
        match formatters[column].value(row).to_string() {
            empty if empty.is_empty() => "(empty)".to_owned(),
            text => text,
        }
    };
    let row = |row: usize| {
        (0..batch.num_columns())
            .map(|column| cell(column, row))
            .collect()
    };
    (0..batch.num_rows()).map(row).collect()
}
