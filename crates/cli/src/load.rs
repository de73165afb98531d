//! `didymium load`: files into a table.

use std::path::Path;

use didymium_store::{
    Declaration, Input, InputFormat, LoadOptions, LoadRequest, Loaded, Mapping, Store, infer,
};

use crate::args::LoadArgs;
use crate::failure::{Failure, read_text};
use crate::now_ms;

/// Loads all files in one commit.
pub(crate) async fn run(args: LoadArgs) -> Result<(), Failure> {
    let store = Store::open(args.store.clone()).await?;
    let options = options(&args)?;
    let inputs = args
        .files
        .iter()
        .map(|file| read(file, args.encoding.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    if args.create && !store.has_table(&args.table).await? {
        let declaration = infer(&args.table, &inputs, &options)?;
        eprintln!("{}", shown(&declaration)?);
        if args.dry_run {
            eprintln!("{}: nothing was made, this is a dry run", args.table);
            return Ok(());
        }
        store.create_table(&declaration, now_ms()).await?;
    }
    let table = store.table(&args.table).await?;
    let request = LoadRequest {
        inputs,
        author: author(),
        message: args.message,
        now_ms: now_ms(),
        options,
    };
    let began = std::time::Instant::now();
    let loaded = table.load(request).await?;
    tell(&args.table, &loaded, args.dry_run, began.elapsed());
    Ok(())
}

/// Who commits, as the machine knows them.
pub(crate) fn author() -> String {
    std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned())
}

/// A declaration as its TOML file has it.
pub(crate) fn shown(declaration: &Declaration) -> Result<String, Failure> {
    toml::to_string(declaration).map_err(|error| Failure::own(error.to_string()))
}

fn options(args: &LoadArgs) -> Result<LoadOptions, Failure> {
    let mapping = args
        .map
        .as_deref()
        .map(|file| Ok::<_, Failure>(Mapping::parse(&read_text(file)?)?));
    Ok(LoadOptions {
        mapping: mapping.transpose()?,
        source_id: args.source.clone(),
        published_on: args.published_on,
        load_id: args.load_id.clone(),
        supersede: args.supersede.clone(),
        dry_run: args.dry_run,
    })
}

fn tell(table: &str, loaded: &Loaded, dry_run: bool, took: std::time::Duration) {
    let Loaded {
        version,
        load_id,
        rows,
        unchanged,
        superseded,
        repeated,
    } = loaded;
    if *repeated {
        eprintln!(
            "{table}: these {rows} rows were loaded before, as version {version}; nothing changed"
        );
        return;
    }
    let rate = (rows + unchanged) as f64 / took.as_secs_f64().max(1e-3);
    let mut told = match dry_run {
        true => format!("{table}: {rows} rows would be added"),
        false => format!("{table}: {rows} rows, version {version}"),
    };
    if *unchanged > 0 {
        told.push_str(&format!(", {unchanged} unchanged"));
    }
    if *superseded > 0 {
        told.push_str(&format!(", {superseded} superseded"));
    }
    if dry_run {
        told.push_str("; nothing was written, this is a dry run");
    } else {
        told.push_str(&format!(
            " ({rate:.0} rows/s, load {})",
            &load_id[..load_id.len().min(12)]
        ));
    }
    eprintln!("{told}");
}

fn read(file: &Path, encoding: Option<&str>) -> Result<Input, Failure> {
    let name = file
        .file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned();
    let format = InputFormat::of_name(&name).ok_or_else(|| {
        Failure::usage(format!(
            "{}: a file to load ends in .csv, .tsv, .ndjson, .parquet or .arrow",
            file.display()
        ))
    })?;
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::own(format!("{}: {error}", file.display())))?;
    Ok(Input {
        name,
        format,
        encoding: encoding.map(str::to_owned),
        bytes: bytes.into(),
    })
}
