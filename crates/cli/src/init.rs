//! `didymium init`: a store with the shipped figures.

use didymium_store::{
    Declaration, Error, Input, InputFormat, LoadOptions, LoadRequest, Progress, Store,
};

use crate::args::InitArgs;
use crate::builtin::TABLES;
use crate::failure::Failure;
use crate::now_ms;

/// Makes what is missing, so that an interrupted `init` is finished by the next one.
pub(crate) async fn run(args: InitArgs) -> Result<(), Failure> {
    let store = Store::create(args.store).await?;
    for builtin in TABLES {
        let declaration = Declaration::parse(builtin.declaration)?;
        let table = match store.create_table(&declaration, now_ms()).await {
            Err(Error::AlreadyExists(_)) => store.table(builtin.name).await?,
            made => made?,
        };
        let file = format!("data/{}.csv", builtin.name);
        let input = Input {
            name: file.clone(),
            format: InputFormat::Csv,
            encoding: None,
            bytes: builtin.csv.as_bytes().into(),
        };
        let request = LoadRequest {
            inputs: vec![input],
            author: concat!("didymium ", env!("CARGO_PKG_VERSION")).to_owned(),
            message: Some(format!("the shipped figures, {file}")),
            now_ms: now_ms(),
            options: LoadOptions::default(),
            progress: Progress::default(),
        };
        let loaded = table.load(request).await?;
        let was_there = if loaded.repeated { " (was there)" } else { "" };
        eprintln!("{:<17} {:>5} rows{was_there}", builtin.name, loaded.rows);
    }
    eprintln!("the store is in {}", store.location());
    Ok(())
}
