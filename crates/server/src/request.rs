//! A request's fields in the engine's terms.

use std::time::Duration;

use didymium_api::v1::{Date, QueryRequest, Value, value};
use didymium_engine::{ErrorKind, Parameters, Value as Parameter};
use didymium_model::Day;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::session_options::time_zone;
use crate::status::refused;

/// The engine's request for a call. The time is the shorter of the request's own and the call's.
pub(crate) fn query_request(
    request: Request<QueryRequest>,
) -> Result<didymium_engine::QueryRequest, Status> {
    let deadline = grpc_timeout(request.metadata());
    let request = request.into_inner();
    let asked = request.timeout.map(|timeout| {
        Duration::try_from(timeout).map_err(|_| invalid("timeout: must not be negative"))
    });
    let positional = request.positional_parameters.into_iter().enumerate();
    let positional = positional.map(|(place, value)| parameter(&format!("${}", place + 1), value));
    let named = request.named_parameters.into_iter().map(|(name, value)| {
        let value = parameter(&format!("${name}"), value)?;
        Ok((name, value))
    });
    let committed_as_of_ms = request.committed_as_of.map(|time| match time.nanos {
        0..1_000_000_000 => Ok(ms(&time)),
        _ => Err(invalid(
            "committed_as_of: nanos must lie from 0 to 999,999,999",
        )),
    });
    Ok(didymium_engine::QueryRequest {
        sql: request.sql,
        timeout: asked.transpose()?.into_iter().chain(deadline).min(),
        parameters: Parameters {
            positional: positional.collect::<Result<_, Status>>()?,
            named: named.collect::<Result<_, Status>>()?,
            ..Parameters::default()
        },
        published_as_of: request
            .published_as_of
            .map(|date| day("published_as_of", date))
            .transpose()?,
        committed_as_of_ms: committed_as_of_ms.transpose()?,
        time_zone: match request.time_zone.as_str() {
            "" => None,
            zone => Some(time_zone(zone).map_err(|why| invalid(format!("time_zone: {why}")))?),
        },
        ..didymium_engine::QueryRequest::default()
    })
}

/// The value of a parameter in the engine's terms.
pub(crate) fn parameter(name: &str, value: Value) -> Result<Parameter, Status> {
    Ok(match value.kind {
        None => {
            return Err(invalid(format!("{name}: the value is not set")));
        }
        Some(value::Kind::Null(_)) => Parameter::Null,
        Some(value::Kind::Boolean(truth)) => Parameter::Boolean(truth),
        Some(value::Kind::Integer(number)) => Parameter::Integer(number),
        Some(value::Kind::Number(number)) => Parameter::Double(number),
        Some(value::Kind::Text(text)) => Parameter::Text(text),
        Some(value::Kind::Decimal(text)) => Parameter::Decimal(text),
        Some(value::Kind::TimestampMicros(micros)) => Parameter::Timestamp(micros),
        Some(value::Kind::Date(date)) => Parameter::Date(day(name, date)?),
    })
}

pub(crate) fn day(field: &str, date: Date) -> Result<Day, Status> {
    let Date { year, month, day } = date;
    Day::from_ymd(year, month, day)
        .ok_or_else(|| invalid(format!("{field}: there is no day {year}-{month}-{day}")))
}

/// A moment of the wire in milliseconds since 1970.
pub(crate) fn ms(time: &prost_types::Timestamp) -> i64 {
    let ms = time.seconds.saturating_mul(1000);
    ms.saturating_add(i64::from(time.nanos) / 1_000_000)
}

/// A moment as the wire has it.
pub(crate) fn timestamp(ms: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: ms.div_euclid(1000),
        nanos: (ms.rem_euclid(1000) * 1_000_000) as i32,
    }
}

/// A request that makes no sense.
pub(crate) fn invalid(message: impl Into<String>) -> Status {
    refused(ErrorKind::InvalidInput, message)
}

/// The call's deadline as gRPC writes it: at most eight digits and a unit.
pub(crate) fn grpc_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let value = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (amount, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount: u64 = amount.parse::<u32>().ok()?.into();
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}
