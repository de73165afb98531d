//! The functions give the same whatever the number of threads, the size of batches and the memory.

use didymium_engine::Limits;

use crate::server::TestServer;

/// 23 series of ten years of months with holes, NULLs, zeros and negative values, in no order.
const SERIES: &str = "WITH t AS (
  SELECT s.value AS series, c.period_start, c.period_end,
         CASE WHEN (s.value + c.month) % 19 <> 0
              THEN CAST((s.value * 7919 + c.month * 104729) % 1000 - 200 AS DOUBLE) END AS value
  FROM generate_series(1, 23) s
  CROSS JOIN (SELECT period_start, period_end, row_number() OVER (ORDER BY period_start) AS month
              FROM calendar(DATE '2015-01-01', DATE '2024-12-31', INTERVAL '1 month')) c
  WHERE (s.value * 31 + c.month * 17) % 11 <> 0
)";

const WINDOW: &str = "OVER (PARTITION BY series ORDER BY period_start, period_end)";

fn questions() -> Vec<String> {
    let windows = [
        "yoy(value, period_start, period_end)",
        "qoq(value, period_start, signed => true)",
        "mom_reason(value, period_start, period_end)",
        "change(value, period_start, INTERVAL '1 year', match => 'M')",
        "prior(value, period_start, INTERVAL '2 months', tolerance => INTERVAL '40 days')",
        "ytd(value, period_start, period_end, 7)",
        "locf(value, period_start, INTERVAL '2 months')",
        "interpolate(value, period_start)",
        "index_to(value, period_start, DATE '2016-03-01')",
    ];
    let all: Vec<String> = windows
        .iter()
        .enumerate()
        .map(|(number, call)| format!("{call} {WINDOW} AS r{number}"))
        .collect();
    let mut questions: Vec<String> = vec![
        // Together, and those that stream without one that does not.
        format!("SELECT series, period_start, {} FROM t ORDER BY series, period_start", all.join(", ")),
        format!("SELECT series, period_start, {} FROM t ORDER BY series, period_start", all[..7].join(", ")),
        "SELECT series, cagr(value, period_start), execution_rate(abs(value), 1000), sum(CAST(value AS BIGINT))
         FROM t WHERE value > 0 GROUP BY series ORDER BY series"
            .to_owned(),
        "SELECT series, time_bucket_gapfill(INTERVAL '1 month', period_start) AS month, locf(sum(value)),
                interpolate(sum(value), INTERVAL '2 months'), count(*)
         FROM t GROUP BY series, month ORDER BY series, month"
            .to_owned(),
        "SELECT a.series, a.period_end, b.period_start, b.value FROM t a
         ASOF JOIN (SELECT * FROM t WHERE value > 300) b
           MATCH_CONDITION (a.period_end >= b.period_start AND b.period_start >= a.period_end - INTERVAL '3 months')
           ON a.series = b.series
         ORDER BY a.series, a.period_end"
            .to_owned(),
    ];
    for question in &mut questions {
        *question = format!("{SERIES} {question}");
    }
    questions
}

async fn answers(limits: Limits) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::empty(folder.path(), limits).await;
    server.answers(&questions()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_threads_nor_batches_nor_memory_change_a_result() {
    let expected = answers(Limits {
        threads: 1,
        ..Limits::default()
    })
    .await;
    assert!(expected.iter().all(|answer| answer.lines().count() > 20));
    for (threads, batch_rows, memory_bytes) in [
        (1, 7, 1 << 30),
        (2, 1, 1 << 30),
        (2, 8192, 4 << 20),
        (8, 7, 1 << 30),
        (8, 8192, 16 << 20),
    ] {
        let limits = Limits {
            threads,
            batch_rows,
            memory_bytes,
            ..Limits::default()
        };
        let found = answers(limits).await;
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                found == expected,
                "question {number} with {threads} threads, {batch_rows} rows a batch and {memory_bytes} bytes"
            );
        }
    }
}
