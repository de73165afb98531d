//! `didymium store`: looking after a store.

use std::time::Duration;

use bytesize::ByteSize;
use didymium_store::{Backup, Forgotten, Problem, Purge, Store};

use crate::args::StoreCommand;
use crate::failure::Failure;
use crate::load::author;
use crate::now_ms;

/// Compacts, verifies, cleans, purges or copies.
pub(crate) async fn run(command: StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Compact { tables, store } => {
            compact(&Store::open(store.store).await?, tables).await
        }
        StoreCommand::Verify { store } => verify(&Store::open(store.store).await?).await,
        StoreCommand::Clean {
            grace,
            history_retention,
            store,
        } => {
            let store = Store::open(store.store).await?;
            let deleted = store.clean(now_ms(), millis(grace)).await?;
            eprintln!("{deleted} files deleted that no commit names");
            match history_retention {
                Some(time) => forget(&store, now_ms().saturating_sub(millis(time))).await,
                None => Ok(()),
            }
        }
        StoreCommand::Purge {
            table,
            rows,
            reason,
            store,
        } => {
            let purge = match (rows.source, rows.load) {
                (Some(source), _) => Purge::Source(source),
                (None, Some(load)) => Purge::Load(load),
                (None, None) => return Err(Failure::usage("name a --source or a --load")),
            };
            let store = Store::open(store.store).await?;
            purge_rows(&store, &table, &purge, &reason).await
        }
        StoreCommand::Backup { to, store } => {
            let place = to.to_string();
            let backup = Store::open(store.store).await?.back_up(to).await?;
            eprintln!("{} in {place}", told(&backup));
            Ok(())
        }
        StoreCommand::Restore { backup, store } => {
            let place = store.store.to_string();
            let restored = Store::restore(backup, store.store).await?;
            eprintln!("{} in {place}", told(&restored));
            Ok(())
        }
    }
}

fn told(backup: &Backup) -> String {
    format!(
        "{} tables, {} files, {}",
        backup.tables.len(),
        backup.files,
        ByteSize(backup.bytes)
    )
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

async fn forget(store: &Store, before_ms: i64) -> Result<(), Failure> {
    for name in store.table_names().await? {
        let table = store.table(&name).await?;
        let Forgotten { oldest, files } =
            table.forget_before(before_ms, &author(), now_ms()).await?;
        if files > 0 {
            eprintln!(
                "{name}: {files} files of old versions deleted; the oldest that can be read is {oldest}"
            );
        }
    }
    Ok(())
}

async fn compact(store: &Store, tables: Vec<String>) -> Result<(), Failure> {
    if !tables.is_empty() {
        for name in tables {
            compact_table(store, &name).await?;
        }
        return Ok(());
    }
    // One table that can't be read keeps the others from nothing.
    let mut failed = Vec::new();
    for name in store.table_names().await? {
        if let Err(failure) = compact_table(store, &name).await {
            eprintln!("{name}: {}", failure.message);
            failed.push(name);
        }
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(Failure::own(format!(
            "not compacted: {}",
            failed.join(", ")
        ))),
    }
}

async fn compact_table(store: &Store, name: &str) -> Result<(), Failure> {
    let table = store.table(name).await?;
    let done = table.compact(&author(), now_ms()).await?;
    match done.merged {
        0 => eprintln!("{name}: nothing to merge"),
        merged => eprintln!(
            "{name}: {merged} files merged into {}, version {}",
            done.into, done.version
        ),
    }
    Ok(())
}

async fn verify(store: &Store) -> Result<(), Failure> {
    let verified = store.verify().await?;
    let mut damaged = 0;
    for finding in &verified.findings {
        let file = match finding.file.as_str() {
            "" => "the log".to_owned(),
            file => file.to_owned(),
        };
        let problem = match finding.problem {
            Problem::Damaged => {
                damaged += 1;
                "damaged or missing"
            }
            Problem::Unsupported => "has a feature that is not read, and was not checked",
            Problem::Unchecked => "written by another program, without a checksum",
        };
        #[expect(clippy::print_stdout, reason = "the result, a line for each file")]
        {
            println!("{}\t{file}\t{problem}", finding.table);
        }
    }
    let (files, bytes) = (verified.files, ByteSize(verified.bytes));
    eprintln!("{files} files, {bytes}: {damaged} damaged or missing");
    match damaged {
        0 => Ok(()),
        _ => Err(Failure::own(format!(
            "{damaged} files are damaged or missing: restore them from a backup"
        ))),
    }
}

async fn purge_rows(
    store: &Store,
    table: &str,
    purge: &Purge,
    reason: &str,
) -> Result<(), Failure> {
    let done = store
        .table(table)
        .await?
        .purge(purge, reason, &author(), now_ms())
        .await?;
    let lost = match done.lost_versions {
        None => "no older version is lost".to_owned(),
        Some((first, last)) => format!("versions {first} to {last} can't be read any more"),
    };
    eprintln!(
        "{table}: {} rows taken out, {} files deleted, version {}; {lost}",
        done.rows, done.files, done.version
    );
    Ok(())
}
