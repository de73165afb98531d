//! What the command says of itself: its log, and its traces where somebody collects them.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::Duration;

use didymium_engine::TRACE;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::ENDING;
use crate::args::Command;
use crate::failure::Failure;

/// How long a collector may take for the last spans.
const FAREWELL: Duration = Duration::from_secs(2);

/// What sends traces until the command ends.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Text for people, JSON where another program reads. A server tells what it does; other commands
    /// only what went wrong. Traces go where `--otlp-endpoint` says.
    ///
    /// # Errors
    /// Where the endpoint is none.
    pub(crate) fn start(command: &Command) -> Result<Self, Failure> {
        let (default, endpoint) = match command {
            Command::Serve(args) => ("warn,didymium=info", args.otlp_endpoint.as_deref()),
            _ => ("error", None),
        };
        let traces = endpoint.map(exporting).transpose()?;
        let filter =
            EnvFilter::try_from_env("DIDYMIUM_LOG").unwrap_or_else(|_| EnvFilter::new(default));
        // Lines say what they are about; spans are for traces only.
        let filter = filter.and(filter_fn(|about| about.is_event()));
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match std::io::stderr().is_terminal() {
            true => log.boxed(),
            false => log.json().boxed(),
        };
        let spans = traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("didymium"))
                .with_location(false)
                .with_threads(false)
                .with_filter(filter_fn(|about| {
                    about.is_span() && about.target() == TRACE
                }))
        });
        tracing_subscriber::registry()
            .with(log.with_filter(filter))
            .with(spans)
            .init();
        // A panic ends one query; the log has it, and the terminal stays readable.
        std::panic::set_hook(Box::new(|panic| match ENDING.load(Ordering::Relaxed) {
            false => tracing::error!(%panic, "panicked"),
            // Delta's reader panics where the runtime ends while it waits for it.
            true => tracing::debug!(%panic, "broken off at the end"),
        }));
        Ok(Self { traces })
    }

    /// Sends what is not sent yet.
    pub(crate) fn end(self) {
        let Some(traces) = self.traces else {
            return;
        };
        if let Err(error) = traces.shutdown_with_timeout(FAREWELL) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Sends spans to a collector by OTLP over gRPC, as it can take them.
fn exporting(endpoint: &str) -> Result<SdkTracerProvider, Failure> {
    let mut exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    if endpoint.starts_with("https://") {
        let roots = tonic::transport::ClientTlsConfig::new().with_enabled_roots();
        exporter = exporter.with_tls_config(roots);
    }
    let exporter = exporter.build().map_err(|error| {
        let told = format!(
            "{endpoint}: a collector of traces is http://HOST:PORT or https://HOST:PORT ({error})"
        );
        Failure::own(told).of_configuration()
    })?;
    let named = Resource::builder()
        .with_service_name("didymium")
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(named.build())
        .build())
}
