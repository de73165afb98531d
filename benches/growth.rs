//! Growth on the year and its kin against `lag(value, 12)`, which counts rows and is wrong at every gap: what
//! does the calendar cost? Both run over the same ordered scan, through the server, in one run.

use didymium_benches::{Result, median, serve};

const SERIES: usize = 20_000;
const MONTHS: usize = 306;
const MEMORY: usize = 64 * 1024 * 1024;
const RUNS: usize = 7;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut client, _) = serve(folder.path(), SERIES, MONTHS, MEMORY).await?;
    let over = "OVER (PARTITION BY series ORDER BY period_start, period_end)";
    let lag =
        format!("SELECT sum(g) FROM (SELECT value / lag(value, 12) {over} - 1 AS g FROM output)");
    let questions = [
        ("yoy, pair of dates", format!("SELECT sum(g) FROM (SELECT yoy(value, period_start, period_end) {over} AS g FROM output)")),
        ("yoy, one date", "SELECT sum(g) FROM (SELECT yoy(value, period_start) OVER (PARTITION BY series ORDER BY period_start) AS g FROM output)".to_owned()),
        ("ytd", format!("SELECT sum(g) FROM (SELECT ytd(value, period_start, period_end) {over} AS g FROM output)")),
        ("from_ytd", format!("SELECT sum(g) FROM (SELECT from_ytd_value(value, period_start, period_end) {over} AS g FROM running)")),
        ("locf", format!("SELECT sum(g) FROM (SELECT locf(value, period_start, period_end) {over} AS g FROM output)")),
        ("yoy, ytd and locf", format!("SELECT sum(g), sum(y), sum(l) FROM (SELECT yoy(value, period_start, period_end) {over} AS g, ytd(value, period_start, period_end) {over} AS y, locf(value, period_start, period_end) {over} AS l FROM output)")),
        ("lag, 12 rows", lag.clone()),
    ];
    let mut times = vec![Vec::new(); questions.len()];
    for _ in 0..RUNS {
        // In turn, so that a busy machine slows all of them alike.
        for ((_, sql), times) in questions.iter().zip(&mut times) {
            times.push(client.time(sql).await?);
        }
    }
    let medians: Vec<_> = times.into_iter().map(median).collect();
    let base = medians[questions.len() - 1].as_secs_f64();
    for ((name, _), time) in questions.iter().zip(&medians) {
        eprintln!(
            "{name:<20} {:>7.3} s   {:.2} × lag",
            time.as_secs_f64(),
            time.as_secs_f64() / base
        );
    }
    Ok(())
}
