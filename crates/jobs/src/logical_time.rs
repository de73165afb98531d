//! Logical times: what names a run and what it reckons with, whenever it really runs.

use std::collections::BTreeMap;

use chrono::{DateTime, Offset, SecondsFormat, TimeZone};
use chrono_tz::Tz;
use didymium_engine::Value;
use didymium_model::Day;

pub(crate) const DAY_S: i64 = 86_400;
const DAY_MS: i64 = DAY_S * 1000;

/// RFC 3339 in UTC, with milliseconds only where there are any.
pub fn text(logical_ms: i64) -> String {
    let form = if logical_ms % 1000 == 0 {
        SecondsFormat::Secs
    } else {
        SecondsFormat::Millis
    };
    match DateTime::from_timestamp_millis(logical_ms) {
        Some(time) => time.to_rfc3339_opts(form, true),
        None => format!("{logical_ms} ms"),
    }
}

/// Reads what [`text`] writes, RFC 3339 in any offset, and a day for its midnight in UTC.
pub fn parse(text: &str) -> Option<i64> {
    if let Some(day) = Day::parse(text) {
        return Some(i64::from(day.days_from_epoch()) * DAY_MS);
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    // What is finer than a millisecond would be lost, and two texts would name one run.
    let is_whole = time.timestamp_subsec_nanos() % 1_000_000 == 0;
    is_whole.then(|| time.timestamp_millis())
}

/// The values of the parameters that every run has.
pub(crate) fn run_values(logical_ms: i64, zone: Tz) -> BTreeMap<String, Value> {
    let run_date = day(logical_ms, zone);
    let (start, end) = period_before(run_date);
    BTreeMap::from([
        (
            "run_time".to_owned(),
            Value::Timestamp(logical_ms.saturating_mul(1000)),
        ),
        ("run_date".to_owned(), Value::Date(run_date)),
        ("period_start".to_owned(), Value::Date(start)),
        ("period_end".to_owned(), Value::Date(end)),
    ])
}

/// The day that the zone's calendar shows.
pub(crate) fn day(logical_ms: i64, zone: Tz) -> Day {
    let offset = offset_s(zone, logical_ms.div_euclid(1000));
    Day::at_ms(logical_ms.saturating_add(offset * 1000))
}

/// The first and the last day of the last whole month before a day.
pub(crate) fn period_before(run_date: Day) -> (Day, Day) {
    let before = month_number(run_date).and_then(|month| month_days(month - 1));
    before.unwrap_or((run_date, run_date))
}

/// Months since the year 0, so that months can be added; `None` beyond the calendar.
pub(crate) fn month_number(day: Day) -> Option<i32> {
    let (year, month, _) = day.ymd()?;
    Some(year * 12 + month as i32 - 1)
}

/// The first and the last day of the month of this number.
pub(crate) fn month_days(number: i32) -> Option<(Day, Day)> {
    let first = |number: i32| {
        let month = number.rem_euclid(12) as u32 + 1;
        Day::from_ymd(number.div_euclid(12), month, 1)
    };
    let (start, next) = (first(number)?, first(number + 1)?);
    Some((start, Day::from_epoch(next.days_from_epoch() - 1)))
}

/// When a day begins in the zone: at midnight, or right after where the clock leaves midnight out.
pub(crate) fn midnight_ms(day: Day, zone: Tz) -> i64 {
    let wall_s = i64::from(day.days_from_epoch()) * DAY_S;
    instant_s(zone, wall_s).unwrap_or(wall_s) * 1000
}

/// By how many seconds the zone's clock is ahead of UTC; 0 beyond the years that chrono knows.
pub(crate) fn offset_s(zone: Tz, at_s: i64) -> i64 {
    DateTime::from_timestamp(at_s, 0).map_or(0, |at| {
        let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        i64::from(offset.local_minus_utc())
    })
}

/// When the zone's clock shows this, in seconds since it showed 1970: the first time where it does so twice,
/// and where it never does, the moment at which it leaps past. So a later clock time never comes earlier.
pub(crate) fn instant_s(zone: Tz, wall_s: i64) -> Option<i64> {
    let wall = DateTime::from_timestamp(wall_s, 0)?.naive_utc();
    if let Some(at) = zone.from_local_datetime(&wall).earliest() {
        return Some(at.timestamp());
    }
    // No clock is a whole day off UTC. A leap may be one: Samoa left out a day in 2011.
    let reached = |at_s: i64| at_s + offset_s(zone, at_s) >= wall_s;
    Some(first_second(wall_s - DAY_S, wall_s + DAY_S, reached))
}

/// The first second after `without` where something holds that holds from then on, up to `with`.
pub(crate) fn first_second(without: i64, with: i64, holds: impl Fn(i64) -> bool) -> i64 {
    let (mut without, mut with) = (without, with);
    while with - without > 1 {
        let middle = without + (with - without) / 2;
        if holds(middle) {
            with = middle;
        } else {
            without = middle;
        }
    }
    with
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-05-31T06:00:00Z: 20,604 days and six hours.
    const RUN_MS: i64 = (20_604 * 86_400 + 6 * 3600) * 1000;

    #[test]
    fn a_time_comes_back_from_its_text() {
        for (ms, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (RUN_MS, "2026-05-31T06:00:00Z"),
            (RUN_MS + 250, "2026-05-31T06:00:00.250Z"),
        ] {
            assert_eq!(text(ms), written);
            assert_eq!(parse(written), Some(ms));
        }
    }

    #[test]
    fn days_and_offsets_are_read_and_nothing_vague() {
        assert_eq!(parse("1970-01-02"), Some(86_400_000));
        assert_eq!(parse("2026-05-31T14:00:00+08:00"), Some(RUN_MS));
        for vague in [
            "",
            "today",
            "2026-05",
            "2026-02-30",
            "2026-05-31T06:00:00",
            "2026-05-31T06:00:00.0001Z",
        ] {
            assert_eq!(parse(vague), None, "{vague}");
        }
    }

    #[test]
    fn a_run_reckons_with_the_day_of_its_zone_and_the_month_before() {
        let date = |text: &str| Value::Date(Day::parse(text).unwrap());
        // 17:30 UTC on 31 May is 01:30 on 1 June in Shanghai.
        let late_ms = RUN_MS + (11 * 60 + 30) * 60_000;
        for (zone, run_date, start, end) in [
            (Tz::UTC, "2026-05-31", "2026-04-01", "2026-04-30"),
            (Tz::Asia__Shanghai, "2026-06-01", "2026-05-01", "2026-05-31"),
        ] {
            let values = run_values(late_ms, zone);
            assert_eq!(values["run_time"], Value::Timestamp(late_ms * 1000));
            assert_eq!(values["run_date"], date(run_date));
            assert_eq!(values["period_start"], date(start));
            assert_eq!(values["period_end"], date(end));
        }
        let january = Day::parse("2026-01-15").unwrap();
        let december = [Day::parse("2025-12-01"), Day::parse("2025-12-31")];
        let (start, end) = period_before(january);
        assert_eq!([Some(start), Some(end)], december);
    }

    #[test]
    fn a_day_without_a_midnight_begins_after_the_leap() {
        // Beirut's clock leaps from 00:00 to 01:00 at 22:00 UTC of the day before.
        let day = Day::parse("2026-03-29").unwrap();
        let begins = midnight_ms(day, Tz::Asia__Beirut);
        assert_eq!(text(begins), "2026-03-28T22:00:00Z");
    }
}
