//! `didymium load`: files into a table.

mod upload;
mod watch;

use std::path::Path;

use didymium_store::{
    Input, InputFormat, LoadOptions, LoadRequest, Loaded, Mapping, Progress, Store,
};

use crate::args::LoadArgs;
use crate::failure::{Failure, read_text};
use crate::now_ms;
use crate::target::Target;

/// Loads all files in one commit.
pub(crate) async fn run(args: LoadArgs) -> Result<(), Failure> {
    let began = std::time::Instant::now();
    let (table, dry_run) = (args.table.clone(), args.dry_run);
    let (loaded, declaration) = match Target::of(&args.target).await? {
        Target::Store(store) => load(&store, args).await?,
        Target::Server(channel) => upload::load(channel, args).await?,
    };
    if let Some(declaration) = declaration {
        eprintln!("{declaration}");
    }
    tell(&table, &loaded, dry_run, began.elapsed());
    Ok(())
}

/// What a load did, and the declaration of the table that it made.
type Done = (Loaded, Option<String>);

async fn load(store: &Store, args: LoadArgs) -> Result<Done, Failure> {
    let options = options(&args)?;
    let inputs = args
        .files
        .iter()
        .map(|file| read(file, args.encoding.as_deref()))
        .collect::<Result<Vec<_>, _>>()?;
    let progress = Progress::default();
    let request = LoadRequest {
        inputs,
        author: author(),
        message: args.message,
        now_ms: now_ms(),
        options,
        progress: progress.clone(),
    };
    let load = async { Ok(store.load(&args.table, request, args.create).await?) };
    let (loaded, declaration) = watch::watched(&progress, load).await?;
    Ok((loaded, declaration.map(|it| it.to_toml()).transpose()?))
}

/// Who commits, as the machine knows them.
pub(crate) fn author() -> String {
    std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned())
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
        replace: args.replace,
        dry_run: args.dry_run,
        ..LoadOptions::default()
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
        told.push_str(&format!(" ({rate:.0} rows/s, load {load_id})"));
    }
    eprintln!("{told}");
}

fn read(file: &Path, encoding: Option<&str>) -> Result<Input, Failure> {
    let (name, format) = named(file)?;
    let bytes = std::fs::read(file).map_err(|error| unreadable(file, &error))?;
    Ok(Input {
        name,
        format,
        encoding: encoding.map(str::to_owned),
        bytes: bytes.into(),
    })
}

/// A file's own name, and its form by the name's ending.
fn named(file: &Path) -> Result<(String, InputFormat), Failure> {
    let name = file.file_name().unwrap_or(file.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let format = InputFormat::of_name(&name).ok_or_else(|| {
        Failure::usage(format!(
            "{}: a file to load ends in .csv, .tsv, .ndjson, .parquet or .arrow",
            file.display()
        ))
    })?;
    Ok((name, format))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::own(format!("{}: {error}", file.display()))
}
