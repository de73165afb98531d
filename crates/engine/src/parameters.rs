//! A statement's parameters: `$name` and `$1`, replaced by the values that a request brings.
//!
//! They are replaced in the parsed statement, so a value can never become SQL, and a parameter may
//! stand wherever a constant may, in the arguments of a relation too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, UnaryOperator, Value as SqlValue, VisitMut,
    VisitorMut,
};
use didymium_model::Day;

use crate::{Error, Result};

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Double(f64),
    /// Text.
    Text(String),
    /// A calendar day.
    Date(Day),
    /// A decimal number as it is written, up to 38 digits.
    Decimal(String),
}

/// The values of a statement's parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// `$1`, `$2`, ….
    pub positional: Vec<Value>,
    /// `$name`.
    pub named: BTreeMap<String, Value>,
}

impl Parameters {
    /// Puts the values into a part of a statement.
    ///
    /// # Errors
    /// For a parameter without a value, and for a value that no parameter uses.
    pub(crate) fn put_into(&self, statement: &mut impl VisitMut) -> Result<()> {
        let mut put = Put {
            parameters: self,
            used: BTreeSet::new(),
        };
        if let ControlFlow::Break(error) = statement.visit(&mut put) {
            return Err(error);
        }
        let given = (1..=self.positional.len()).map(|place| place.to_string());
        let given = given.chain(self.named.keys().cloned());
        match given.into_iter().find(|name| !put.used.contains(name)) {
            None => Ok(()),
            Some(unused) => Err(Error::invalid(format!(
                "the statement has no parameter ${unused}"
            ))),
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        match name.parse::<usize>() {
            Ok(place) => self.positional.get(place.checked_sub(1)?),
            Err(_) => self.named.get(name),
        }
    }
}

struct Put<'a> {
    parameters: &'a Parameters,
    used: BTreeSet<String>,
}

impl VisitorMut for Put<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Value(value) = expr else {
            return ControlFlow::Continue(());
        };
        let SqlValue::Placeholder(placeholder) = &value.value else {
            return ControlFlow::Continue(());
        };
        let Some(name) = placeholder.strip_prefix('$') else {
            let rule = format!("parameters are written $1 or $name, not {placeholder}");
            return ControlFlow::Break(Error::invalid(rule));
        };
        let Some(value) = self.parameters.value(name) else {
            let rule = format!("the parameter ${name} has no value: send one with the statement");
            return ControlFlow::Break(Error::invalid(rule));
        };
        self.used.insert(name.to_owned());
        match literal(value) {
            Ok(literal) => *expr = literal,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn literal(value: &Value) -> Result<Expr> {
    let text = |text: &str| Expr::Value(SqlValue::SingleQuotedString(text.to_owned()).into());
    Ok(match value {
        Value::Null => Expr::Value(SqlValue::Null.into()),
        Value::Boolean(truth) => Expr::Value(SqlValue::Boolean(*truth).into()),
        Value::Integer(number) => signed(*number < 0, number.unsigned_abs().to_string()),
        Value::Double(number) if number.is_finite() => cast(
            text(&format!("{number:?}")),
            DataType::Double(ExactNumberInfo::None),
        ),
        Value::Double(number) => {
            return Err(Error::invalid(format!(
                "{number} is no value of a parameter"
            )));
        }
        Value::Text(value) => text(value),
        Value::Date(day) => cast(text(&day.to_string()), DataType::Date),
        Value::Decimal(number) => {
            let number = number.strip_prefix('+').unwrap_or(number);
            let digits = number.strip_prefix('-').unwrap_or(number);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let is_number = !whole.is_empty()
                && whole
                    .chars()
                    .chain(fraction.chars())
                    .all(|c| c.is_ascii_digit());
            if !is_number || whole.len() + fraction.len() > 38 {
                return Err(Error::invalid(format!(
                    "'{number}' is no decimal number of up to 38 digits"
                )));
            }
            let precision = (whole.len() + fraction.len()) as u64;
            let info = ExactNumberInfo::PrecisionAndScale(precision, fraction.len() as i64);
            cast(text(number), DataType::Decimal(info))
        }
    })
}

fn signed(negative: bool, digits: String) -> Expr {
    let number = Expr::Value(SqlValue::Number(digits, false).into());
    if !negative {
        return number;
    }
    let minus = Expr::UnaryOp {
        op: UnaryOperator::Minus,
        expr: Box::new(number),
    };
    Expr::Nested(Box::new(minus))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}
