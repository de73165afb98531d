//! Gap filling: `SELECT time_bucket_gapfill(…) … GROUP BY`.
//!
//! [`GapFillRule`] finds the words of it in an analyzed plan and puts a [`GapFill`] node above the
//! aggregate, which [`GapFillExec`] runs: one series at a time, over rows that are sorted by series and
//! bucket.

mod exec;
mod node;
mod rule;
mod spine;

pub(crate) use exec::GapFillExec;
pub(crate) use node::GapFill;
pub(crate) use rule::GapFillRule;
