//! `didymium load`: files into a table.

use std::path::Path;

use didymium_store::{Input, InputFormat, LoadRequest, Store};

use crate::args::LoadArgs;
use crate::failure::Failure;
use crate::now_ms;

/// Loads all files in one commit.
pub(crate) async fn run(args: LoadArgs) -> Result<(), Failure> {
    let store = Store::open(&args.store)?;
    let table = store.table(&args.table)?;
    let inputs = args
        .files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<_>, _>>()?;
    let request = LoadRequest {
        inputs,
        author: std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned()),
        message: args.message,
        now_ms: now_ms(),
    };
    let loaded = table.load(request).await?;
    let (table, rows, version) = (args.table, loaded.rows, loaded.version);
    if loaded.repeated {
        eprintln!(
            "{table}: these {rows} rows were loaded before, as version {version}; nothing changed"
        );
    } else {
        eprintln!("{table}: {rows} rows, version {version}");
    }
    Ok(())
}

fn read(file: &Path) -> Result<Input, Failure> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let format = match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("csv") => InputFormat::Csv,
        Some("parquet") => InputFormat::Parquet,
        _ => {
            return Err(Failure::usage(format!(
                "{}: a file to load ends in .csv or .parquet",
                file.display()
            )));
        }
    };
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::own(format!("{}: {error}", file.display())))?;
    let name = file
        .file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned();
    Ok(Input {
        name,
        format,
        bytes: bytes.into(),
    })
}
