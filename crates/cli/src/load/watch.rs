//! What a person at a terminal sees of a load while it goes on.

use std::io::IsTerminal;
use std::time::Duration;

use didymium_store::{Progress, Stage};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// How often the line is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);

/// Runs a load and shows its stage meanwhile, on a terminal.
pub(super) async fn watched<T>(
    progress: &Progress,
    load: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let line = bar(None);
    let show = async {
        loop {
            line.set_message(told(&progress.stage()));
            tokio::time::sleep(REDRAW).await;
        }
    };
    let done = tokio::select! {
        done = load => done,
        never = show => never,
    };
    line.finish_and_clear();
    done
}

/// A bar of so many bytes, or a line without an end; nothing where nobody looks.
pub(super) fn bar(bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, form) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec} {msg}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {elapsed} {msg}"),
    };
    bar.enable_steady_tick(REDRAW);
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn told(stage: &Stage) -> String {
    match stage {
        Stage::Waiting => String::new(),
        Stage::Hashing => "hashing".to_owned(),
        Stage::Reading { file, place, of } => format!("reading {file} ({place} of {of})"),
        Stage::Sorting { rows } => format!("sorting {rows} rows"),
        Stage::Comparing => "comparing with the table".to_owned(),
        Stage::Writing { rows } => format!("writing {rows} rows"),
        Stage::Committing => "committing".to_owned(),
    }
}
