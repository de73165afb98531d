//! `docs/functions.md` is written from the code, and its examples' results by a real server.

use std::fmt::Write;
use std::fs;

use arrow::util::pretty::pretty_format_batches;
use didymium_engine::{FunctionDoc, Limits, functions};

use crate::figures::{root, shipped};
use crate::server::TestServer;

/// Rows of an example's result that are shown.
const SHOWN_ROWS: usize = 5;

/// With this variable set the test writes the file instead of comparing it.
const UPDATE: &str = "UPDATE_DOCS";

#[tokio::test(flavor = "multi_thread")]
async fn the_functions_page_is_what_the_code_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(shipped(folder.path()).await, Limits::default()).await;
    let mut page = String::from(
        "# Functions and relations\n\n\
         Written by a test from the code's own documentation, each example with the result that a server over the shipped\n\
         figures gives; change the code, not this page, then run `UPDATE_DOCS=1 cargo test --workspace --test all docs`.\n\
         Growth and rates are fractions. The rest of SQL is DataFusion's.\n",
    );
    let kinds = [
        (
            "window",
            "Window functions",
            "Use them `OVER (PARTITION BY series ORDER BY period_start, period_end)`. WHERE runs before a window and would remove bases too: filter with QUALIFY.",
        ),
        (
            "aggregate",
            "Aggregates",
            "Use them with GROUP BY, or over all rows.",
        ),
        ("scalar", "Scalar functions", "Use them anywhere."),
        ("relation", "Relations", "Use them in FROM."),
    ];
    let all = functions();
    for (kind, title, text) in kinds {
        write!(page, "\n## {title}\n\n{text}\n").unwrap();
        for function in all.iter().filter(|function| function.kind == kind) {
            section(&mut page, function, &result(&server, function).await);
        }
    }
    assert!(
        all.iter()
            .all(|it| kinds.iter().any(|(kind, ..)| *kind == it.kind))
    );
    let path = root().join("docs/functions.md");
    if std::env::var_os(UPDATE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = written
        .lines()
        .zip(page.lines())
        .find(|(written, page)| written != page);
    assert!(
        written == page,
        "docs/functions.md is stale, first at {differs:?}: run this test with {UPDATE}=1"
    );
}

/// What the example gives: its first rows, as a client sees them.
async fn result(server: &TestServer, function: &FunctionDoc) -> String {
    let answer = server.query(&function.example).await;
    let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", function.name));
    let mut rows = 0;
    let mut shown = Vec::new();
    for batch in &answer.batches {
        let length = batch.num_rows().min(SHOWN_ROWS - rows);
        shown.push(batch.slice(0, length));
        rows += length;
    }
    assert!(rows > 0, "{}: its example gives no row", function.name);
    let mut text = pretty_format_batches(&shown).unwrap().to_string();
    let all = answer.summary.rows;
    if all > rows as u64 {
        write!(text, "\n… {all} rows").unwrap();
    }
    text
}

fn section(page: &mut String, function: &FunctionDoc, result: &str) {
    write!(page, "\n### {}\n\n", function.name).unwrap();
    write!(page, "`{}`\n\n{}\n", function.syntax, function.description).unwrap();
    if !function.arguments.is_empty() {
        page.push('\n');
    }
    for (name, text) in &function.arguments {
        writeln!(page, "- `{name}`: {text}").unwrap();
    }
    write!(
        page,
        "\n```sql\n{}\n```\n\n```\n{result}\n```\n",
        function.example
    )
    .unwrap();
}
