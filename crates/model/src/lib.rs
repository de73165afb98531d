//! Periods, series and quotas, and the arithmetic on them.
//!
//! Everything here is pure: no Arrow, no async, no I/O. The SQL functions and the store are thin
//! layers over it, so a rule of the statistics stands in one place and is tested without a server.

mod annual_growth;
mod bases;
mod bucket;
mod calendar_day;
mod currency;
mod day;
mod execution_rate;
mod fiscal_year;
mod frequency;
mod growth;
mod interpolation;
mod interval;
mod lookback;
mod measure;
mod nearest_lookback;
mod period;
mod printed_number;
mod printed_period;
mod selection;
mod series;
mod status;
mod stoichiometry;
mod unit;
mod unit_lookback;
mod year_to_date;

pub use annual_growth::{Contradiction, Endpoint, FirstAndLast};
pub use bases::{Bases, Match};
pub use bucket::Buckets;
pub(crate) use calendar_day::CalendarDay;
pub use currency::ExchangeRates;
pub use day::Day;
pub use execution_rate::{NegativeQuota, execution_rate};
pub use fiscal_year::FiscalYear;
pub use frequency::Frequency;
pub use growth::{NoGrowth, growth, no_growth, signed_growth};
pub use interpolation::{Scale, interpolate, within};
pub use interval::{Interval, InvalidInterval};
pub use lookback::{Base, Lookback, Misplaced};
pub use measure::{Conversion, InvalidMeasure, Measure};
pub use nearest_lookback::NearestLookback;
pub use period::{Moment, Period};
pub use printed_number::PrintedNumber;
pub use printed_period::parse_period;
pub use selection::{Revision, Statement, Vintages};
pub use series::series_name;
pub use status::Status;
pub use stoichiometry::{InvalidSubstance, oxide_per_mass};
pub use unit::{UNIT_LETTERS, Unit};
pub use unit_lookback::UnitLookback;
pub use year_to_date::{Flow, FromYearToDate, NotInYear, YearToDate};
