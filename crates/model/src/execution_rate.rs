//! How much of a quota has been used.

/// A quota below zero, which no authority can issue.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a quota can't be negative: {0}")]
pub struct NegativeQuota(pub f64);

/// Actual output as a fraction of the quota, in the same unit and basis.
///
/// More than the quota is more than 1 and stays so; a negative actual gives a negative rate.
/// `None` for a quota of zero and where the result would not be a finite number.
///
/// # Errors
/// [`NegativeQuota`].
pub fn execution_rate(actual: f64, quota: f64) -> Result<Option<f64>, NegativeQuota> {
    if quota < 0.0 {
        return Err(NegativeQuota(quota));
    }
    let rate = actual / quota;
    Ok((quota > 0.0 && rate.is_finite()).then_some(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_can_be_exceeded() {
        assert_eq!(execution_rate(150.0, 100.0), Ok(Some(1.5)));
        assert_eq!(execution_rate(-1.0, 100.0), Ok(Some(-0.01)));
        assert_eq!(execution_rate(0.0, 100.0), Ok(Some(0.0)));
    }

    #[test]
    fn no_quota_has_no_rate_and_a_negative_one_is_an_error() {
        assert_eq!(execution_rate(1.0, 0.0), Ok(None));
        assert_eq!(execution_rate(1.0, f64::NAN), Ok(None));
        assert_eq!(execution_rate(1.0, -5.0), Err(NegativeQuota(-5.0)));
    }
}
