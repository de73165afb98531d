//! The arguments of a period function: a value, a period, a constant, options by name.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;
use didymium_model::{Day, Interval, Match, Unit};

use crate::error::invalid;
use crate::period_columns::period_type;

/// What a function takes beside its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments {
    /// How many columns a period may have.
    pub(crate) periods: Periods,
    /// What stands behind the period.
    pub(crate) constant: Constant,
    /// The options that may follow, by name. In a plan they are one struct, the last argument.
    pub(crate) options: &'static [&'static str],
}

/// How a period is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Periods {
    /// As one date, or as its two ends.
    DateOrPair,
    /// As its two ends.
    Pair,
}

/// A constant behind the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Constant {
    Nothing,
    /// An interval that must be there.
    Interval,
    /// An interval that may be left out.
    OptionalInterval,
    /// A day that must be there.
    Day,
    /// A month's number that may be left out.
    OptionalMonth,
}

/// Where the arguments of one call stand: the value, so many periods, the constant, the options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub(crate) periods: usize,
    pub(crate) constant: bool,
    pub(crate) options: bool,
}

impl Constant {
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::Interval | Self::Day)
    }

    fn what(self) -> &'static str {
        match self {
            Self::Nothing | Self::Interval | Self::OptionalInterval => "the interval",
            Self::Day => "the day",
            Self::OptionalMonth => "the month",
        }
    }

    /// Whether an argument of this type can only be the constant.
    fn takes(self, given: &DataType) -> bool {
        match self {
            Self::Nothing => false,
            Self::Interval | Self::Day => true,
            Self::OptionalInterval => matches!(given, DataType::Interval(_)),
            Self::OptionalMonth => given.is_integer(),
        }
    }

    fn coerced(self, function: &str, given: &DataType) -> Result<DataType> {
        match (self, given) {
            (
                Self::Interval | Self::OptionalInterval,
                DataType::Interval(_) | DataType::Null | DataType::Utf8 | DataType::Utf8View,
            ) => Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
            (Self::Interval | Self::OptionalInterval, other) => Err(invalid(
                function,
                format!(
                    "the last argument must be an interval, such as INTERVAL '1 year', not {other}"
                ),
            )),
            (Self::Day, given) => period_type(function, given).map(|_| DataType::Date32),
            (Self::OptionalMonth | Self::Nothing, _) => Ok(DataType::Int64),
        }
    }
}

impl Arguments {
    /// Where the arguments stand, by their types; `None` where there are too many or too few.
    pub(crate) fn places(&self, given: &[DataType]) -> Option<Places> {
        let (_, mut rest) = given.split_first()?;
        let options = match rest {
            [before @ .., DataType::Struct(_)] if !self.options.is_empty() => {
                rest = before;
                true
            }
            _ => false,
        };
        let constant = match rest {
            [before @ .., last] if self.constant.takes(last) => {
                rest = before;
                true
            }
            _ if self.constant.is_required() => return None,
            _ => false,
        };
        let fewest = match self.periods {
            Periods::DateOrPair => 1,
            Periods::Pair => 2,
        };
        (fewest..=2).contains(&rest.len()).then_some(Places {
            periods: rest.len(),
            constant,
            options,
        })
    }

    /// The types that the arguments are read as.
    pub(crate) fn coerced(
        &self,
        function: &str,
        given: &[DataType],
        places: Places,
    ) -> Result<Vec<DataType>> {
        let mut coerced = vec![value_type(function, &given[0])?];
        for period in &given[1..=places.periods] {
            coerced.push(period_type(function, period)?);
        }
        let mut rest = given[1 + places.periods..].iter();
        if places.constant
            && let Some(constant) = rest.next()
        {
            coerced.push(self.constant.coerced(function, constant)?);
        }
        coerced.extend(rest.cloned());
        Ok(coerced)
    }
}

fn value_type(function: &str, given: &DataType) -> Result<DataType> {
    if given.is_numeric() || given.is_null() {
        return Ok(DataType::Float64);
    }
    Err(invalid(
        function,
        format!("the value must be a number, not {given}"),
    ))
}

/// The constant arguments of one call.
pub(crate) struct Call<'a> {
    pub(crate) function: &'static str,
    /// Whether the period is given by its two ends.
    pub(crate) is_pair: bool,
    constant: Option<&'a ScalarValue>,
    options: Vec<(String, ScalarValue)>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        function: &'static str,
        arguments: &Arguments,
        places: Places,
        given: &'a [Arc<dyn PhysicalExpr>],
    ) -> Result<Self> {
        let mut rest = given[1 + places.periods..].iter();
        let mut next = |is_there: bool, what: &str| -> Result<Option<&'a ScalarValue>> {
            let Some(argument) = is_there.then(|| rest.next()).flatten() else {
                return Ok(None);
            };
            match argument.downcast_ref::<Literal>() {
                Some(literal) => Ok(Some(literal.value())),
                None => Err(invalid(function, format!("{what} must be a constant"))),
            }
        };
        let constant = next(places.constant, arguments.constant.what())?;
        let options = match next(places.options, "an option")? {
            None => Vec::new(),
            Some(options) => named(function, arguments.options, options)?,
        };
        Ok(Self {
            function,
            is_pair: places.periods == 2,
            constant,
            options,
        })
    }

    /// The constant, as the length of time that it must be; `None` where it was left out.
    pub(crate) fn interval(&self) -> Result<Option<Interval>> {
        self.constant
            .map(|constant| self.interval_of("the interval", constant))
            .transpose()
    }

    /// The constant, as the day that it must be.
    pub(crate) fn day(&self) -> Result<Day> {
        match self.constant {
            Some(ScalarValue::Date32(Some(day))) => Ok(Day::from_epoch(*day)),
            _ => Err(self.invalid("the day must be a date and not NULL")),
        }
    }

    /// The constant, as the number of a month; January where it was left out.
    pub(crate) fn month(&self) -> Result<u32> {
        let month = match self.constant {
            None => return Ok(1),
            Some(ScalarValue::Int64(Some(month))) => u32::try_from(*month).ok(),
            Some(_) => None,
        };
        month
            .filter(|month| (1..=12).contains(month))
            .ok_or_else(|| self.invalid("the fiscal year must start in a month from 1 to 12"))
    }

    /// Which period counts as a base, by the options `match` and `tolerance`.
    pub(crate) fn matching(&self) -> Result<Match> {
        match (self.option("match"), self.option("tolerance")) {
            (None, None) => Ok(Match::Exact),
            (Some(_), Some(_)) => Err(self.invalid("match and tolerance exclude each other")),
            (Some(letter), None) => {
                let unit = letter.try_as_str().flatten().and_then(Unit::from_letter);
                let unit = unit.filter(|unit| *unit != Unit::HalfYear);
                unit.map(Match::Unit)
                    .ok_or_else(|| self.invalid("match must be 'D', 'W', 'M', 'Q' or 'A'"))
            }
            (None, Some(_)) if self.is_pair => Err(self.invalid(
                "tolerance is for single dates: give one date as the period, or leave it out",
            )),
            (None, Some(tolerance)) => self
                .interval_of("the tolerance", tolerance)
                .map(Match::Nearest),
        }
    }

    /// An option that is true or false; false where it is not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        match self.option(name) {
            None => Ok(false),
            Some(ScalarValue::Boolean(Some(flag))) => Ok(*flag),
            Some(_) => Err(self.invalid(&format!("{name} must be true or false"))),
        }
    }

    /// An option that is one of some words.
    pub(crate) fn word(&self, name: &str, words: &[&str]) -> Result<Option<String>> {
        let Some(given) = self.option(name) else {
            return Ok(None);
        };
        match given.try_as_str().flatten() {
            Some(word) if words.contains(&word) => Ok(Some(word.to_owned())),
            _ => Err(self.invalid(&format!("{name} must be one of {}", words.join(", ")))),
        }
    }

    pub(crate) fn invalid(&self, message: &str) -> datafusion_common::DataFusionError {
        invalid(self.function, message)
    }

    fn option(&self, name: &str) -> Option<&ScalarValue> {
        let (_, value) = self.options.iter().find(|(given, _)| given == name)?;
        Some(value)
    }

    fn interval_of(&self, what: &str, given: &ScalarValue) -> Result<Interval> {
        let given = given
            .cast_to(&DataType::Interval(IntervalUnit::MonthDayNano))
            .map_err(|_| self.invalid(&format!("{what} must be an interval")))?;
        match given {
            ScalarValue::IntervalMonthDayNano(Some(parts)) => {
                Interval::from_parts(parts.months, parts.days, parts.nanoseconds).map_err(|error| {
                    self.invalid(&error.to_string().replacen("the interval", what, 1))
                })
            }
            _ => Err(self.invalid(&format!("{what} must not be NULL"))),
        }
    }
}

/// The options out of their struct.
fn named(
    function: &str,
    known: &[&str],
    options: &ScalarValue,
) -> Result<Vec<(String, ScalarValue)>> {
    let ScalarValue::Struct(options) = options else {
        return internal_err!("{function}: options arrived as {options:?}");
    };
    let fields = options.fields().iter().zip(options.columns());
    let mut named: Vec<(String, ScalarValue)> = Vec::with_capacity(options.num_columns());
    for (field, column) in fields {
        if !known.contains(&field.name().as_str()) {
            let known = known.join(", ");
            return Err(invalid(
                function,
                format!("there is no option {}, only {known}", field.name()),
            ));
        }
        if named.iter().any(|(given, _)| given == field.name()) {
            let message = format!("the option {} is given twice", field.name());
            return Err(invalid(function, message));
        }
        named.push((
            field.name().clone(),
            ScalarValue::try_from_array(column, 0)?,
        ));
    }
    Ok(named)
}
