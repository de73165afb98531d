//! A store with the shipped figures, or with a small table of a test's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use didymium_store::{
    Declaration, Error, Input, InputFormat, LoadOptions, LoadRequest, Loaded, Progress, Store,
    Table,
};

/// 2026-11-24: after every figure's publication.
pub(crate) const NOW_MS: i64 = 1_795_478_400_000;

/// The declared tables, as the folder has them.
pub(crate) fn tables() -> Vec<String> {
    let files = std::fs::read_dir(root().join("data/tables")).unwrap();
    let mut names: Vec<String> = files
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort();
    names
}

/// The project's root folder.
pub(crate) fn root() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("..")
}

pub(crate) fn declaration(table: &str) -> Declaration {
    let toml = root().join(format!("data/tables/{table}.toml"));
    Declaration::parse(&std::fs::read_to_string(toml).unwrap()).unwrap()
}

/// Every built-in table with its rows from `data/`.
pub(crate) async fn shipped(folder: &Path) -> Arc<Store> {
    let store = Arc::new(Store::create(folder).await.unwrap());
    for name in tables() {
        let table = store
            .create_table(&declaration(&name), NOW_MS)
            .await
            .unwrap();
        let csv = std::fs::read_to_string(root().join(format!("data/{name}.csv"))).unwrap();
        load(&table, &csv).await.unwrap();
    }
    store
}

/// A small series table.
pub(crate) const OUTPUT: &str = include_str!("output.toml");

pub(crate) async fn output_table(store: &Store) -> Arc<Table> {
    store
        .create_table(&Declaration::parse(OUTPUT).unwrap(), NOW_MS)
        .await
        .unwrap()
}

pub(crate) const OUTPUT_HEADER: &str = "mine,measure,period_start,period_end,frequency,cumulative,value,unit,basis,status,published_on,published_precision,source_id,statement";

/// A line of the table `output` for one month.
pub(crate) fn output_row(mine: &str, year: i32, month: u32, value: &str) -> String {
    let days = [
        31,
        if year % 4 == 0 { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let last = days[month as usize - 1];
    format!(
        "{mine},output,{year}-{month:02}-01,{year}-{month:02}-{last},M,false,{value},t,REO,final,2026-01-01,day,S,1"
    )
}

pub(crate) fn output_csv(rows: &[String]) -> String {
    format!("{OUTPUT_HEADER}\n{}\n", rows.join("\n"))
}

pub(crate) fn csv_request(csv: &str) -> LoadRequest {
    let input = Input {
        name: "a.csv".to_owned(),
        format: InputFormat::Csv,
        encoding: None,
        bytes: csv.to_owned().into(),
    };
    LoadRequest {
        inputs: vec![input],
        author: "test".to_owned(),
        message: None,
        now_ms: NOW_MS,
        options: LoadOptions::default(),
        progress: Progress::default(),
    }
}

pub(crate) async fn load(table: &Table, csv: &str) -> Result<Loaded, Error> {
    table.load(csv_request(csv)).await
}
