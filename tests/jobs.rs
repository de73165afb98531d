//! Jobs by a clock that the tests set: none runs twice, none is lost silently, and each can be made again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use didymium_engine::{Clock, Engine, Grants, Limits, QueryRequest};
use didymium_jobs::{
    Definition, Job, JobState, Owner, Owners, Run, RunKind, RunStatus, Scheduler, Settings,
    Webhooks, logical_time,
};
use didymium_store::{Exports, Store};
use tokio_util::sync::CancellationToken;

use crate::figures::{load, output_csv, output_row, output_table};

/// A clock of a test's own.
macro_rules! clock {
    ($start:literal) => {{
        static NOW: AtomicI64 = AtomicI64::new(0);
        NOW.store(ms($start), Ordering::SeqCst);
        (&NOW, || NOW.load(Ordering::SeqCst))
    }};
}

fn ms(time: &str) -> i64 {
    logical_time::parse(time).unwrap()
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Everybody may run jobs, but for whoever is called `revoked`.
#[derive(Debug)]
struct Everybody;

#[async_trait]
impl Owners for Everybody {
    async fn owner(&self, id: &str) -> Result<Option<Owner>, didymium_jobs::Error> {
        Ok((id != "revoked").then(|| owner(id)))
    }
}

fn owner(id: &str) -> Owner {
    Owner {
        id: id.to_owned(),
        name: id.to_owned(),
        grants: Grants::All,
        may_write: true,
        oversees: true,
    }
}

/// A store whose jobs run.
struct Place {
    _folder: tempfile::TempDir,
    store: Arc<Store>,
    clock: Clock,
}

impl Place {
    async fn new(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::create(folder.path()).await.unwrap());
        Self {
            _folder: folder,
            store,
            clock,
        }
    }

    fn engine(&self) -> Arc<Engine> {
        let store = Arc::clone(&self.store);
        Arc::new(Engine::new(store, Limits::default(), self.clock).unwrap())
    }

    /// Another server over the store.
    fn scheduler(&self) -> Scheduler {
        let settings = Settings {
            slots: 2,
            lease: Duration::from_secs(5),
            history: Duration::from_secs(90 * 24 * 3600),
            exports: Exports::within(&self.store),
            webhooks: Webhooks::default(),
        };
        Scheduler::new(self.engine(), Arc::new(Everybody), settings)
    }

    async fn text(&self, sql: &str) -> String {
        let request = QueryRequest {
            sql: sql.to_owned(),
            may_write: true,
            ..QueryRequest::default()
        };
        let mut result = self.engine().query(request).await.unwrap();
        let mut rows: Vec<RecordBatch> = Vec::new();
        while let Some(batch) = result.next().await {
            rows.push(batch.unwrap());
        }
        pretty_format_batches(&rows).unwrap().to_string()
    }
}

async fn create(scheduler: &Scheduler, toml: &str, now_ms: i64) -> Job {
    let definition = Definition::parse(toml).unwrap();
    let owner = owner("ana");
    scheduler.validate(&definition, &owner).await.unwrap();
    let made = scheduler.jobs().create(definition, &owner, now_ms).await;
    made.unwrap()
}

/// Lets a server run until its history has so many runs, and a little longer: no more must come.
async fn until(scheduler: &Scheduler, runs: usize) -> Vec<Run> {
    let stop = CancellationToken::new();
    let watch = async {
        for _ in 0..2000 {
            if scheduler.runs(None, None, None, 1000).await.unwrap().len() >= runs {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        scheduler.wake();
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.cancel();
    };
    tokio::join!(scheduler.run(stop.clone()), watch);
    let mut found = scheduler.runs(None, None, None, 1000).await.unwrap();
    found.reverse();
    assert_eq!(found.len(), runs, "{found:#?}");
    found
}

fn told(runs: &[Run]) -> Vec<(String, &str, &str)> {
    runs.iter()
        .map(|run| {
            let time = logical_time::text(run.logical_ms);
            (time, run.kind.name(), run.status.name())
        })
        .collect()
}

fn hourly(catch_up: &str) -> String {
    format!(
        r#"
        name = "hourly"
        sql = "SELECT $run_time AS run_time, $run_date AS run_date"
        schedule = {{ cron = "0 * * * *", zone = "UTC" }}
        target = {{ table = "hours", mode = "append" }}
        policy = {{ catch_up = "{catch_up}" }}
        "#
    )
}

/// The server is down over three fires.
async fn missed_three(
    now: &AtomicI64,
    clock: Clock,
    catch_up: &str,
    settled: usize,
) -> (Place, Vec<Run>) {
    let place = Place::new(clock).await;
    create(&place.scheduler(), &hourly(catch_up), clock()).await;
    now.fetch_add(3 * HOUR, Ordering::SeqCst);
    let runs = until(&place.scheduler(), settled).await;
    (place, runs)
}

#[tokio::test]
async fn all_of_three_missed_runs_are_made_up_for() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let (place, runs) = missed_three(now, clock, "all", 3).await;
    let succeeded = "succeeded";
    assert_eq!(
        told(&runs),
        [
            ("2026-05-31T07:00:00Z".to_owned(), "catch_up", succeeded),
            ("2026-05-31T08:00:00Z".to_owned(), "catch_up", succeeded),
            ("2026-05-31T09:00:00Z".to_owned(), "catch_up", succeeded),
        ]
    );
    let known_by: Vec<_> = runs
        .iter()
        .map(|run| run.known_by.unwrap().to_string())
        .collect();
    assert_eq!(known_by, ["2026-05-31"; 3], "what was known on their day");
    let hours = place.text("SELECT * FROM hours ORDER BY run_time").await;
    assert_eq!(hours.lines().count(), 4 + 3, "{hours}");
    // Another server finds nothing to do.
    until(&place.scheduler(), 3).await;
}

#[tokio::test]
async fn of_three_missed_runs_the_latest_is_made_up_for() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let (_place, runs) = missed_three(now, clock, "latest", 2).await;
    assert_eq!(
        told(&runs),
        [
            ("2026-05-31T08:00:00Z".to_owned(), "scheduled", "skipped"),
            ("2026-05-31T09:00:00Z".to_owned(), "catch_up", "succeeded"),
        ]
    );
    let said = runs[0].message.as_deref().unwrap();
    assert!(said.starts_with("2 runs up to this one"), "{said}");
}

#[tokio::test]
async fn of_three_missed_runs_none_is_made_up_for() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let (place, runs) = missed_three(now, clock, "none", 1).await;
    assert_eq!(
        told(&runs),
        [("2026-05-31T09:00:00Z".to_owned(), "scheduled", "skipped")]
    );
    assert_eq!(runs[0].code.as_deref(), Some("SKIPPED_CATCH_UP"));
    assert!(!place.store.has_table("hours").await.unwrap());
    // The next one is in time.
    now.store(ms("2026-05-31T10:00:05Z"), Ordering::SeqCst);
    let runs = until(&place.scheduler(), 2).await;
    assert_eq!(
        told(&runs)[1],
        ("2026-05-31T10:00:00Z".to_owned(), "scheduled", "succeeded")
    );
}

/// Goes through a time in steps while a server runs, and gives the times that it ran a daily job for.
async fn stepped(now: &AtomicI64, clock: Clock, cron: &str, steps: &[i64]) -> Vec<String> {
    let place = Place::new(clock).await;
    let toml = format!(
        r#"
        name = "daily"
        sql = "SELECT $run_time AS run_time"
        schedule = {{ cron = "{cron}", zone = "Europe/Rome" }}
        target = {{ table = "days", mode = "append" }}
        policy = {{ catch_up = "all", catch_up_limit = 1000 }}
        "#
    );
    let scheduler = place.scheduler();
    let job = create(&scheduler, &toml, clock()).await;
    let stop = CancellationToken::new();
    let walk = async {
        for step in steps {
            now.fetch_add(*step, Ordering::SeqCst);
            // Whatever is due by now is settled before the clock goes on.
            loop {
                scheduler.wake();
                tokio::time::sleep(Duration::from_millis(30)).await;
                let cursor = scheduler.runs(None, None, None, 1).await.unwrap();
                let cursor = cursor
                    .first()
                    .map_or(job.active_since_ms, |run| run.logical_ms);
                let due = job
                    .definition
                    .schedule
                    .due(cursor.max(job.active_since_ms), clock(), 1);
                if due.count == 0 {
                    break;
                }
            }
        }
        stop.cancel();
    };
    tokio::join!(scheduler.run(stop.clone()), walk);
    let mut runs = scheduler.runs(None, None, None, 1000).await.unwrap();
    runs.reverse();
    assert!(
        runs.iter().all(|run| run.status == RunStatus::Succeeded),
        "{runs:#?}"
    );
    let count = place
        .text("SELECT count(*) = count(DISTINCT run_time) AS once, count(*) AS n FROM days")
        .await;
    assert!(
        count.contains(&format!("| true | {} |", runs.len())),
        "{count}"
    );
    runs.iter()
        .map(|run| logical_time::text(run.logical_ms))
        .collect()
}

#[tokio::test]
async fn where_the_clock_leaves_an_hour_out_a_daily_job_runs_once_a_day() {
    let (now, clock) = clock!("2026-03-28T00:00:00Z");
    let runs = stepped(now, clock, "30 2 * * *", &[HOUR; 72]).await;
    assert_eq!(
        runs,
        [
            "2026-03-28T01:30:00Z",
            // 02:30 is not on the clock: right after.
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z",
        ]
    );
}

#[tokio::test]
async fn where_the_clock_shows_an_hour_twice_a_daily_job_runs_once_a_day() {
    let (now, clock) = clock!("2026-10-24T00:00:00Z");
    let runs = stepped(now, clock, "30 2 * * *", &[HOUR; 72]).await;
    assert_eq!(
        runs,
        [
            "2026-10-24T00:30:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z",
        ]
    );
}

#[tokio::test]
async fn the_day_that_most_years_lack() {
    let (now, clock) = clock!("2027-12-31T00:00:00Z");
    let day = 24 * HOUR;
    let runs = stepped(
        now,
        clock,
        "0 12 29 2 *",
        &[10 * day, 60 * day, 300 * day, 400 * day],
    )
    .await;
    assert_eq!(runs, ["2028-02-29T11:00:00Z"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_and_forth_runs_nothing_twice() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let steps = [
        HOUR,
        2 * HOUR,
        -2 * HOUR,
        30 * MINUTE,
        HOUR,
        -2 * HOUR,
        2 * HOUR,
        2 * HOUR,
    ];
    let runs = stepped(now, clock, "0 * * * *", &steps).await;
    let hours = (7..=11).map(|hour| format!("2026-05-31T{hour:02}:00:00Z"));
    assert_eq!(runs, hours.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replay_gives_the_same_rows_and_the_same_file_after_revisions() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let place = Place::new(clock).await;
    let table = output_table(&place.store).await;
    let rows = [output_row("a", 2024, 1, "1"), output_row("a", 2024, 2, "2")];
    load(&table, &output_csv(&rows)).await.unwrap();
    let scheduler = place.scheduler();
    let toml = r#"
        name = "report"
        sql = "SELECT mine, period_end, value, $least AS least FROM output WHERE value >= $least ORDER BY 1, 2, 3, 4"
        schedule = { cron = "0 6 * * *" }
        target = { file = "reports/{job}-{run_time}.parquet" }
        parameters = { least = 1 }
    "#;
    let job = create(&scheduler, toml, clock()).await;
    let at = ms("2026-05-30T06:00:00Z");
    let run = scheduler.run_now(&job, at, RunKind::Manual).await.unwrap();
    assert_eq!(run.status, RunStatus::Succeeded, "{run:?}");
    assert_eq!(
        run.file.as_deref(),
        Some("reports/report-20260530T060000Z.parquet")
    );
    let revised = output_row("a", 2024, 2, "3").replace("2026-01-01", "2026-05-20");
    let more = [revised, output_row("b", 2024, 1, "7")];
    load(&table, &output_csv(&more)).await.unwrap();
    now.fetch_add(HOUR, Ordering::SeqCst);
    // The job is another one by now; the run was of the one before.
    let changed = Definition::parse(&toml.replace("least = 1", "least = 100")).unwrap();
    scheduler
        .jobs()
        .update(changed, &owner("ana"), clock())
        .await
        .unwrap();
    let replayed = place.scheduler().replay(&job, at).await.unwrap();
    assert_eq!((replayed.rows, replayed.rows_equal), (2, true));
    assert_eq!(replayed.file_equal, Some(true));
    let again = scheduler
        .run_now(&job, at, RunKind::Manual)
        .await
        .unwrap_err();
    assert!(again.to_string().contains("can't land twice"), "{again}");
    let fresh = scheduler
        .run_now(&job, clock(), RunKind::Manual)
        .await
        .unwrap();
    assert_eq!(fresh.rows, Some(3), "the newest figures");
}

#[tokio::test]
async fn rows_go_in_the_place_of_those_of_their_period() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let place = Place::new(clock).await;
    let scheduler = place.scheduler();
    let toml = r#"
        name = "months"
        sql = "SELECT $period_start AS period_start, $period_end AS period_end, x AS n FROM generate_series(1, CAST($size AS BIGINT)) AS t(x)"
        schedule = { cron = "0 0 1 * *" }
        target = { table = "months", mode = "replace_period" }
        parameters = { size = 3 }
    "#;
    let job = create(&scheduler, toml, clock()).await;
    for at in ["2026-04-01", "2026-05-01"] {
        let run = scheduler
            .run_now(&job, ms(at), RunKind::Backfill)
            .await
            .unwrap();
        assert_eq!(run.status, RunStatus::Succeeded, "{run:?}");
    }
    now.fetch_add(HOUR, Ordering::SeqCst);
    let smaller = Definition::parse(&toml.replace("size = 3", "size = 2")).unwrap();
    let job = scheduler
        .jobs()
        .update(smaller, &owner("ana"), clock())
        .await
        .unwrap();
    // Another run for the same month.
    let again = ms("2026-05-02");
    let run = scheduler
        .run_now(&job, again, RunKind::Manual)
        .await
        .unwrap();
    assert_eq!(run.status, RunStatus::Succeeded, "{run:?}");
    let rows = place
        .text("SELECT period_end, count(*) AS n FROM months GROUP BY 1 ORDER BY 1")
        .await;
    assert!(
        rows.contains("| 2026-03-31 | 3 |") && rows.contains("| 2026-04-30 | 2 |"),
        "{rows}"
    );
}

#[tokio::test]
async fn new_vintages_only_where_they_say_something_new() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let place = Place::new(clock).await;
    output_table(&place.store).await;
    let scheduler = place.scheduler();
    let toml = r#"
        name = "computed"
        sql = "SELECT 'a' AS mine, 'output' AS measure, DATE '2024-01-01' AS period_start, DATE '2024-01-31' AS period_end, 'M' AS frequency, false AS cumulative, CAST($value AS DOUBLE) AS value, 't' AS unit, 'REO' AS basis, 'final' AS status, 'day' AS published_precision, 1 AS statement"
        schedule = { cron = "0 6 * * *" }
        target = { table = "output", mode = "upsert" }
        parameters = { value = 5 }
    "#;
    let job = create(&scheduler, toml, clock()).await;
    for _ in 0..2 {
        let run = scheduler
            .run_now(&job, clock(), RunKind::Manual)
            .await
            .unwrap();
        assert_eq!(run.status, RunStatus::Succeeded, "{run:?}");
        now.fetch_add(24 * HOUR, Ordering::SeqCst);
    }
    let other = Definition::parse(&toml.replace("value = 5", "value = 6")).unwrap();
    let job = scheduler
        .jobs()
        .update(other, &owner("ana"), clock())
        .await
        .unwrap();
    scheduler
        .run_now(&job, clock(), RunKind::Manual)
        .await
        .unwrap();
    let rows = place
        .text("SELECT value, published_on, source_id FROM all_vintages('output') ORDER BY published_on")
        .await;
    let expected = [
        "5.0   | 2026-05-31   | job_computed",
        "6.0   | 2026-06-02   | job_computed",
    ];
    assert!(expected.iter().all(|row| rows.contains(row)), "{rows}");
    assert_eq!(rows.lines().count(), 4 + 2, "{rows}");
}

#[tokio::test]
async fn what_a_check_finds_does_not_land() {
    let (_now, clock) = clock!("2026-05-31T06:30:00Z");
    let place = Place::new(clock).await;
    let scheduler = place.scheduler();
    let toml = r#"
        name = "checked"
        sql = "SELECT x AS n FROM generate_series(1, 3) AS t(x)"
        schedule = { cron = "0 6 * * *" }
        target = { table = "checked", mode = "replace" }
        checks = [{ name = "no three", sql = "SELECT n FROM result WHERE n = 3" }]
    "#;
    let job = create(&scheduler, toml, clock()).await;
    let run = scheduler
        .run_now(&job, clock(), RunKind::Manual)
        .await
        .unwrap();
    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(run.code.as_deref(), Some("CHECK_FAILED"));
    assert_eq!(
        run.message.as_deref(),
        Some("the check 'no three' found 1 row: n=3")
    );
    assert_eq!(run.attempts, 1);
    assert!(!place.store.has_table("checked").await.unwrap());
}

#[tokio::test]
async fn whose_token_was_revoked_runs_nothing_and_the_job_is_suspended() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let place = Place::new(clock).await;
    let scheduler = place.scheduler();
    let definition = hourly("all").replace("catch_up =", "suspend_after = 2, catch_up =");
    let definition = Definition::parse(&definition).unwrap();
    let jobs = scheduler.jobs();
    let job = jobs
        .create(definition, &owner("revoked"), clock())
        .await
        .unwrap();
    now.fetch_add(4 * HOUR, Ordering::SeqCst);
    let runs = until(&scheduler, 2).await;
    assert!(
        runs.iter()
            .all(|run| run.code.as_deref() == Some("UNAUTHENTICATED")),
        "{runs:#?}"
    );
    assert_eq!(
        scheduler.status(&job).await.unwrap().state,
        JobState::Suspended
    );
    let resumed = jobs.set_paused("hourly", false, clock()).await.unwrap();
    assert_eq!(
        scheduler.status(&resumed).await.unwrap().state,
        JobState::Active
    );
}

#[tokio::test]
async fn jobs_that_would_start_themselves_are_refused() {
    let (_now, clock) = clock!("2026-05-31T06:30:00Z");
    let place = Place::new(clock).await;
    let scheduler = place.scheduler();
    let job = |name: &str, schedule: &str, table: &str| {
        format!(
            r#"
            name = "{name}"
            sql = "SELECT 1 AS x"
            schedule = {{ {schedule} }}
            target = {{ table = "{table}" }}
            "#
        )
    };
    for made in [
        job("first", "on_commit = \"third\"", "first"),
        job("second", "after = \"first\"", "second"),
    ] {
        let made = Definition::parse(&made).unwrap();
        let made = scheduler.jobs().create(made, &owner("ana"), clock()).await;
        made.unwrap();
    }
    let third = job("third", "after = \"second\"", "third");
    let third = Definition::parse(&third).unwrap();
    let refused = scheduler.jobs().create(third, &owner("ana"), clock()).await;
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("it would start itself: third, then first, then second, then third"),
        "{said}"
    );
}

#[tokio::test]
async fn old_runs_are_forgotten_and_how_far_a_job_has_come_is_not() {
    let (now, clock) = clock!("2026-01-31T06:30:00Z");
    let (place, _) = missed_three(now, clock, "all", 3).await;
    now.fetch_add(100 * 24 * HOUR, Ordering::SeqCst);
    let scheduler = place.scheduler();
    scheduler
        .jobs()
        .set_paused("hourly", true, clock())
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let watch = async {
        while scheduler.runs(None, None, None, 10).await.unwrap().len() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
    };
    tokio::join!(scheduler.run(stop.clone()), watch);
    let left = scheduler.runs(None, None, None, 10).await.unwrap();
    assert_eq!(
        told(&left),
        [("2026-01-31T09:00:00Z".to_owned(), "catch_up", "succeeded")]
    );
}

#[tokio::test]
async fn the_stores_own_tables_are_nobodys_to_name() {
    let (now, clock) = clock!("2026-05-31T06:30:00Z");
    let (place, _) = missed_three(now, clock, "all", 3).await;
    let request = QueryRequest {
        sql: "SELECT * FROM _job_runs".to_owned(),
        may_write: true,
        ..QueryRequest::default()
    };
    let error = place.engine().query(request).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no table _job_runs");
    let listed = place.text("SELECT table_name FROM system.tables").await;
    assert!(!listed.contains("job_runs"), "{listed}");
    assert!(
        Path::new(&place.store.location().to_string())
            .join("_job_runs")
            .is_dir()
    );
}
