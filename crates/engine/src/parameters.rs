//! A statement's parameters: `$name`, `$1` and `?`, replaced by the values that a request brings.
//!
//! They are replaced in the parsed statement, so a value can never become SQL, and a parameter may
//! stand wherever a constant may, in the arguments of a relation too.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Ident, Select, SelectItem, TableFactor,
    TimezoneInfo, UnaryOperator, Value as SqlValue, VisitMut, VisitorMut,
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
    /// A moment: microseconds since 1970, in no time zone.
    Timestamp(i64),
}

/// The values of a statement's parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// `$1`, `$2`, …, or as many `?`.
    pub positional: Vec<Value>,
    /// `$name`.
    pub named: BTreeMap<String, Value>,
    /// `$name`, for statements that may use it or not.
    pub offered: BTreeMap<String, Value>,
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
        number(statement)?;
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
            Err(_) => self.named.get(name).or_else(|| self.offered.get(name)),
        }
    }
}

/// The most parameters of a statement that are numbered.
const MOST: usize = 1024;

/// The names of a statement's parameters as they stand, each once: `1` for `$1` and for the first `?`.
///
/// # Errors
/// For parameters that are written in a way of their own.
pub(crate) fn names(statement: &mut impl VisitMut) -> Result<Vec<String>> {
    number(statement)?;
    let mut found = Found::default();
    let _ = statement.visit(&mut found);
    let numbers = found
        .names
        .iter()
        .filter_map(|name| name.parse::<usize>().ok());
    match numbers.max().is_some_and(|most| most > MOST) {
        true => Err(Error::invalid(format!(
            "parameters are numbered up to ${MOST}"
        ))),
        false => Ok(found.names),
    }
}

/// Leaves the parameters open, but for those that have values here.
pub(crate) fn leave_open(
    statement: &mut impl VisitMut,
    values: &BTreeMap<String, Value>,
) -> Result<()> {
    number(statement)?;
    let _ = statement.visit(&mut Naming);
    let mut put = PutSome(values);
    match statement.visit(&mut put) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The parameters in the arguments of relations, such as `as_of('quotas', $1)`.
pub(crate) fn names_in_relations(statement: &mut impl VisitMut) -> Result<Vec<String>> {
    number(statement)?;
    let mut found = FoundInRelations::default();
    let _ = statement.visit(&mut found);
    Ok(found.0.names)
}

struct PutSome<'a>(&'a BTreeMap<String, Value>);

impl VisitorMut for PutSome<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let name = placeholder(expr).map(|name| name.trim_start_matches('$').to_owned());
        if let Some(value) = name.and_then(|name| self.0.get(&name)) {
            match literal(value) {
                Ok(literal) => *expr = literal,
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }
}

#[derive(Default)]
struct FoundInRelations(Found);

impl VisitorMut for FoundInRelations {
    type Break = Infallible;

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Infallible> {
        match table {
            TableFactor::Table {
                args: Some(args), ..
            } => args.visit(&mut self.0),
            TableFactor::Function { args, .. } => args.visit(&mut self.0),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Numbers every `?` from the left, as `$1`, `$2`, ….
fn number(statement: &mut impl VisitMut) -> Result<()> {
    let mut numbering = Numbering::default();
    let _ = statement.visit(&mut numbering);
    match numbering.marks > 0 && numbering.has_names {
        true => Err(Error::invalid(
            "a statement has parameters of one kind: ? or $1 and $name",
        )),
        false => Ok(()),
    }
}

/// Counts the `?` as it numbers them.
#[derive(Default)]
struct Numbering {
    marks: usize,
    has_names: bool,
}

impl VisitorMut for Numbering {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Some(placeholder) = placeholder(expr) {
            match placeholder == "?" {
                true => {
                    self.marks += 1;
                    *placeholder = format!("${}", self.marks);
                }
                false => self.has_names = true,
            }
        }
        ControlFlow::Continue(())
    }
}

/// Names columns where the parameters stay open.
struct Naming;

#[derive(Default)]
struct Found {
    names: Vec<String>,
}

impl VisitorMut for Naming {
    type Break = Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Infallible> {
        name_columns(select);
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Found {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Infallible> {
        if let Some(placeholder) = placeholder(expr) {
            let name = placeholder.trim_start_matches('$').to_owned();
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
        ControlFlow::Continue(())
    }
}

fn placeholder(expr: &mut Expr) -> Option<&mut String> {
    match expr {
        Expr::Value(value) => match &mut value.value {
            SqlValue::Placeholder(placeholder) => Some(placeholder),
            _ => None,
        },
        _ => None,
    }
}

/// Gives the columns of a SELECT that hold parameters, and have no names, their texts as names.
fn name_columns(select: &mut Select) {
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        let mut found = Found::default();
        let _ = expr.visit(&mut found);
        if !found.names.is_empty() {
            let alias = Ident::with_quote('"', expr.to_string());
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias,
            };
        }
    }
}

struct Put<'a> {
    parameters: &'a Parameters,
    used: BTreeSet<String>,
}

impl VisitorMut for Put<'_> {
    type Break = Error;

    /// A column is called by its text, whatever the values are: two of one value are still two.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        name_columns(select);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Value(value) = expr else {
            return ControlFlow::Continue(());
        };
        let SqlValue::Placeholder(placeholder) = &value.value else {
            return ControlFlow::Continue(());
        };
        let Some(name) = placeholder.strip_prefix('$') else {
            let rule = format!("parameters are written ?, $1 or $name, not {placeholder}");
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
        Value::Timestamp(micros) => cast(
            text(&moment(*micros)?),
            DataType::Timestamp(Some(6), TimezoneInfo::None),
        ),
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

/// A moment as SQL writes it.
fn moment(micros: i64) -> Result<String> {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let day = i32::try_from(days).map(Day::from_epoch);
    let day = day.map_err(|_| Error::invalid(format!("{micros} is no time of a parameter")))?;
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    Ok(format!(
        "{day} {hours:02}:{minutes:02}:{:02}.{micros:06}",
        seconds % 60
    ))
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
