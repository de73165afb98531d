//! Whole numbers that no BIGINT holds, as the decimals that they are.
//!
//! DataFusion reads them as doubles, of which two that differ in the last digits are equal.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Value, VisitMut, VisitorMut,
};

use crate::guard::query_of;
use crate::{Error, Result};

/// Digits of the longest whole number.
const DIGITS: usize = 38;

/// One more than a BIGINT holds, since it may stand behind a minus.
const LARGEST: u64 = i64::MIN.unsigned_abs();

/// Makes decimals of a statement's long whole numbers.
///
/// # Errors
/// `Invalid` for one of more than 38 digits.
pub(crate) fn keep(statement: &mut Statement) -> Result<()> {
    let Some(query) = query_of(statement) else {
        return Ok(());
    };
    match query.visit(&mut Keep) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(number) => Err(Error::invalid(format!(
            "{number} has more than the {DIGITS} digits that a whole number may have: write {number}.0 for the DOUBLE next to it"
        ))),
    }
}

struct Keep;

impl VisitorMut for Keep {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let Expr::Value(value) = expr else {
            return ControlFlow::Continue(());
        };
        let Value::Number(number, _) = &value.value else {
            return ControlFlow::Continue(());
        };
        let is_whole = number.bytes().all(|byte| byte.is_ascii_digit());
        let is_held = number.parse().is_ok_and(|number: u64| number <= LARGEST);
        if !is_whole || is_held {
            return ControlFlow::Continue(());
        }
        let digits = number.trim_start_matches('0').len();
        if digits > DIGITS {
            return ControlFlow::Break(number.clone());
        }
        let text = Value::SingleQuotedString(number.clone()).with_span(value.span);
        *expr = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(Expr::Value(text)),
            data_type: DataType::Decimal(ExactNumberInfo::PrecisionAndScale(digits as u64, 0)),
            array: false,
            format: None,
        };
        ControlFlow::Continue(())
    }
}
