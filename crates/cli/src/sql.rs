//! `didymium sql`: one query.

use crate::args::SqlArgs;
use crate::failure::{Failure, read_text};
use crate::output::write;
use crate::rows::{Question, Rows};

/// Runs the statement and writes its rows.
pub(crate) async fn run(args: SqlArgs) -> Result<(), Failure> {
    let sql = statement(&args).await?;
    let question = Question {
        sql,
        timeout: args.timeout,
        published_as_of: args.published_as_of,
    };
    let rows = Rows::of(&args.target, question).await?;
    write(rows, &args.output).await
}

async fn statement(args: &SqlArgs) -> Result<String, Failure> {
    if let Some(command) = &args.command {
        return Ok(command.clone());
    }
    if let Some(file) = &args.file {
        return read_text(file);
    }
    // On a thread of its own, so that Ctrl-C is heard meanwhile.
    let read = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await;
    Ok(read.map_err(|error| Failure::own(error.to_string()))??)
}
