//! Growth on an earlier value, and why there is none.

use crate::Base;

/// Growth as a fraction: 0.25 for a rise by a quarter.
///
/// `None` on a base that is zero or negative, and where the result would not be a finite number:
/// a growth is never infinite and never NaN.
pub fn growth(value: f64, base: f64) -> Option<f64> {
    let growth = value / base - 1.0;
    (base > 0.0 && growth.is_finite()).then_some(growth)
}

/// Growth relative to the size of the base: on a negative base a rise is positive.
pub fn signed_growth(value: f64, base: f64) -> Option<f64> {
    let growth = (value - base) / base.abs();
    (base != 0.0 && growth.is_finite()).then_some(growth)
}

/// Why there is no growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoGrowth {
    /// The value is missing or no number.
    ValueMissing,
    /// Nothing was observed for the base period.
    BaseMissing,
    /// What was observed ends where the base period does, and starts elsewhere.
    PeriodLengthDiffers,
    /// The base period was observed without a value.
    BaseNull,
    /// The base is zero, or so small that no number holds the growth.
    BaseZero,
    /// The base is negative.
    BaseNegative,
}

impl NoGrowth {
    /// The word in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::ValueMissing => "value_missing",
            Self::BaseMissing => "base_missing",
            Self::PeriodLengthDiffers => "period_length_differs",
            Self::BaseNull => "base_null",
            Self::BaseZero => "base_zero",
            Self::BaseNegative => "base_negative",
        }
    }
}

/// Why there is no growth; `None` where there is.
pub fn no_growth(value: Option<f64>, base: Base, signed: bool) -> Option<NoGrowth> {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return Some(NoGrowth::ValueMissing);
    };
    let base = match base {
        Base::Missing => return Some(NoGrowth::BaseMissing),
        Base::LengthDiffers => return Some(NoGrowth::PeriodLengthDiffers),
        Base::Null => return Some(NoGrowth::BaseNull),
        Base::Value(base) if base.is_nan() => return Some(NoGrowth::BaseNull),
        Base::Value(base) => base,
    };
    if base < 0.0 && !signed {
        return Some(NoGrowth::BaseNegative);
    }
    let growth = match signed {
        true => signed_growth(value, base),
        false => growth(value, base),
    };
    growth.is_none().then_some(NoGrowth::BaseZero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_growth_is_relative_to_the_size_of_the_base() {
        assert_eq!(signed_growth(-50.0, -100.0), Some(0.5));
        assert_eq!(signed_growth(125.0, 100.0), Some(0.25));
        assert_eq!(signed_growth(1.0, 0.0), None);
    }

    #[test]
    fn there_is_a_reason_exactly_where_there_is_no_growth() {
        for value in [1.0, -1.0, 0.0, f64::NAN, f64::INFINITY, 1e308] {
            for base in [1.0, -1.0, 0.0, -0.0, 1e-308, f64::NAN, f64::NEG_INFINITY] {
                let reason = no_growth(Some(value), Base::Value(base), false);
                assert_eq!(
                    reason.is_none(),
                    growth(value, base).is_some(),
                    "{value} {base}"
                );
                let reason = no_growth(Some(value), Base::Value(base), true);
                let growth = signed_growth(value, base);
                assert_eq!(reason.is_none(), growth.is_some(), "{value} {base}");
            }
        }
    }

    #[test]
    fn growth_is_a_fraction_of_the_base() {
        assert_eq!(growth(125.0, 100.0), Some(0.25));
        assert_eq!(growth(0.0, 100.0), Some(-1.0));
        assert_eq!(growth(-50.0, 100.0), Some(-1.5));
    }

    #[test]
    fn a_base_without_meaning_gives_none() {
        for base in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(growth(1.0, base), None, "{base}");
        }
        assert_eq!(growth(f64::NAN, 1.0), None);
        assert_eq!(growth(f64::INFINITY, 1.0), None);
        assert_eq!(growth(1e308, 1e-308), None);
    }
}
