//! Arrow Flight SQL: what ADBC, JDBC and Grafana speak.
//!
//! arrow-flight's `FlightSqlService` leaves `GetSchema`, `PollFlightInfo` and the session actions out, so
//! the Flight service is implemented here, over its messages and builders.

mod ingest;
mod metadata;
mod rows;
mod session;
mod sql_info;
mod statement;
mod transactions;
mod xdbc;

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Any, Command,
    DoPutPreparedStatementResult, DoPutUpdateResult,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria,
    Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use bytes::Bytes;
use didymium_engine::{ErrorKind, QueryRequest};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::call::within;
use crate::caller::Caller;
use crate::desk::Desk;
use crate::door::token_in;
use crate::flight::metadata::Metadata;
use crate::flight::rows::{encoded, rows_of};
use crate::flight::statement::{Statement, no_ticket, parameter_schema};
use crate::loads::MAY_LAND;
use crate::metrics::Protocol;
use crate::request::{grpc_timeout, invalid, timestamp};
use crate::session_options::SessionOptions;
use crate::status::refused;

const CREATE_PREPARED_STATEMENT: &str = "CreatePreparedStatement";
const CLOSE_PREPARED_STATEMENT: &str = "ClosePreparedStatement";
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

/// Every action, with what it takes and gives.
const ACTIONS: [(&str, &str); 6] = [
    (
        CREATE_PREPARED_STATEMENT,
        "ActionCreatePreparedStatementRequest gives ActionCreatePreparedStatementResult",
    ),
    (
        CLOSE_PREPARED_STATEMENT,
        "ActionClosePreparedStatementRequest gives nothing",
    ),
    (
        CANCEL_FLIGHT_INFO,
        "CancelFlightInfoRequest gives CancelFlightInfoResult",
    ),
    (
        session::SET,
        "SetSessionOptionsRequest gives SetSessionOptionsResult",
    ),
    (
        session::GET,
        "GetSessionOptionsRequest gives GetSessionOptionsResult",
    ),
    (
        session::CLOSE,
        "CloseSessionRequest gives CloseSessionResult",
    ),
];

/// The name of a prepared statement's description, which arrow-flight 59 has without its last field.
const PREPARED: &str =
    "type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementResult";

/// The service over one desk.
pub(crate) struct Flight {
    desk: Arc<Desk>,
    metadata: Metadata,
}

/// What a client learns of a prepared statement.
#[derive(Clone, PartialEq, Message)]
struct Prepared {
    #[prost(bytes = "bytes", tag = "1")]
    prepared_statement_handle: Bytes,
    /// Nothing for a statement that gives no rows: JDBC takes an empty schema for an update.
    #[prost(bytes = "bytes", tag = "2")]
    dataset_schema: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    parameter_schema: Bytes,
    #[prost(bool, optional, tag = "4")]
    is_update: Option<bool>,
}

impl Flight {
    /// # Errors
    /// Where the server can't describe itself.
    pub(crate) fn of(desk: Arc<Desk>) -> Result<Self, ArrowError> {
        let metadata = Metadata::of(Arc::clone(&desk.engine))?;
        Ok(Self { desk, metadata })
    }

    /// What a command would give, and where to fetch it. A statement that only does something is done
    /// where it is asked to run, since some clients never fetch.
    async fn info(
        &self,
        descriptor: FlightDescriptor,
        caller: &Caller,
        headers: &MetadataMap,
        run: bool,
    ) -> Result<FlightInfo, Status> {
        let command = match descriptor.r#type() {
            DescriptorType::Cmd => command(&descriptor.cmd)?,
            _ => return Err(no_command()),
        };
        if matches!(
            command,
            Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_)
        ) {
            return Err(invalid("an update gives no flight: put it (DoPut)"));
        }
        if let Some(schema) = self.metadata.schema(&command) {
            // Its rows are asked for by the command itself.
            let ticket = Ticket::new(descriptor.cmd.clone());
            return flight_info(
                &schema,
                FlightEndpoint::new().with_ticket(ticket),
                descriptor,
            );
        }
        let statement = self.statement(command, caller, headers)?;
        let mut request = statement.request()?;
        request.limit_time(grpc_timeout(headers));
        let again = request.clone();
        let mut described = self
            .desk
            .call(caller, Protocol::Flight, "", request)?
            .describe()
            .await?;
        if described.description.is_command && run {
            self.carry_out(again, caller).await?;
        }
        let query_id = std::mem::take(&mut described.query_id);
        let now_ms = self.desk.engine.now_ms();
        let (ticket, expires_ms) =
            statement.ticket(query_id, &described.description, &self.desk.seal, now_ms);
        let endpoint = FlightEndpoint::new()
            .with_ticket(Ticket::new(ticket))
            .with_expiration_time(timestamp(expires_ms));
        flight_info(&described.description.schema, endpoint, descriptor)
    }

    /// The statement that a command means.
    fn statement(
        &self,
        command: Command,
        caller: &Caller,
        headers: &MetadataMap,
    ) -> Result<Statement, Status> {
        match command {
            Command::CommandStatementQuery(query) => {
                transactions::refuse(query.transaction_id.as_ref())?;
                self.new_statement(query.query, caller, headers)
            }
            Command::CommandStatementUpdate(update) => {
                transactions::refuse(update.transaction_id.as_ref())?;
                self.new_statement(update.query, caller, headers)
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                let handle = prepared.prepared_statement_handle;
                Statement::of_handle(&handle, caller, &self.desk.seal)
            }
            Command::CommandPreparedStatementUpdate(prepared) => {
                let handle = prepared.prepared_statement_handle;
                Statement::of_handle(&handle, caller, &self.desk.seal)
            }
            other => Err(not_known(&other)),
        }
    }

    fn new_statement(
        &self,
        sql: String,
        caller: &Caller,
        headers: &MetadataMap,
    ) -> Result<Statement, Status> {
        let options = SessionOptions::of(headers.as_ref(), &self.desk.seal)?;
        Ok(Statement::new(caller, sql, options))
    }

    /// Runs a statement for what it does, and says how many rows it changed: none, since it is a view's.
    async fn update(&self, statement: &Statement, caller: &Caller) -> Result<i64, Status> {
        let request = statement.request()?;
        let described = self
            .desk
            .call(caller, Protocol::Flight, "", request.clone())?
            .describe()
            .await?;
        if !described.description.is_command {
            return Err(invalid(
                "the statement gives rows: run it as a query, not as an update",
            ));
        }
        self.carry_out(request, caller).await?;
        Ok(0)
    }

    /// Runs a statement that only does something, to its end.
    async fn carry_out(&self, request: QueryRequest, caller: &Caller) -> Result<(), Status> {
        let call = self.desk.call(caller, Protocol::Flight, "", request)?;
        let mut answer = call.start().await?;
        while answer.next().await?.is_some() {}
        Ok(())
    }

    async fn prepare(&self, request: &Request<Action>, caller: &Caller) -> Result<Vec<u8>, Status> {
        let create: ActionCreatePreparedStatementRequest = unpacked(&request.get_ref().body)?;
        transactions::refuse(create.transaction_id.as_ref())?;
        let statement = self.new_statement(create.query, caller, request.metadata())?;
        let described = self
            .desk
            .call(caller, Protocol::Flight, "", statement.request()?)?
            .describe()
            .await?;
        let description = described.description;
        let dataset_schema = match description.is_command {
            true => Bytes::new(),
            false => schema_message(&description.schema)?,
        };
        let prepared = Prepared {
            prepared_statement_handle: statement.handle(&self.desk.seal),
            dataset_schema,
            parameter_schema: schema_message(&parameter_schema(&description))?,
            is_update: Some(description.is_command),
        };
        let any = Any {
            type_url: PREPARED.to_owned(),
            value: prepared.encode_to_vec().into(),
        };
        Ok(any.encode_to_vec())
    }

    fn cancel(&self, body: &[u8], caller: &Caller) -> Result<Vec<u8>, Status> {
        let request = CancelFlightInfoRequest::decode(body)
            .map_err(|error| invalid(format!("CancelFlightInfo: {error}")))?;
        let mut is_cancelled = false;
        let endpoints = request.info.into_iter().flat_map(|info| info.endpoint);
        for ticket in endpoints.filter_map(|endpoint| endpoint.ticket) {
            let Command::TicketStatementQuery(ticket) = command(&ticket.ticket)? else {
                continue;
            };
            let query_id =
                Statement::query_of_ticket(&ticket.statement_handle, caller, &self.desk.seal)?;
            is_cancelled |= self.desk.running.cancel(&query_id, caller);
        }
        let status = match is_cancelled {
            true => CancelStatus::Cancelled,
            // It has not begun, or is over.
            false => CancelStatus::NotCancellable,
        };
        Ok(CancelFlightInfoResult::new(status).encode_to_vec())
    }
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    /// The token that the client shows is the token that it shall show: there is nothing to exchange.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let (headers, peer) = (request.metadata().as_ref(), request.remote_addr());
        let now_ms = self.desk.engine.now_ms();
        self.desk.door.caller(headers, peer, now_ms).await?;
        let shown = request.metadata().get_all("authorization").iter();
        let token = shown
            .filter_map(|value| token_in(value.to_str().ok()?))
            .next();
        // Without authentication there may be none, and a client waits for one.
        let token = token.unwrap_or_else(|| "none".to_owned());
        let response = HandshakeResponse {
            protocol_version: 0,
            payload: token.clone().into_bytes().into(),
        };
        let mut response = Response::new(stream::iter([Ok(response)]).boxed());
        let bearer = format!("Bearer {token}").parse();
        let bearer = bearer.map_err(|_| invalid("a token is made of printable letters"))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = Caller::of(request.extensions())?;
        let (headers, _, descriptor) = request.into_parts();
        let info = self.info(descriptor, &caller, &headers, true);
        within(grpc_timeout(&headers), info, "")
            .await
            .map(Response::new)
    }

    /// Planning is all that an answer waits for, so the first one is whole.
    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        let info = self.get_flight_info(request).await?.into_inner();
        Ok(Response::new(PollInfo {
            info: Some(info),
            flight_descriptor: None,
            progress: Some(1.0),
            expiration_time: None,
        }))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let caller = Caller::of(request.extensions())?;
        let (headers, _, descriptor) = request.into_parts();
        let info = self.info(descriptor, &caller, &headers, false);
        let schema = within(grpc_timeout(&headers), info, "").await?.schema;
        Ok(Response::new(SchemaResult { schema }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let deadline = grpc_timeout(request.metadata());
        let command = command(&request.get_ref().ticket)?;
        let Command::TicketStatementQuery(ticket) = command else {
            let rows = self.metadata.rows(command.clone(), &caller);
            let rows = within(deadline, rows, "").await?;
            // What was a ticket once may have been changed into anything.
            let rows = rows.ok_or_else(no_ticket)?;
            let schema = rows.schema();
            return Ok(Response::new(encoded(schema, stream::iter([Ok(rows)]))));
        };
        let (seal, now_ms) = (&self.desk.seal, self.desk.engine.now_ms());
        let (statement, run) =
            Statement::of_ticket(&ticket.statement_handle, &caller, seal, now_ms)?;
        if run.is_done {
            let nothing = Arc::new(Schema::empty());
            return Ok(Response::new(encoded(nothing, stream::empty())));
        }
        let mut request = statement.request()?;
        request.limit_time(deadline);
        let call = match self
            .desk
            .call(&caller, Protocol::Flight, &run.query_id, request.clone())
        {
            // A ticket may be redeemed again while it is being redeemed.
            Err(status) if status.code() == tonic::Code::AlreadyExists => {
                self.desk.call(&caller, Protocol::Flight, "", request)?
            }
            call => call?,
        };
        // Planned at the first poll: the transport's own time-out covers what comes before the stream.
        let data = async move {
            let answer = call.start().await?;
            let schema = Arc::clone(answer.schema());
            Ok::<_, Status>(encoded(schema, rows_of(answer)))
        };
        Ok(Response::new(stream::once(data).try_flatten().boxed()))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let (headers, _, mut data) = request.into_parts();
        let put = async {
            let first = data.message().await?;
            // What the drivers make of a frame that has not even an empty batch.
            let nothing = "the stream holds nothing, not even a schema: send a frame without rows as one empty batch";
            let first = first.ok_or_else(|| invalid(nothing))?;
            let descriptor = first.flight_descriptor.clone();
            let descriptor =
                descriptor.ok_or_else(|| invalid("the first message has no descriptor"))?;
            let command = command(&descriptor.cmd)?;
            let data = stream::once(async { Ok(first) }).chain(data).boxed();
            self.put(command, data, &caller, &headers).await
        };
        let metadata = within(grpc_timeout(&headers), put, MAY_LAND).await?;
        let result = PutResult {
            app_metadata: metadata.into(),
        };
        Ok(Response::new(stream::iter([Ok(result)]).boxed()))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(refused(
            ErrorKind::Unsupported,
            "there is nothing to exchange: use DoGet and DoPut",
        ))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let headers = request.metadata();
        let body = &request.get_ref().body;
        let seal = &self.desk.seal;
        let session = || SessionOptions::of_session(headers.as_ref(), seal);
        let answered = match request.get_ref().r#type.as_str() {
            CREATE_PREPARED_STATEMENT => {
                let prepared = self.prepare(&request, &caller);
                let body = within(grpc_timeout(headers), prepared, "").await?;
                session::Answered { body, cookie: None }
            }
            // The client alone has it.
            CLOSE_PREPARED_STATEMENT => {
                let _: ActionClosePreparedStatementRequest = unpacked(body)?;
                return Ok(Response::new(stream::empty().boxed()));
            }
            CANCEL_FLIGHT_INFO => session::Answered {
                body: self.cancel(body, &caller)?,
                cookie: None,
            },
            session::SET => session::set(body, session(), seal)?,
            session::GET => session::get(&session()),
            session::CLOSE => session::close(),
            action if transactions::ACTIONS.contains(&action) => {
                return Err(transactions::unsupported());
            }
            other => {
                return Err(refused(
                    ErrorKind::Unsupported,
                    format!("there is no action '{other}'"),
                ));
            }
        };
        let result = arrow_flight::Result {
            body: answered.body.into(),
        };
        let mut response = Response::new(stream::iter([Ok(result)]).boxed());
        if let Some(cookie) = answered.cookie.and_then(|cookie| cookie.parse().ok()) {
            response.metadata_mut().insert("set-cookie", cookie);
        }
        Ok(response)
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let actions = ACTIONS.map(|(name, description)| {
            Ok(ActionType {
                r#type: name.to_owned(),
                description: description.to_owned(),
            })
        });
        Ok(Response::new(stream::iter(actions).boxed()))
    }
}

impl Flight {
    /// What comes of a stream of rows, as the client reads it.
    async fn put(
        &self,
        command: Command,
        data: BoxStream<'static, Result<FlightData, Status>>,
        caller: &Caller,
        headers: &MetadataMap,
    ) -> Result<Vec<u8>, Status> {
        let record_count = match command {
            Command::CommandPreparedStatementQuery(prepared) => {
                let handle = prepared.prepared_statement_handle;
                let mut statement = Statement::of_handle(&handle, caller, &self.desk.seal)?;
                let rows = ingest::batches(data).await?;
                statement.bind(&rows, &self.desk.engine).await?;
                let handle = statement.handle(&self.desk.seal);
                let result = DoPutPreparedStatementResult {
                    prepared_statement_handle: Some(handle),
                };
                return Ok(result.encode_to_vec());
            }
            Command::CommandStatementIngest(ingest) => {
                self.ingest(ingest, data, caller, headers).await?
            }
            command @ (Command::CommandStatementUpdate(_)
            | Command::CommandPreparedStatementUpdate(_)) => {
                let statement = self.statement(command, caller, headers)?;
                self.update(&statement, caller).await?
            }
            other => return Err(not_known(&other)),
        };
        Ok(DoPutUpdateResult { record_count }.encode_to_vec())
    }
}

/// The command that some bytes hold.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    let any = Any::decode(bytes).map_err(|_| no_command())?;
    if any.type_url.is_empty() {
        return Err(no_command());
    }
    Command::try_from(any).map_err(|error| invalid(format!("the command can't be read: {error}")))
}

fn no_command() -> Status {
    invalid("this is no Flight SQL command: a descriptor of the type CMD holds one")
}

fn unpacked<M: arrow_flight::sql::ProstMessageExt>(body: &[u8]) -> Result<M, Status> {
    let any = Any::decode(body).map_err(|_| invalid("the action's body can't be read"))?;
    let message = any.unpack().map_err(|error| invalid(error.to_string()))?;
    message.ok_or_else(|| invalid("the action's body is another message"))
}

fn not_known(command: &Command) -> Status {
    let any = command.clone().into_any();
    let name = any
        .type_url
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_owned();
    refused(ErrorKind::Unsupported, format!("{name} is not supported"))
}

fn flight_info(
    schema: &Schema,
    endpoint: FlightEndpoint,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let info = FlightInfo::new().try_with_schema(schema);
    let info = info.map_err(|error| Status::internal(format!("the schema: {error}")))?;
    Ok(info
        .with_endpoint(endpoint)
        .with_descriptor(descriptor)
        .with_ordered(true))
}

/// A schema as one message, which is how clients read it in a prepared statement.
fn schema_message(schema: &Schema) -> Result<Bytes, Status> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let message: Result<IpcMessage, ArrowError> = SchemaAsIpc::new(schema, &options).try_into();
    message
        .map(|message| message.0)
        .map_err(|error| Status::internal(format!("the schema: {error}")))
}
