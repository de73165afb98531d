//! Periods, series and quotas, and the arithmetic on them.
//!
//! Everything here is pure: no Arrow, no async, no I/O. The SQL functions and the store are thin
//! layers over it, so a rule of the statistics stands in one place and is tested without a server.

mod calendar_day;
mod day;
mod execution_rate;
mod frequency;
mod growth;
mod interval;
mod lookback;
mod period;
mod selection;
mod series;
mod status;

pub(crate) use calendar_day::CalendarDay;
pub use day::Day;
pub use execution_rate::{NegativeQuota, execution_rate};
pub use frequency::Frequency;
pub use growth::growth;
pub use interval::{Interval, InvalidInterval};
pub use lookback::{Base, Lookback, Misplaced};
pub use period::{Moment, Period};
pub use selection::{Revision, Statement, Vintages};
pub use series::series_name;
pub use status::Status;
