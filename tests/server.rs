//! A real server on a free port, and what a client gets from it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::util::pretty::pretty_format_batches;
use didymium_api::v1::query_response::Payload;
use didymium_api::v1::query_service_client::QueryServiceClient;
use didymium_api::v1::{Header, QueryRequest, Summary};
use didymium_engine::{Clock, Engine, Limits};
use didymium_server::{Server, Settings};
use didymium_store::Store;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

use crate::figures::NOW_MS;

/// A server that lives as long as the test.
pub(crate) struct TestServer {
    pub(crate) client: QueryServiceClient<Channel>,
    pub(crate) address: String,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) header: Header,
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) summary: Summary,
    pub(crate) longest_message: usize,
    pub(crate) warnings: Vec<String>,
}

impl TestServer {
    pub(crate) async fn start(store: Arc<Store>, limits: Limits) -> Self {
        Self::start_at(store, limits, || NOW_MS).await
    }

    pub(crate) async fn start_at(store: Arc<Store>, limits: Limits, clock: Clock) -> Self {
        Self::start_with(store, limits, clock, Settings::default()).await
    }

    pub(crate) async fn start_with(
        store: Arc<Store>,
        limits: Limits,
        clock: Clock,
        settings: Settings,
    ) -> Self {
        let engine = Arc::new(Engine::new(store, limits, clock).unwrap());
        let server = Server::bind("127.0.0.1:0", engine, settings).await.unwrap();
        let address = format!("http://{}", server.address().unwrap());
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        #[expect(clippy::disallowed_methods, reason = "the test ends it")]
        let running = tokio::spawn(async { server.run(stopped).await.unwrap() });
        let client = QueryServiceClient::connect(address.clone()).await.unwrap();
        Self {
            client,
            address,
            stop: Some(stop),
            running,
        }
    }

    /// A server over an empty store.
    pub(crate) async fn empty(folder: &Path, limits: Limits) -> Self {
        Self::start(Arc::new(Store::create(folder).await.unwrap()), limits).await
    }

    pub(crate) async fn query(&self, sql: &str) -> Result<Answer, Status> {
        self.query_within(sql, None).await
    }

    pub(crate) async fn query_within(
        &self,
        sql: &str,
        timeout: Option<Duration>,
    ) -> Result<Answer, Status> {
        let timeout = timeout.map(|timeout| timeout.try_into().unwrap());
        let request = QueryRequest {
            sql: sql.to_owned(),
            timeout,
            ..QueryRequest::default()
        };
        self.ask(request).await
    }

    pub(crate) async fn ask(&self, request: QueryRequest) -> Result<Answer, Status> {
        let mut replies = self.client.clone().query(request).await?.into_inner();
        let (mut header, mut summary, mut ipc, mut longest_message) = (None, None, vec![], 0);
        let mut warnings = Vec::new();
        while let Some(reply) = replies.message().await? {
            assert!(summary.is_none(), "nothing follows the summary");
            match reply.payload.unwrap() {
                Payload::Header(first) => header = Some(first),
                Payload::ArrowIpc(bytes) => {
                    assert!(header.is_some(), "the header comes first");
                    longest_message = longest_message.max(bytes.len());
                    ipc.extend(bytes);
                }
                Payload::Warning(warning) => warnings.push(warning.code),
                Payload::Progress(_) => {}
                Payload::Summary(last) => summary = Some(last),
            }
        }
        let reader = StreamReader::try_new(ipc.as_slice(), None).unwrap();
        Ok(Answer {
            header: header.unwrap(),
            schema: reader.schema(),
            batches: reader.map(Result::unwrap).collect(),
            summary: summary.unwrap(),
            longest_message,
            warnings,
        })
    }

    /// The answers to some questions, as tables.
    pub(crate) async fn answers(&self, questions: &[String]) -> Vec<String> {
        let mut answers = Vec::new();
        for question in questions {
            let answer = self.query(question).await;
            let answer = answer.unwrap_or_else(|error| panic!("{question}: {error}"));
            answers.push(pretty_format_batches(&answer.batches).unwrap().to_string());
        }
        answers
    }

    /// The single text cells of a one-column answer, such as EXPLAIN's.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let answer = self.query(sql).await.unwrap();
        pretty_format_batches(&answer.batches).unwrap().to_string()
    }

    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.await.unwrap();
    }
}
