//! Pages of runs, newest first.

use std::fmt;

use didymium_jobs::Run;
use tonic::Status;

use crate::request::invalid;

/// Runs of one logical time that pages go through.
const MOST_ALIKE: u32 = 100_000;

/// Where a page begins. The runs of one logical time, which several jobs may have, may lie on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The logical time of the last run before it.
    ms: i64,
    /// How many runs of that time lie before it.
    passed: u32,
}

impl Place {
    /// Reads the token of a page; `None` for the first.
    pub(super) fn parse(token: &str) -> Result<Option<Self>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        let read = token.split_once('.').and_then(|(ms, passed)| {
            Some(Self {
                ms: ms.parse().ok()?,
                passed: passed.parse().ok().filter(|passed| *passed <= MOST_ALIKE)?,
            })
        });
        read.map(Some).ok_or_else(|| {
            invalid("page_token: give the next_page_token of the page before, or none")
        })
    }

    /// Before which time to look, and for how many runs: those that have passed, the page's, and one more,
    /// which tells whether others follow.
    pub(super) fn reach(place: Option<Self>, size: usize) -> (Option<i64>, usize) {
        let before = place.map(|place| place.ms.saturating_add(1));
        (before, size.saturating_add(passed(place)).saturating_add(1))
    }

    /// The runs of the page among those that were found, and where the next one begins.
    pub(super) fn page(
        place: Option<Self>,
        found: Vec<Run>,
        size: usize,
    ) -> (Vec<Run>, Option<Self>) {
        let mut runs: Vec<Run> = found.into_iter().skip(passed(place)).collect();
        if runs.len() <= size {
            return (runs, None);
        }
        runs.truncate(size);
        let times: Vec<i64> = runs.iter().map(|run| run.logical_ms).collect();
        (runs, Self::after(place, &times))
    }

    /// Where the page begins that follows one with runs of these times.
    fn after(place: Option<Self>, times: &[i64]) -> Option<Self> {
        let ms = *times.last()?;
        let alike = times.iter().rev().take_while(|time| **time == ms).count();
        let alike = u32::try_from(alike).unwrap_or(u32::MAX);
        let before = place.filter(|place| place.ms == ms);
        let passed = before.map_or(0, |place| place.passed).saturating_add(alike);
        Some(Self { ms, passed })
    }
}

fn passed(place: Option<Place>) -> usize {
    place.map_or(0, |place| place.passed as usize)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms, self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_time_are_told_once_each() {
        let first = Place::after(None, &[9, 7, 7]);
        assert_eq!(first, Some(Place { ms: 7, passed: 2 }));
        assert_eq!(Place::reach(first, 3), (Some(8), 6));
        let second = Place::after(first, &[7, 7, 7]);
        assert_eq!(second, Some(Place { ms: 7, passed: 5 }));
        assert_eq!(
            Place::after(second, &[7, 3]),
            Some(Place { ms: 3, passed: 1 })
        );
    }

    #[test]
    fn a_token_comes_back() {
        let place = Place { ms: -5, passed: 2 };
        assert_eq!(Place::parse(&place.to_string()).unwrap(), Some(place));
        assert_eq!(Place::parse("").unwrap(), None);
        assert!(Place::parse("yesterday").is_err());
    }
}
