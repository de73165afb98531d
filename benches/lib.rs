//! What the benchmarks share: a server over a table of many series, and its client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Date32Array, Float64Array, RecordBatch, StringArray};
use didymium_api::v1::QueryRequest;
use didymium_api::v1::query_response::Payload;
use didymium_api::v1::query_service_client::QueryServiceClient;
use didymium_engine::{Engine, Limits};
use didymium_server::{Server, Settings};
use didymium_store::{Declaration, Input, InputFormat, LoadOptions, LoadRequest, Progress, Store};
use parquet::arrow::ArrowWriter;
use tonic::transport::Channel;

/// Whatever goes wrong ends a benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const TABLE: &str = r#"
name = "NAME"
kind = "plain"
description = "Synthetic monthly output of many mines."
key = ["series", "period_start", "period_end"]
[[columns]]
name = "series"
type = "text"
nullable = false
description = "The mine."
[[columns]]
name = "period_start"
type = "date"
nullable = false
description = "The first day."
[[columns]]
name = "period_end"
type = "date"
nullable = false
description = "The last day."
[[columns]]
name = "value"
type = "double"
description = "Tonnes."
"#;

/// A client of a server that runs in this process.
#[derive(Debug)]
pub struct Client {
    client: QueryServiceClient<Channel>,
}

/// Serves a store with `series` series of `months` months, every 50th of them missing, under a
/// memory limit: the table `output` by month, and `running` as totals of the year so far. The folder
/// is the store's.
///
/// # Errors
/// Whatever the store or the server says.
pub async fn serve(
    folder: &std::path::Path,
    series: usize,
    months: usize,
    memory_bytes: usize,
) -> Result<(Client, usize)> {
    let store = Arc::new(Store::create(folder).await?);
    let mut count = 0;
    for (name, form) in [("output", Form::Monthly), ("running", Form::Running)] {
        let rows = rows(series, months, form)?;
        count = rows.num_rows();
        let bytes = fill(&store, name, &rows).await?;
        eprintln!(
            "{name}: {count} rows in {series} series, {} MiB of Parquet",
            bytes >> 20
        );
    }

    let engine = Arc::new(Engine::new(
        store,
        Limits {
            memory_bytes,
            ..Limits::default()
        },
        || 0,
    )?);
    let server = Server::bind("127.0.0.1:0", engine, Settings::default()).await?;
    let address = server.address()?;
    #[expect(clippy::disallowed_methods, reason = "it ends with the benchmark")]
    tokio::spawn(server.run(std::future::pending()));
    let client = QueryServiceClient::connect(format!("http://{address}")).await?;
    Ok((Client { client }, count))
}

/// Makes a table of these rows, and says how large its files are.
async fn fill(store: &Store, name: &str, rows: &RecordBatch) -> Result<u64> {
    let declaration = Declaration::parse(&TABLE.replace("NAME", name))?;
    let table = store.create_table(&declaration, 0).await?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None)?;
    writer.write(rows)?;
    writer.close()?;
    let input = Input {
        name: name.to_owned(),
        format: InputFormat::Parquet,
        encoding: None,
        bytes: bytes.into(),
    };
    let request = LoadRequest {
        inputs: vec![input],
        author: "bench".to_owned(),
        message: None,
        now_ms: 0,
        options: LoadOptions::default(),
        progress: Progress::default(),
    };
    table.load(request).await?;
    Ok(table.snapshot().await?.bytes())
}

impl Client {
    /// Runs a query to its end and says how long it took.
    ///
    /// # Errors
    /// The server's status.
    pub async fn time(&mut self, sql: &str) -> Result<Duration> {
        let start = Instant::now();
        let request = QueryRequest {
            sql: sql.to_owned(),
            ..QueryRequest::default()
        };
        let mut replies = self.client.query(request).await?.into_inner();
        let mut complete = false;
        while let Some(reply) = replies.message().await? {
            complete = matches!(reply.payload, Some(Payload::Summary(_)));
        }
        if !complete {
            return Err("the answer was cut off".into());
        }
        Ok(start.elapsed())
    }
}

/// The middle of some times.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// What a row states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One month.
    Monthly,
    /// The year from January on.
    Running,
}

fn rows(series: usize, months: usize, form: Form) -> Result<RecordBatch> {
    let (mut names, mut starts, mut ends, mut values) = (vec![], vec![], vec![], vec![]);
    // A fixed sequence that looks random: the same table in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for mine in 0..series {
        let mut level = 1000.0;
        let mut total = 0.0;
        for month in 0..months {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state.is_multiple_of(50) {
                continue;
            }
            level = f64::max(level + (state % 2001) as f64 / 10.0 - 100.0, 1.0);
            let (first, last) = month_days(month as i64);
            let (january, _) = month_days((month / 12 * 12) as i64);
            let value = (level * 10.0).round() / 10.0;
            total = if month % 12 == 0 {
                value
            } else {
                total + value
            };
            let (first, value) = match form {
                Form::Monthly => (first, value),
                Form::Running => (january, total),
            };
            names.push(format!("mine {mine:05}"));
            starts.push(first);
            ends.push(last);
            values.push(value);
        }
    }
    let columns: [(&str, ArrayRef); 4] = [
        ("series", Arc::new(StringArray::from(names))),
        ("period_start", Arc::new(Date32Array::from(starts))),
        ("period_end", Arc::new(Date32Array::from(ends))),
        ("value", Arc::new(Float64Array::from(values))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// The first and last day of a month counted from January 2000.
fn month_days(month: i64) -> (i32, i32) {
    let first = |month: i64| {
        let (year, month) = (2000 + month / 12, month % 12);
        let leap = i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize];
        let years = year - 1;
        let days = years * 365 + years / 4 - years / 100 + years / 400;
        (days + before + if month > 1 { leap } else { 0 } - 719_162) as i32
    };
    (first(month), first(month + 1) - 1)
}
