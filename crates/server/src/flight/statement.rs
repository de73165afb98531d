//! Prepared statements and tickets: what the server signs and the client keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow_flight::sql::{ProstMessageExt as _, TicketStatementQuery};
use bytes::Bytes;
use didymium_engine::{Description, Engine, ErrorKind, Parameters, QueryRequest};
use didymium_model::Day;
use prost::Message as _;
use tonic::Status;

use crate::caller::Caller;
use crate::request::{invalid, parameter};
use crate::seal::{Purpose, Seal};
use crate::session_options::SessionOptions;
use crate::status::{failed, refused};

/// How long a ticket is good for.
const TICKET_LIFE: Duration = Duration::from_secs(15 * 60);

/// A statement with all that its run needs. As a handle it reads the newest versions at every run, as
/// a ticket those that it was planned on.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Statement {
    /// The token's id of whoever made it.
    #[prost(string, tag = "1")]
    caller: String,
    #[prost(string, tag = "2")]
    pub(crate) sql: String,
    #[prost(message, optional, tag = "3")]
    options: Option<SessionOptions>,
    /// The values of `$1`, `$2`, … and `?`.
    #[prost(message, repeated, tag = "4")]
    positional: Vec<didymium_api::v1::Value>,
    /// The values of `$name`.
    #[prost(btree_map = "string, message", tag = "5")]
    named: BTreeMap<String, didymium_api::v1::Value>,
    /// What a ticket adds.
    #[prost(message, optional, tag = "6")]
    run: Option<Run>,
}

/// A planned run of a statement.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Run {
    #[prost(string, tag = "1")]
    pub(crate) query_id: String,
    #[prost(int64, tag = "2")]
    expires_ms: i64,
    /// The tables' versions.
    #[prost(btree_map = "string, uint64", tag = "3")]
    versions: BTreeMap<String, u64>,
    /// The day up to which it knows, in days since 1970.
    #[prost(int32, tag = "4")]
    published_as_of: i32,
    /// Whether all has been done, and there are no rows to fetch.
    #[prost(bool, tag = "5")]
    pub(crate) is_done: bool,
}

impl Statement {
    pub(crate) fn new(caller: &Caller, sql: String, options: SessionOptions) -> Self {
        Self {
            caller: caller.id.clone(),
            sql,
            options: Some(options),
            ..Self::default()
        }
    }

    /// The statement in a handle of this caller's.
    ///
    /// # Errors
    /// NOT_FOUND for one that is forged or another's.
    pub(crate) fn of_handle(handle: &[u8], caller: &Caller, seal: &Seal) -> Result<Self, Status> {
        let statement: Option<Self> = seal.open_sealed(Purpose::Handle, handle);
        let statement = statement.filter(|statement| statement.caller == caller.id);
        statement.ok_or_else(|| {
            refused(
                ErrorKind::NotFound,
                "there is no such prepared statement: prepare it again",
            )
        })
    }

    /// The statement in a ticket of this caller's, and its run.
    ///
    /// # Errors
    /// NOT_FOUND for one that is forged or another's, FAILED_PRECONDITION for one that is too old.
    pub(crate) fn of_ticket(
        ticket: &[u8],
        caller: &Caller,
        seal: &Seal,
        now_ms: i64,
    ) -> Result<(Self, Run), Status> {
        let statement: Option<Self> = seal.open_sealed(Purpose::Ticket, ticket);
        let statement = statement.filter(|statement| statement.caller == caller.id);
        let found = statement.and_then(|statement| {
            let run = statement.run.clone()?;
            Some((statement, run))
        });
        let (statement, run) = found.ok_or_else(no_ticket)?;
        if run.expires_ms <= now_ms {
            return Err(refused(
                ErrorKind::Precondition,
                format!("the ticket is older than {TICKET_LIFE:?}: ask for another one"),
            ));
        }
        Ok((statement, run))
    }

    /// The query that a ticket is for, of whoever the caller may stop.
    ///
    /// # Errors
    /// NOT_FOUND for one that is forged or another's.
    pub(crate) fn query_of_ticket(
        ticket: &[u8],
        caller: &Caller,
        seal: &Seal,
    ) -> Result<String, Status> {
        let statement: Option<Self> = seal.open_sealed(Purpose::Ticket, ticket);
        let statement = statement.filter(|statement| caller.oversees(&statement.caller));
        let run = statement.and_then(|statement| statement.run);
        run.map(|run| run.query_id).ok_or_else(no_ticket)
    }

    /// The handle that the client keeps.
    pub(crate) fn handle(&self, seal: &Seal) -> Bytes {
        seal.seal(Purpose::Handle, self)
    }

    /// The ticket for a run that was planned at this time, and when it expires.
    pub(crate) fn ticket(
        &self,
        query_id: String,
        planned: &Description,
        seal: &Seal,
        now_ms: i64,
    ) -> (Bytes, i64) {
        let life = i64::try_from(TICKET_LIFE.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = now_ms.saturating_add(life);
        let run = Run {
            query_id,
            expires_ms,
            versions: planned.versions.clone(),
            published_as_of: planned.published_as_of.days_from_epoch(),
            is_done: planned.is_command,
        };
        let statement = Self {
            run: Some(run),
            ..self.clone()
        };
        let statement_handle = seal.seal(Purpose::Ticket, &statement);
        let ticket = TicketStatementQuery { statement_handle };
        (ticket.as_any().encode_to_vec().into(), expires_ms)
    }

    /// What the engine is asked: by a handle for the newest, by a ticket for what was planned.
    pub(crate) fn request(&self) -> Result<QueryRequest, Status> {
        let positional = self.positional.iter().enumerate();
        let positional =
            positional.map(|(place, value)| parameter(&format!("${}", place + 1), value.clone()));
        let named = self.named.iter();
        let named = named.map(|(name, value)| Ok((name.clone(), parameter(name, value.clone())?)));
        let mut request = QueryRequest {
            sql: self.sql.clone(),
            parameters: Parameters {
                positional: positional.collect::<Result<_, Status>>()?,
                named: named.collect::<Result<_, Status>>()?,
                ..Parameters::default()
            },
            ..QueryRequest::default()
        };
        if let Some(run) = &self.run {
            request.versions.clone_from(&run.versions);
            request.published_as_of = Some(Day::from_epoch(run.published_as_of));
        }
        if let Some(options) = &self.options {
            options.put_into(&mut request);
        }
        Ok(request)
    }

    /// Binds the values of one row to the statement's parameters: by name where it has names, else by
    /// place.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for more than one row, and for a value of a type that no parameter has.
    pub(crate) async fn bind(
        &mut self,
        rows: &[RecordBatch],
        engine: &Engine,
    ) -> Result<(), Status> {
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let Some(row) = rows.iter().find(|rows| rows.num_rows() > 0) else {
            (self.positional, self.named) = Default::default();
            return Ok(());
        };
        if count > 1 {
            return Err(invalid(format!(
                "a query takes one row of parameters, not {count}: run it once for each"
            )));
        }
        let names = engine.parameter_names(self.sql.clone()).await;
        let names = names.map_err(|error| failed(&error))?;
        let schema = row.schema();
        let mut values = Vec::new();
        for (field, column) in schema.fields().iter().zip(row.columns()) {
            values.push(bound(field.name(), column)?);
        }
        let is_named = names.iter().any(|name| name.parse::<usize>().is_err());
        (self.positional, self.named) = match is_named {
            false => (values, BTreeMap::new()),
            true => {
                let names = schema.fields().iter().map(|field| field.name().clone());
                (Vec::new(), names.zip(values).collect())
            }
        };
        Ok(())
    }
}

/// What is said of a ticket that is forged or another's.
pub(crate) fn no_ticket() -> Status {
    refused(ErrorKind::NotFound, "there is no such ticket")
}

/// The one value of a column, as a request carries it.
fn bound(name: &str, column: &arrow::array::ArrayRef) -> Result<didymium_api::v1::Value, Status> {
    use arrow::array::AsArray as _;
    use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
    use didymium_api::v1::value::Kind;

    let cast = |to: &DataType| {
        let options = arrow::compute::CastOptions {
            safe: false,
            ..Default::default()
        };
        arrow::compute::cast_with_options(column, to, &options)
            .map_err(|error| invalid(format!("parameter {name}: {error}")))
    };
    if column.is_null(0) || column.data_type() == &DataType::Null {
        return Ok(didymium_api::v1::Value {
            kind: Some(Kind::Null(0)),
        });
    }
    let kind = match column.data_type() {
        DataType::Boolean => Kind::Boolean(column.as_boolean().value(0)),
        data_type if data_type.is_integer() => {
            Kind::Integer(cast(&DataType::Int64)?.as_primitive::<Int64Type>().value(0))
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Kind::Number(
            cast(&DataType::Float64)?
                .as_primitive::<Float64Type>()
                .value(0),
        ),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            Kind::Text(
                cast(&DataType::Utf8)?
                    .as_string::<i32>()
                    .value(0)
                    .to_owned(),
            )
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => {
            Kind::Decimal(
                cast(&DataType::Utf8)?
                    .as_string::<i32>()
                    .value(0)
                    .to_owned(),
            )
        }
        DataType::Date32 | DataType::Date64 => {
            let days = cast(&DataType::Date32)?
                .as_primitive::<Date32Type>()
                .value(0);
            let (year, month, day) = Day::from_epoch(days).ymd().ok_or_else(|| {
                invalid(format!("parameter {name}: no day has the number {days}"))
            })?;
            Kind::Date(didymium_api::v1::Date { year, month, day })
        }
        DataType::Timestamp(..) => {
            let micros = cast(&DataType::Timestamp(TimeUnit::Microsecond, None))?;
            Kind::TimestampMicros(micros.as_primitive::<TimestampMicrosecondType>().value(0))
        }
        other => {
            return Err(invalid(format!(
                "parameter {name}: a parameter has no type {other}: send it as a text and cast it"
            )));
        }
    };
    Ok(didymium_api::v1::Value { kind: Some(kind) })
}

/// The parameters' schema as clients read it.
pub(crate) fn parameter_schema(description: &Description) -> Schema {
    Schema::new(description.parameters.clone())
}
