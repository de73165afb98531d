//! Cron expressions on the clock of a zone, which leaves hours out and shows others twice.
//!
//! croner only says which clock times match; the way from a clock time to the moment is ours. Where an
//! expression fixes the time of day, every clock time that matches has one moment: the first of two, and
//! right after the leap where the clock leaves it out. Where seconds, minutes or hours come of a `*`, it
//! fires whenever the clock shows what matches, so that `*/30` keeps its pace through both hours.

use std::cmp::Ordering;
use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use chrono_tz::Tz;
use croner::errors::CronError;
use croner::parser::{CronParser, Year};
use croner::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};

use super::Due;
use crate::logical_time::{DAY_S, first_second, instant_s, offset_s};

/// A cron expression in a zone.
#[derive(Clone, PartialEq)]
pub struct Cron {
    expression: String,
    zone: Tz,
    pattern: Box<croner::Cron>,
    /// Whether the time of day is fixed.
    is_fixed: bool,
    /// Fires of a day that matches and has all its hours once.
    fires_a_day: u64,
}

const EXPRESSION_BYTES: usize = 200;

/// Steps of a count: a million days, or seconds of days on which the clock changes.
const STEPS: usize = 1_000_000;

impl Cron {
    pub(super) fn parse(expression: &str, zone: Tz) -> Result<Self, String> {
        let expression = expression.trim();
        if expression.len() > EXPRESSION_BYTES {
            return Err(format!("cron: at most {EXPRESSION_BYTES} bytes"));
        }
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let read = parser.parse(expression).map_err(|error| {
            format!(
                "cron '{expression}': {error} It has 5 fields such as '0 6 * * *', or 6 with seconds first"
            )
        })?;
        let pattern = &read.pattern;
        let times = [&pattern.seconds, &pattern.minutes, &pattern.hours];
        let fires_a_day: u64 = times
            .iter()
            .map(|field| field.values().len() as u64)
            .product();
        let cron = Self {
            expression: expression.to_owned(),
            zone,
            is_fixed: !times.iter().any(|field| field.from_wildcard),
            fires_a_day,
            pattern: Box::new(read),
        };
        // The first question spares croner a search by the minute through three thousand years.
        if fires_a_day == 0 || cron.clock_after(0).is_none() {
            return Err(format!(
                "cron '{expression}' never fires: no day has such a time"
            ));
        }
        Ok(cron)
    }

    pub(super) fn expression(&self) -> &str {
        &self.expression
    }

    pub(super) fn zone(&self) -> Tz {
        self.zone
    }

    pub(super) fn next(&self, after_ms: i64) -> Option<i64> {
        // Fires are whole seconds: those after a moment are those after its second.
        self.next_s(after_ms.div_euclid(1000))?.checked_mul(1000)
    }

    /// The count stops after a million steps, which is thousands of years or a great many seconds.
    pub(super) fn due(&self, after_ms: i64, until_ms: i64, most: usize) -> Due {
        let (after, until) = (after_ms.div_euclid(1000), until_ms.div_euclid(1000));
        if until <= after {
            return Due::default();
        }
        let mut at = self.start_of_newest(after, until, most as u64);
        let mut newest = Vec::new();
        while let Some(fire) = self.next_s(at).filter(|fire| *fire <= until) {
            newest.push(fire * 1000);
            at = fire;
        }
        Due {
            count: self.count(after, until),
            newest,
        }
    }

    fn next_s(&self, after: i64) -> Option<i64> {
        if self.is_fixed {
            self.next_fixed(after)
        } else {
            self.next_shown(after)
        }
    }

    /// A later clock time never has an earlier moment, so the first that is late enough is the next. Those in
    /// the second of two hours are not: they fired in the first.
    fn next_fixed(&self, after: i64) -> Option<i64> {
        let mut clock = after + self.offset(after);
        loop {
            clock = self.clock_after(clock)?;
            let fire = instant_s(self.zone, clock)?;
            if fire > after {
                return Some(fire);
            }
        }
    }

    /// Up to the next change of the clock it is a constant ahead of UTC; then one looks anew.
    fn next_shown(&self, after: i64) -> Option<i64> {
        let (mut after, mut offset) = (after, self.offset(after));
        loop {
            let fire = self.clock_after(after + offset)? - offset;
            let Some(change) = self.change(after, fire, offset) else {
                return Some(fire);
            };
            after = change - 1;
            offset = self.offset(change);
        }
    }

    /// The first moment after one and up to another at which the clock's offset is another.
    fn change(&self, after: i64, until: i64, offset: i64) -> Option<i64> {
        let differs = |at: i64| self.offset(at) != offset;
        let mut at = after;
        while at < until {
            // By days, for over a summer the offset changes and changes back.
            let later = (at + DAY_S).min(until);
            if differs(later) {
                return Some(first_second(at, later, differs));
            }
            at = later;
        }
        None
    }

    /// Days that have all their hours once are counted at once.
    fn count(&self, after: i64, until: i64) -> u64 {
        let (mut at, mut count) = (after, 0);
        for _ in 0..STEPS {
            let Some(fire) = self.next_s(at).filter(|fire| *fire <= until) else {
                break;
            };
            let whole = self.plain_day(fire);
            match whole.filter(|(first, last)| at < *first && *last <= until) {
                Some((_, last)) => {
                    count += self.fires_a_day;
                    at = last;
                }
                None => {
                    count += 1;
                    at = fire;
                }
            }
        }
        count
    }

    /// The first and last second of a moment's day, where the clock changes neither on it nor on the day
    /// before, whose fires may have been carried over.
    fn plain_day(&self, at: i64) -> Option<(i64, i64)> {
        let offset = self.offset(at);
        let first = (at + offset).div_euclid(DAY_S) * DAY_S - offset;
        let last = first + DAY_S - 1;
        let is_plain = [first - DAY_S, last]
            .iter()
            .all(|at| self.offset(*at) == offset);
        is_plain.then_some((first, last))
    }

    /// The moment after which so many fires are due, or all of them.
    fn start_of_newest(&self, after: i64, until: i64, most: u64) -> i64 {
        let is_few = |from: i64| self.count(from, until) <= most;
        let (mut few, mut span) = (until, 1_i64);
        loop {
            let from = until.saturating_sub(span).max(after);
            if !is_few(from) {
                return first_second(from, few, is_few);
            }
            if from == after {
                return after;
            }
            few = from;
            span = span.saturating_mul(2);
        }
    }

    fn offset(&self, at: i64) -> i64 {
        offset_s(self.zone, at)
    }

    /// The next clock time that matches, on a clock that never changes; `None` after the year 5000.
    fn clock_after(&self, clock: i64) -> Option<i64> {
        let start = Clock(DateTime::from_timestamp(clock, 0)?.naive_utc());
        let found = self.pattern.find_next_occurrence(&start, false).ok()?;
        Some(found.0.and_utc().timestamp())
    }
}

/// In short: its pattern is thousands of numbers.
impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({:?}, {})", self.expression, self.zone)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cron {} in {}", self.expression, self.zone.name())
    }
}

/// What a clock shows, for croner to search over.
#[derive(Clone, Copy)]
struct Clock(NaiveDateTime);

impl CronDateTime for Clock {
    fn to_civil(&self) -> CivilDateTime {
        let Self(shown) = self;
        CivilDateTime::new(
            CivilDate::from_parts_unchecked(shown.year(), shown.month(), shown.day()),
            CivilTime::from_parts_unchecked(shown.hour(), shown.minute(), shown.second()),
        )
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(self.0.weekday().num_days_from_sunday())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let shown = NaiveDate::from_ymd_opt(civil.year(), civil.month(), civil.day())
            .and_then(|day| day.and_hms_opt(civil.hour(), civil.minute(), civil.second()))
            .ok_or(CronError::InvalidDate)?;
        Ok(Resolution::Single(Self(shown)))
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        let later = self
            .0
            .checked_add_signed(TimeDelta::try_seconds(seconds)?)?;
        Some(Self(later))
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logical_time::{parse, text};

    fn cron(expression: &str, zone: Tz) -> Cron {
        Cron::parse(expression, zone).unwrap()
    }

    fn ms(time: &str) -> i64 {
        parse(time).unwrap()
    }

    /// The fires after a moment are these, without their `:00Z`.
    fn check(expression: &str, zone: Tz, after: &str, fires: &[&str]) {
        let cron = cron(expression, zone);
        let mut at = ms(after);
        for fire in fires {
            at = cron.next(at).unwrap();
            assert_eq!(text(at), format!("{fire}:00Z"), "{cron} after {after}");
        }
    }

    // Rome is an hour ahead of UTC in winter and two in summer. On 29 March 2026 its clock leaps from 02:00 to
    // 03:00 and on 25 October it goes back from 03:00 to 02:00, both at 01:00 UTC.
    const ROME: Tz = Tz::Europe__Rome;

    #[test]
    fn a_fixed_time_that_is_left_out_fires_once_right_after() {
        for (expression, fires) in [
            (
                "30 2 * * *",
                ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"],
            ),
            (
                "0 2 * * *",
                ["2026-03-28T01:00", "2026-03-29T01:00", "2026-03-30T00:00"],
            ),
            (
                "0 3 * * *",
                ["2026-03-28T02:00", "2026-03-29T01:00", "2026-03-30T01:00"],
            ),
            (
                "0 1 * * *",
                ["2026-03-28T00:00", "2026-03-29T00:00", "2026-03-29T23:00"],
            ),
        ] {
            check(expression, ROME, "2026-03-27T12:00:00Z", &fires);
        }
        for (expression, fires) in [
            ("30 2,14 * * *", ["2026-03-29T01:00", "2026-03-29T12:30"]),
            ("0,30 2 * * *", ["2026-03-29T01:00", "2026-03-30T00:00"]),
            ("0 2,3 * * *", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        ] {
            check(expression, ROME, "2026-03-28T20:00:00Z", &fires);
        }
    }

    #[test]
    fn a_fixed_time_that_comes_twice_fires_the_first_time() {
        for (expression, fires) in [
            ("30 2 * * *", ["2026-10-25T00:30", "2026-10-26T01:30"]),
            ("0 2 * * *", ["2026-10-25T00:00", "2026-10-26T01:00"]),
            ("0 3 * * *", ["2026-10-25T02:00", "2026-10-26T02:00"]),
            ("0,30 2 25 * *", ["2026-10-25T00:00", "2026-10-25T00:30"]),
        ] {
            check(expression, ROME, "2026-10-24T12:00:00Z", &fires);
        }
        for asked in [
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:29:59.999Z",
        ] {
            check("30 2 * * *", ROME, asked, &["2026-10-26T01:30"]);
        }
    }

    #[test]
    fn an_interval_keeps_its_pace_through_both() {
        check(
            "*/30 * * * *",
            ROME,
            "2026-03-29T00:00:00Z",
            &["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"],
        );
        check(
            "*/30 * * * *",
            ROME,
            "2026-10-24T23:30:00Z",
            &[
                "2026-10-25T00:00",
                "2026-10-25T00:30",
                "2026-10-25T01:00",
                "2026-10-25T01:30",
                "2026-10-25T02:00",
            ],
        );
        check(
            "*/30 2 * * *",
            ROME,
            "2026-03-28T12:00:00Z",
            &["2026-03-30T00:00", "2026-03-30T00:30"],
        );
    }

    #[test]
    fn nothing_is_lost_where_the_clock_leaps_into_the_next_day() {
        // Nuuk leaps from Saturday 23:00, two hours behind UTC, to Sunday 00:00.
        check(
            "30 23 * * SAT",
            Tz::America__Nuuk,
            "2026-03-28T12:00:00Z",
            &["2026-03-29T01:00", "2026-04-05T00:30"],
        );
        // Samoa left out 30 December 2011, from ten hours behind UTC to fourteen ahead.
        check(
            "0 12 * * *",
            Tz::Pacific__Apia,
            "2011-12-29T23:00:00Z",
            &["2011-12-30T10:00", "2011-12-30T22:00"],
        );
    }

    #[test]
    fn the_calendar_is_kept() {
        let leap_days = ["2028-02-29T00:00", "2032-02-29T00:00"];
        check("0 0 29 2 *", Tz::UTC, "2026-01-01", &leap_days);
        check("0 0 29 2 *", Tz::UTC, "2096-03-01", &["2104-02-29T00:00"]);
        check("0 0 29 2 *", ROME, "2026-01-01", &["2028-02-28T23:00"]);
        check(
            "0 6 * * *",
            Tz::Asia__Shanghai,
            "2026-05-01",
            &["2026-05-01T22:00"],
        );
        check("0 6 L * *", Tz::UTC, "2026-02-01", &["2026-02-28T06:00"]);
        check(
            "@daily",
            Tz::UTC,
            "2026-05-01T00:00:00Z",
            &["2026-05-02T00:00"],
        );
        check(
            "0 30 6 * * MON",
            Tz::UTC,
            "2026-05-01",
            &["2026-05-04T06:30"],
        );
    }

    #[test]
    fn what_is_due_is_counted_by_days_and_by_hand() {
        let year = ("2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z");
        for (expression, count) in [
            ("30 2 * * *", 365),
            ("0 2 * * *", 365),
            ("30 2,14 * * *", 730),
            ("*/30 * * * *", 365 * 48),
            ("0 12 29 2 *", 0),
        ] {
            let cron = cron(expression, ROME);
            let due = cron.due(ms(year.0), ms(year.1), 400);
            assert_eq!(due.count, count, "{expression}");
            assert_eq!(due.newest.len() as u64, count.min(400), "{expression}");
            assert!(due.newest.is_sorted_by(|a, b| a < b), "{expression}");

            let mut fires = 0;
            let mut at = ms(year.0);
            while let Some(fire) = cron.next(at).filter(|fire| *fire <= ms(year.1)) {
                assert!(fire > at, "{expression}");
                (fires, at) = (fires + 1, fire);
            }
            assert_eq!(fires, count, "{expression}");
        }
    }

    #[test]
    fn the_newest_that_are_due_include_the_end_and_not_the_start() {
        let daily = cron("0 6 * * *", Tz::Asia__Shanghai);
        let (after, until) = (ms("2025-12-31T22:00:00Z"), ms("2026-12-31T22:00:00Z"));
        let newest = vec![ms("2026-12-30T22:00:00Z"), until];
        assert_eq!(daily.due(after, until, 2), Due { count: 365, newest });
        assert_eq!(daily.due(after, until, 0).newest, Vec::<i64>::new());
        assert_eq!(daily.due(until, after, 2), Due::default());

        let always = cron("* * * * * *", Tz::UTC);
        let due = always.due(ms("2025-12-31") - 1, ms("2026-12-31") - 1, 3);
        assert_eq!(due.count, 365 * 86_400);
        let last = ms("2026-12-30T23:59:59Z");
        assert_eq!(due.newest, [last - 2000, last - 1000, last]);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (expression, said) in [
            ("0 0 31 2 *", "never fires"),
            (", * * * *", "never fires"),
            ("0 0 , * *", "never fires"),
            ("0 6 * *", "5 fields"),
            ("0 0 6 * * * 2026", "5 fields"),
            ("60 6 * * *", "5 fields"),
            ("@reboot", "5 fields"),
            ("", "5 fields"),
            ("0,".repeat(200).as_str(), "200 bytes"),
        ] {
            let error = Cron::parse(expression, Tz::UTC).unwrap_err();
            assert!(error.contains(said), "{expression}: {error}");
        }
    }
}
