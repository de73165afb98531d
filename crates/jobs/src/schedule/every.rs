//! Intervals, counted from 1970 rather than from when a server started.

use std::fmt;
use std::time::Duration;

use super::Due;

/// Fires at the multiples of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    step_ms: i64,
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl Every {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let step = humantime::parse_duration(text)
            .map_err(|error| format!("every '{text}' is no time such as '10 minutes': {error}"))?;
        if step < SHORTEST || step > LONGEST {
            return Err(format!("every '{text}': from 1 second to 366 days"));
        }
        if step.subsec_nanos() % 1_000_000 != 0 {
            return Err(format!("every '{text}': in whole milliseconds"));
        }
        Ok(Self {
            step_ms: step.as_millis() as i64,
        })
    }

    /// As [`Every::parse`] reads it.
    pub(super) fn text(self) -> String {
        let step = Duration::from_millis(self.step_ms.unsigned_abs());
        humantime::format_duration(step).to_string()
    }

    pub(super) fn next(self, after_ms: i64) -> Option<i64> {
        let number = after_ms.div_euclid(self.step_ms) + 1;
        number.checked_mul(self.step_ms)
    }

    pub(super) fn due(self, after_ms: i64, until_ms: i64, most: usize) -> Due {
        let last = until_ms.div_euclid(self.step_ms);
        let count = last
            .saturating_sub(after_ms.div_euclid(self.step_ms))
            .max(0);
        let newest = count.min(i64::try_from(most).unwrap_or(i64::MAX));
        Due {
            count: count.unsigned_abs(),
            newest: (last - newest + 1..=last)
                .map(|number| number * self.step_ms)
                .collect(),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_are_multiples_whenever_one_asks() {
        let every = Every::parse("10 minutes").unwrap();
        for (after, next) in [
            (-1, 0),
            (0, 600_000),
            (599_999, 600_000),
            (600_000, 1_200_000),
        ] {
            assert_eq!(every.next(after), Some(next), "{after}");
        }
        assert_eq!(every.next(i64::MAX), None);
    }

    #[test]
    fn what_is_due_excludes_the_start_and_includes_the_end() {
        let every = Every::parse("1s").unwrap();
        for (after, until, most, count, newest) in [
            (1000, 4000, 2, 3, vec![3000, 4000]),
            (1000, 4000, 9, 3, vec![2000, 3000, 4000]),
            (999, 1000, 1, 1, vec![1000]),
            (1000, 1999, 9, 0, vec![]),
            (4000, 1000, 9, 0, vec![]),
            (0, 86_400_000, 0, 86_400, vec![]),
        ] {
            assert_eq!(
                every.due(after, until, most),
                Due { count, newest },
                "{after} {until} {most}"
            );
        }
    }

    #[test]
    fn an_interval_comes_back_and_has_bounds() {
        for text in ["1s", "10 minutes", "366 days", "1500ms"] {
            let every = Every::parse(text).unwrap();
            assert_eq!(Every::parse(&every.text()), Ok(every), "{text}");
        }
        for (text, said) in [
            ("0", "from 1 second"),
            ("999ms", "from 1 second"),
            ("367 days", "366 days"),
            ("1s 5us", "whole milliseconds"),
            ("ten minutes", "no time such as"),
        ] {
            let error = Every::parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
