//! Growth on an earlier value.

/// Growth as a fraction: 0.25 for a rise by a quarter.
///
/// `None` on a base that is zero or negative, and where the result would not be a finite number:
/// a growth is never infinite and never NaN.
pub fn growth(value: f64, base: f64) -> Option<f64> {
    let growth = value / base - 1.0;
    (base > 0.0 && growth.is_finite()).then_some(growth)
}

#[cfg(test)]
mod tests {
    use super::*;

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
