//! Which of several statements about one period counts on a given day.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::{Day, Status};

/// What one source said about one period of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statement<'a> {
    /// How far the value can be relied upon.
    pub status: Status,
    /// The day on which it became public.
    pub published_on: Day,
    /// Who says it.
    pub source: &'a str,
    /// The source's rank, 1 the best.
    pub rank: i64,
    /// 1, 2 … where the source says several things.
    pub number: i64,
    /// What it says; `None` where it says that there is no value.
    pub value: Option<f64>,
}

/// A change of the value that counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Revision {
    /// The statement that counted before.
    pub from: usize,
    /// The one that counts from the day on.
    pub to: usize,
    /// The day.
    pub changed_on: Day,
}

/// Everything that was said about one period of one series.
#[derive(Debug)]
pub struct Vintages<'a> {
    statements: &'a [Statement<'a>],
    /// The days on which each source took something back, in order. Nearly always empty.
    withdrawals: HashMap<&'a str, Vec<Day>>,
}

impl<'a> Vintages<'a> {
    /// The statements about one period.
    pub fn of(statements: &'a [Statement<'a>]) -> Self {
        let mut withdrawals: HashMap<&str, Vec<Day>> = HashMap::new();
        for said in statements
            .iter()
            .filter(|said| said.status == Status::Withdrawn)
        {
            withdrawals
                .entry(said.source)
                .or_default()
                .push(said.published_on);
        }
        withdrawals
            .values_mut()
            .for_each(|days| days.sort_unstable());
        Self {
            statements,
            withdrawals,
        }
    }

    /// The statement that counts on `day`, by its place; `None` where none does.
    ///
    /// Among those public by then and neither contradicted, superseded nor withdrawn: an exact one
    /// before a rounded one, then the best source, then the newest, then the first by source and
    /// number.
    pub fn choose(&self, day: Day) -> Option<usize> {
        self.preferred(0..self.statements.len(), day)
    }

    fn preferred(&self, places: impl Iterator<Item = usize>, day: Day) -> Option<usize> {
        places
            .filter(|place| self.counts(*place, day))
            .min_by_key(|place| preference(&self.statements[*place]))
    }

    /// Every day until `until` on which another value began to count.
    ///
    /// A reprint of the same value, by whatever source, is no revision; nor is the first value.
    pub fn revisions(&self, until: Day) -> Vec<Revision> {
        let mut by_day: Vec<usize> = (0..self.statements.len()).collect();
        by_day.retain(|place| self.statements[*place].published_on <= until);
        by_day.sort_by_key(|place| self.statements[*place].published_on);
        let same_day = |a: &usize, b: &usize| {
            self.statements[*a].published_on == self.statements[*b].published_on
        };
        let mut revisions = Vec::new();
        let mut before: Option<usize> = None;
        for new in by_day.chunk_by(same_day) {
            let changed_on = self.statements[new[0]].published_on;
            // What counted goes on to count unless it was taken back; then all are asked again.
            let to = match before {
                Some(before) if !self.counts(before, changed_on) => self.choose(changed_on),
                before => self.preferred(before.into_iter().chain(new.iter().copied()), changed_on),
            };
            let Some(to) = to else { continue };
            if let Some(from) = before
                && self.statements[from].value != self.statements[to].value
            {
                revisions.push(Revision {
                    from,
                    to,
                    changed_on,
                });
            }
            before = Some(to);
        }
        revisions
    }

    /// The statements that hold on `day`, where they say different things; else none.
    ///
    /// A contradicted statement is one of them, since somebody said it; a superseded or withdrawn
    /// one is not, since its own source no longer says it.
    pub fn conflicts(&self, day: Day) -> Vec<usize> {
        let holds = |place: &usize| {
            let contradicted = self.statements[*place].status == Status::Contradicted;
            self.counts(*place, day) || contradicted && self.is_live(*place, day)
        };
        let held: Vec<usize> = (0..self.statements.len()).filter(holds).collect();
        let mut values = held
            .iter()
            .filter_map(|place| self.statements[*place].value);
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            held
        } else {
            Vec::new()
        }
    }

    fn counts(&self, place: usize, day: Day) -> bool {
        !self.statements[place].status.is_set_aside() && self.is_live(place, day)
    }

    /// Whether a statement is public by `day` and its source has not taken it back by then.
    fn is_live(&self, place: usize, day: Day) -> bool {
        let said = &self.statements[place];
        let taken_back = || {
            let days = self.withdrawals.get(said.source)?;
            days.get(days.partition_point(|on| *on < said.published_on))
        };
        said.published_on <= day && taken_back().is_none_or(|on| *on > day)
    }
}

/// What the smallest of is preferred.
fn preference<'a>(statement: &Statement<'a>) -> (bool, i64, Reverse<Day>, &'a str, i64) {
    (
        statement.status == Status::Rounded,
        statement.rank,
        Reverse(statement.published_on),
        statement.source,
        statement.number,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::parse(text).expect("a test names real days")
    }

    fn said(source: &'static str, rank: i64, published: &str, value: f64) -> Statement<'static> {
        Statement {
            status: Status::Final,
            published_on: day(published),
            source,
            rank,
            number: 1,
            value: Some(value),
        }
    }

    fn value(statements: &[Statement<'_>], on: &str) -> Option<f64> {
        statements[Vintages::of(statements).choose(day(on))?].value
    }

    #[test]
    fn a_day_knows_what_was_public() {
        let editions = [
            said("2019", 1, "2019-02-28", 15_000.0),
            said("2020", 1, "2020-02-06", 18_000.0),
            said("2021", 1, "2021-02-01", 14_000.0),
        ];
        assert_eq!(value(&editions, "2019-01-01"), None);
        assert_eq!(value(&editions, "2019-02-28"), Some(15_000.0));
        assert_eq!(value(&editions, "2020-06-30"), Some(18_000.0));
        assert_eq!(value(&editions, "2027-01-01"), Some(14_000.0));
        let changed: Vec<_> = Vintages::of(&editions)
            .revisions(day("2027-01-01"))
            .into_iter()
            .map(|revision| (revision.from, revision.to, revision.changed_on))
            .collect();
        assert_eq!(
            changed,
            [(0, 1, day("2020-02-06")), (1, 2, day("2021-02-01"))]
        );
    }

    #[test]
    fn rank_beats_age_and_exact_beats_rank() {
        let ministry = said("ministry", 1, "2020-07-01", 135_000.0);
        let report = said("report", 9, "2023-01-01", 115_000.0);
        assert_eq!(value(&[ministry, report], "2024-01-01"), Some(135_000.0));
        let rounded = Statement {
            status: Status::Rounded,
            ..ministry
        };
        assert_eq!(value(&[rounded, report], "2024-01-01"), Some(115_000.0));
        assert_eq!(
            Vintages::of(&[ministry, report]).conflicts(day("2024-01-01")),
            [0, 1]
        );
        assert_eq!(
            Vintages::of(&[ministry, report]).conflicts(day("2022-01-01")),
            Vec::<usize>::new()
        );
        assert_eq!(
            Vintages::of(&[ministry, report]).revisions(day("2024-01-01")),
            []
        );
    }

    #[test]
    fn a_withdrawal_touches_its_own_source_from_its_day_on() {
        let estimate = said("estimate", 5, "2013-12-13", 21_586.0);
        let other = said("other", 6, "2013-12-13", 30_000.0);
        let taken_back = Statement {
            status: Status::Withdrawn,
            value: None,
            ..said("estimate", 5, "2013-12-14", 0.0)
        };
        let statements = [estimate, taken_back, other];
        assert_eq!(value(&statements, "2013-12-13"), Some(21_586.0));
        assert_eq!(value(&statements, "2013-12-14"), Some(30_000.0));
        assert_eq!(
            Vintages::of(&statements).conflicts(day("2013-12-14")),
            Vec::<usize>::new()
        );
    }

    #[test]
    fn a_later_statement_after_a_withdrawal_counts() {
        let first = said("a", 1, "2020-01-01", 1.0);
        let taken_back = Statement {
            status: Status::Withdrawn,
            ..said("a", 1, "2020-02-01", 1.0)
        };
        let second = said("a", 1, "2020-03-01", 2.0);
        assert_eq!(value(&[first, taken_back, second], "2020-02-15"), None);
        assert_eq!(value(&[first, taken_back, second], "2020-03-01"), Some(2.0));
    }

    #[test]
    fn a_missing_value_with_a_status_counts_as_a_statement() {
        let kept = Statement {
            status: Status::NotDisclosed,
            value: None,
            ..said("ministry", 1, "2025-08-22", 0.0)
        };
        assert_eq!(Vintages::of(&[kept]).choose(day("2026-01-01")), Some(0));
    }
}
