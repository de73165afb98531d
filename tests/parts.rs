//! Large tables are read in parts, by as many threads, and say the same as if one had read them.

use std::fmt::Write as _;
use std::sync::Arc;

use didymium_engine::Limits;
use didymium_store::{Declaration, Store};

use crate::figures::{NOW_MS, OUTPUT, csv_request, output_table};
use crate::server::TestServer;

const MINES: u32 = 500;
const MONTHS: u32 = 200;

const WINDOW: &str = "OVER (PARTITION BY series ORDER BY period_start, period_end)";

/// Figures by month of every mine but for some holes, each of so many vintages, more than one thread reads.
fn figures(vintages: u32) -> String {
    let mut csv = "mine,period,value,published_on,source_id\n".to_owned();
    for (mine, month) in (0..MINES).flat_map(|mine| (0..MONTHS).map(move |month| (mine, month))) {
        if (mine + month) % 11 == 0 {
            continue;
        }
        let (year, month_of_year) = (2001 + month / 12, month % 12 + 1);
        for vintage in 1..=vintages {
            let value = (mine * 7919 + month * 104_729 + vintage) % 1000;
            let published = year + vintage;
            writeln!(
                csv,
                "mine {mine:03},{year}-{month_of_year:02},{value},{published}-03-01,S"
            )
            .unwrap();
        }
    }
    csv
}

async fn large_tables(store: &Store) {
    for (name, vintages) in [("output", 3), ("early", 1)] {
        let toml = OUTPUT.replacen("output", name, 1);
        let declaration = Declaration::parse(&toml).unwrap();
        let table = store.create_table(&declaration, NOW_MS).await.unwrap();
        table.load(csv_request(&figures(vintages))).await.unwrap();
    }
}

/// Sums of whole numbers, which do not depend on the order of adding.
fn questions() -> Vec<String> {
    let mut questions = vec![
        format!(
            "SELECT count(*), count(growth), sum(CAST(growth * 1e6 AS BIGINT)) FROM (
               SELECT yoy(value, period_start, period_end) {WINDOW} AS growth FROM output)"
        ),
        "SELECT count(*), sum(known) FROM (
           SELECT series, time_bucket_gapfill(INTERVAL '1 month', period_start) AS month, locf(sum(value)) AS known
           FROM output GROUP BY series, month)"
            .to_owned(),
        "SELECT count(*), sum(o.value), sum(e.value), max(e.period_end)
         FROM output o ASOF JOIN early e MATCH_CONDITION (o.period_start >= e.period_end) ON o.mine = e.mine"
            .to_owned(),
        "SELECT count(*), sum(o.value - e.value) FROM output o JOIN early e
         ON o.series = e.series AND o.period_start = e.period_start"
            .to_owned(),
        "SELECT series, count(*), sum(value) FROM output GROUP BY series ORDER BY series".to_owned(),
        "SELECT count(*), sum(to_value - from_value), max(changed_on) FROM revisions('output')".to_owned(),
        "SELECT series, period_start, value FROM output WHERE value > 995 ORDER BY series, period_start".to_owned(),
        "SELECT mine, value FROM output WHERE mine IN ('mine 123', 'mine 400') AND period_start = DATE '2010-05-01'
         ORDER BY mine"
            .to_owned(),
    ];
    for relation in [
        "output",
        "all_vintages('output')",
        "latest('output')",
        "as_of('output', DATE '2010-06-30')",
    ] {
        questions.push(format!(
            "SELECT count(*), count(note), count(value), sum(value), min(mine), max(mine), min(published_on),
                    max(period_end), count(DISTINCT series) FROM {relation}"
        ));
        questions.push(format!("SELECT count(*) FROM {relation}"));
    }
    questions
}

async fn answers(store: &Arc<Store>, threads: usize) -> Vec<String> {
    let limits = Limits {
        threads,
        ..Limits::default()
    };
    let server = TestServer::start(Arc::clone(store), limits).await;
    server.answers(&questions()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_say_what_the_whole_says() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    large_tables(&store).await;
    let expected = answers(&store, 1).await;
    assert!(expected[0].contains("| 90909 "), "{}", expected[0]);
    for threads in [3, 8] {
        let found = answers(&store, threads).await;
        for (question, (found, expected)) in questions().iter().zip(found.iter().zip(&expected)) {
            assert!(
                found == expected,
                "{threads} threads: {question}\n{found}\n{expected}"
            );
        }
    }
    plans_stream(&store).await;

    // A file among the others' series, and one that is compacted with them.
    let late = "mine,period,value,published_on,source_id\nmine 250,2010-05,1,2026-01-01,S\n";
    let table = store.table("output").await.unwrap();
    table.load(csv_request(late)).await.unwrap();
    let expected = answers(&store, 1).await;
    assert_eq!(answers(&store, 2).await, expected);
    table.compact("a test", NOW_MS).await.unwrap();
    assert_eq!(answers(&store, 2).await, expected);
    plans_stream(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_each_file_need_not_be_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::create(folder.path()).await.unwrap());
    let table = output_table(&store).await;
    // By their series' names, "A B/output" comes before "A/output".
    for rows in [
        "0,2020-02,1,S\nA,2020,12,S\n",
        "A B,2020-02,3,S\n",
        "A,2020-02,2,S\n",
    ] {
        let csv = rows.replace(",S", ",2026-01-01,S");
        let csv = format!("mine,period,value,published_on,source_id\n{csv}");
        table.load(csv_request(&csv)).await.unwrap();
    }
    let server = TestServer::start(store, Limits::default()).await;
    let told = async |sql: &str| {
        let words = server.text(sql).await.replace(['|', '+', '-'], " ");
        words
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        told("SELECT mine || ':' || period_end AS it FROM output ORDER BY mine, period_end").await,
        "0:2020 02 29 A:2020 02 29 A:2020 12 31 A B:2020 02 29"
    );
    // The year, of the first file, begins before its February, of the last.
    assert_eq!(
        told("SELECT mine || ':' || period_end AS it FROM output ORDER BY series, period_end")
            .await,
        "0:2020 02 29 A B:2020 02 29 A:2020 02 29 A:2020 12 31"
    );
    let met = "SELECT count(*) || ' met ' || sum(p.value) AS it
               FROM output o ASOF JOIN output p MATCH_CONDITION (o.period_end >= p.period_end) ON o.mine = p.mine";
    assert_eq!(told(met).await, "4 met 18.0");
}

/// No part is hashed, merged or sorted for what is told series by series.
async fn plans_stream(store: &Arc<Store>) {
    let limits = Limits {
        threads: 2,
        ..Limits::default()
    };
    let server = TestServer::start(Arc::clone(store), limits).await;
    for question in &questions()[..2] {
        let plan = server.text(&format!("EXPLAIN {question}")).await;
        assert!(plan.contains("output_partitioning=Range"), "{plan}");
        for operator in ["RepartitionExec", "SortExec", "SortPreservingMergeExec"] {
            assert!(!plan.contains(operator), "{plan}");
        }
    }
    let met = "EXPLAIN SELECT count(p.value) FROM output o
               ASOF JOIN output p MATCH_CONDITION (o.period_start >= p.period_end) ON o.mine = p.mine";
    let plan = server.text(met).await;
    // Mines rise as their series do, and so do the ends of months.
    assert!(!plan.contains("SortExec"), "{plan}");
}
