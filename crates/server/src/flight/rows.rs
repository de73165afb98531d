//! Rows on the wire, as Flight sends and takes them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::root_as_message;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use didymium_engine::{Error, ErrorKind, bytes_of};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use crate::call::Answer;
use crate::request::invalid;

/// The longest row: ADBC takes messages of 16 MiB.
const ROW_BYTES: usize = 15 * 1024 * 1024;

/// A query's rows as they come.
pub(super) fn rows_of(answer: Answer) -> impl Stream<Item = Result<RecordBatch, Status>> + Send {
    stream::try_unfold(answer, |mut answer| async move {
        let Some(rows) = answer.next().await? else {
            return Ok(None);
        };
        let bytes = bytes_of(&rows).map_err(|error| answer.failed(&error))?;
        if rows.num_rows() == 1 && bytes > ROW_BYTES {
            return Err(answer.failed(&Error::new(
                ErrorKind::OverLimit,
                format!("one row takes more than {ROW_BYTES} bytes: select fewer columns or shorter values"),
            )));
        }
        Ok::<_, Status>(Some((rows, answer)))
    })
}

/// Rows as Flight sends them. The engine gives them in pieces of a fitting size.
pub(super) fn encoded(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> BoxStream<'static, Result<FlightData, Status>> {
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_max_flight_data_size(usize::MAX)
        .build(rows.map_err(|status| FlightError::Tonic(Box::new(status))))
        .map_err(status_of)
        .boxed()
}

/// The rows of a client's stream, which knows their schema where there are none, too.
pub(super) fn decoded(
    data: BoxStream<'static, Result<FlightData, Status>>,
) -> FlightRecordBatchStream {
    let data = data.and_then(|message| async { refuse_compressed(message) });
    let data = data.map_err(|status| FlightError::Tonic(Box::new(status)));
    FlightRecordBatchStream::new_from_flight_data(data)
}

/// A compressed buffer says itself how much memory to take for it, before anything can be counted.
fn refuse_compressed(message: FlightData) -> Result<FlightData, Status> {
    let is_compressed = root_as_message(&message.data_header).is_ok_and(|header| {
        let rows = header.header_as_record_batch();
        let words = header.header_as_dictionary_batch().and_then(|it| it.data());
        let mut batches = rows.into_iter().chain(words);
        batches.any(|batch| batch.compression().is_some())
    });
    match is_compressed {
        false => Ok(message),
        true => Err(invalid("the rows are compressed: send them as they are")),
    }
}

/// What is said of rows that can't be read.
pub(super) fn status_of(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        error => invalid(format!("the rows can't be read: {error}")),
    }
}
