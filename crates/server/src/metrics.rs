//! What the server counts, for Prometheus.

use std::time::Duration;

use didymium_jobs::Figures;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

/// What a text of it is called.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a look-up to the longest that a query may take.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0,
];

/// The counts of one server. Nothing in their labels grows with what clients send.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    durations: Family<QueryLabels, Histogram, fn() -> Histogram>,
    rows: Family<ProtocolLabels, Counter>,
    read_bytes: Counter,
    handled: Family<CallLabels, Counter>,
    now: Now,
    jobs: JobFamilies,
}

/// What is told of jobs. There are as many labels as there are jobs.
#[derive(Debug, Default, Clone)]
struct JobFamilies {
    runs: Family<JobRunLabels, Counter>,
    last_success: Family<JobLabels, Gauge>,
    overdue: Family<JobLabels, Gauge>,
}

/// What is looked up when it is asked for.
#[derive(Debug, Default, Clone)]
struct Now {
    running: Gauge,
    waiting: Gauge,
    pool_bytes: Gauge,
    resident_bytes: Gauge,
}

/// What the server is doing at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) pool_bytes: usize,
    pub(crate) resident_bytes: u64,
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Protocol {
    Grpc,
    Flight,
    Http,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    protocol: Protocol,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobRunLabels {
    job: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabels {
    protocol: Protocol,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    grpc_service: &'static str,
    grpc_method: &'static str,
    grpc_code: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut all = Registry::default();
        let registry = all.sub_registry_with_prefix("didymium");
        let durations: Family<_, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        let (rows, read_bytes, handled, now) = (
            Family::default(),
            Counter::default(),
            Family::default(),
            Now::default(),
        );
        registry.register_with_unit(
            "query_duration",
            "Time from a query's arrival to its last row",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("query_rows", "Rows of results that were sent", rows.clone());
        registry.register_with_unit(
            "query_read",
            "Bytes that queries read of the tables' files",
            Unit::Bytes,
            read_bytes.clone(),
        );
        registry.register("queries_running", "Queries that run", now.running.clone());
        registry.register("queries_waiting", "Queries that wait", now.waiting.clone());
        registry.register_with_unit(
            "memory_pool",
            "Memory that queries have reserved",
            Unit::Bytes,
            now.pool_bytes.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Memory of the process",
            Unit::Bytes,
            now.resident_bytes.clone(),
        );
        let jobs = JobFamilies::default();
        registry.register(
            "job_runs",
            "Runs of jobs that this server has ended",
            jobs.runs.clone(),
        );
        registry.register_with_unit(
            "job_last_success_timestamp",
            "When a run of the job last succeeded, since 1970",
            Unit::Seconds,
            jobs.last_success.clone(),
        );
        registry.register(
            "job_overdue",
            "Whether the release that the job waits for has not arrived by its day",
            jobs.overdue.clone(),
        );
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The release", version);
        // The words of every other gRPC server, so that one dashboard shows them all.
        all.register(
            "grpc_server_handled",
            "Calls by service, method and code",
            handled.clone(),
        );
        Self {
            registry: all,
            durations,
            rows,
            read_bytes,
            handled,
            now,
            jobs,
        }
    }
    /// A query has ended.
    pub(crate) fn query_ended(&self, protocol: Protocol, code: Code, end: &QueryEnd) {
        let code = word(code);
        let labels = QueryLabels { protocol, code };
        self.durations
            .get_or_create(&labels)
            .observe(end.elapsed.as_secs_f64());
        self.rows
            .get_or_create(&ProtocolLabels { protocol })
            .inc_by(end.rows);
        self.read_bytes.inc_by(end.read_bytes);
    }

    /// A call has ended, by its path among those that have a rule.
    pub(crate) fn call_ended(&self, path: &'static str, code: Code) {
        let call = path.trim_start_matches('/').split_once('/');
        // A service's name has its package in it; the paths of plain HTTP have none.
        let Some((grpc_service, grpc_method)) = call.filter(|(service, _)| service.contains('.'))
        else {
            return;
        };
        let labels = CallLabels {
            grpc_service,
            grpc_method,
            grpc_code: word(code),
        };
        self.handled.get_or_create(&labels).inc();
    }

    /// All of it, as text.
    pub(crate) fn text(&self, moment: Moment, jobs: Figures) -> String {
        let gauge = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        gauge(&self.now.running, moment.running as u64);
        gauge(&self.now.waiting, moment.waiting as u64);
        gauge(&self.now.pool_bytes, moment.pool_bytes as u64);
        gauge(&self.now.resident_bytes, moment.resident_bytes);
        self.jobs.set(jobs);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl JobFamilies {
    /// Says what is known now, and nothing of jobs that are gone.
    fn set(&self, figures: Figures) {
        self.runs.clear();
        self.last_success.clear();
        self.overdue.clear();
        for ((job, status), count) in figures.runs {
            let labels = JobRunLabels { job, status };
            self.runs.get_or_create(&labels).inc_by(count);
        }
        for (job, time_ms) in figures.last_success_ms {
            let gauge = self.last_success.get_or_create_owned(&JobLabels { job });
            gauge.set(time_ms.div_euclid(1000));
        }
        for (job, is_overdue) in figures.overdue {
            let gauge = self.overdue.get_or_create_owned(&JobLabels { job });
            gauge.set(i64::from(is_overdue));
        }
    }
}

/// A code in the words of gRPC's own metrics, which are Go's.
fn word(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    }
}

/// What a query has done, once it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryEnd {
    pub(crate) elapsed: Duration,
    pub(crate) rows: u64,
    pub(crate) read_bytes: u64,
}
