use proptest::prelude::*;

use super::*;
use crate::Day;

fn day(text: &str) -> Day {
    Day::parse(text).expect("a test names real days")
}

fn date(text: &str) -> Period {
    Period::of_days(day(text), day(text))
}

fn span(start: &str, end: &str) -> Period {
    Period::of_days(day(start), day(end))
}

fn run(interval: Interval, rows: &[(Period, Option<f64>)]) -> Vec<Base> {
    let mut lookback = Lookback::new(interval);
    rows.iter()
        .map(|(period, value)| lookback.next(*period, *value).expect("rows in order"))
        .collect()
}

#[test]
fn a_missing_month_gives_no_base_and_not_the_wrong_one() {
    let rows = [
        (date("2023-01-01"), Some(1.0)),
        (date("2023-03-01"), Some(3.0)),
        (date("2024-01-01"), Some(10.0)),
        (date("2024-02-01"), Some(20.0)),
        (date("2024-03-01"), Some(30.0)),
    ];
    assert_eq!(
        run(Interval::YEAR, &rows)[2..],
        [Base::Value(1.0), Base::Missing, Base::Value(3.0)]
    );
}

#[test]
fn a_base_without_value_is_null_and_not_missing() {
    let rows = [(date("2023-01-01"), None), (date("2024-01-01"), Some(1.0))];
    assert_eq!(run(Interval::YEAR, &rows)[1], Base::Null);
}

#[test]
fn the_same_date_is_preferred_to_the_month_end() {
    let both = [
        (date("2024-02-28"), Some(28.0)),
        (date("2024-02-29"), Some(29.0)),
        (date("2025-02-28"), None),
    ];
    assert_eq!(run(Interval::YEAR, &both)[2], Base::Value(28.0));
    assert_eq!(run(Interval::YEAR, &both[1..])[1], Base::Value(29.0));
}

#[test]
fn cumulative_periods_share_their_start() {
    let rows = [
        (
            Period::of_days(day("2023-01-01"), day("2023-02-28")),
            Some(2.0),
        ),
        (
            Period::of_days(day("2023-01-01"), day("2023-03-31")),
            Some(3.0),
        ),
        (span("2024-01-01", "2024-02-29"), Some(20.0)),
        (span("2024-01-01", "2024-03-31"), Some(30.0)),
    ];
    assert_eq!(
        run(Interval::YEAR, &rows)[2..],
        [Base::Value(2.0), Base::Value(3.0)]
    );
}

#[test]
fn a_period_may_come_once_and_never_late() {
    let mut lookback = Lookback::new(Interval::YEAR);
    lookback
        .next(date("2024-01-01"), None)
        .expect("the first row");
    assert_eq!(
        lookback.next(date("2024-01-01"), None),
        Err(Misplaced::Duplicate(date("2024-01-01")))
    );
    assert_eq!(
        lookback.next(date("2023-01-01"), None),
        Err(Misplaced::OutOfOrder(date("2023-01-01")))
    );
}

#[test]
fn january_and_february_meet_january_and_february() {
    let rows = [
        (span("2023-01-01", "2023-02-28"), Some(1.0)),
        (span("2023-02-01", "2023-02-28"), Some(9.0)),
        (span("2024-01-01", "2024-02-29"), Some(2.0)),
        (span("2025-01-01", "2025-02-28"), Some(3.0)),
    ];
    assert_eq!(
        run(Interval::YEAR, &rows)[2..],
        [Base::Value(1.0), Base::Value(2.0)]
    );
}

#[test]
fn a_day_that_the_base_month_lacks_has_no_base() {
    let rows = [
        (date("2024-02-28"), Some(28.0)),
        (date("2024-02-29"), Some(29.0)),
        (date("2024-03-30"), Some(30.0)),
        (date("2024-03-31"), Some(31.0)),
    ];
    let bases = run(Interval::Months(1), &rows);
    assert_eq!(bases[2..], [Base::Missing, Base::Value(29.0)]);
}

#[test]
fn a_times_base_at_a_months_end_is_not_forgotten_too_early() {
    let at = |text: &str, hour: i64| {
        Period::from(Moment {
            day: day(text),
            nanosecond: hour * 3_600_000_000_000,
        })
    };
    let rows = [
        (at("2025-02-28", 10), Some(1.0)),
        (at("2025-03-28", 12), Some(2.0)),
        (at("2025-03-31", 10), Some(3.0)),
    ];
    assert_eq!(run(Interval::Months(1), &rows)[2], Base::Value(1.0));
}

#[test]
fn weeks_count_days() {
    let rows = [
        (span("2024-02-23", "2024-02-29"), Some(1.0)),
        (span("2024-03-01", "2024-03-07"), Some(2.0)),
    ];
    assert_eq!(run(Interval::Days(7), &rows)[1], Base::Value(1.0));
}

#[test]
fn a_time_of_day_is_part_of_the_date() {
    let at = |text: &str, nanosecond| {
        Period::from(Moment {
            day: day(text),
            nanosecond,
        })
    };
    let rows = [
        (at("2023-05-01", 5), Some(1.0)),
        (at("2024-05-01", 4), Some(2.0)),
        (at("2024-05-01", 5), Some(3.0)),
    ];
    assert_eq!(
        run(Interval::YEAR, &rows)[1..],
        [Base::Missing, Base::Value(1.0)]
    );
}

/// The base of a period among earlier ones, in chrono's words and by looking at every one of them.
fn by_brute_force(
    earlier: &[(i32, i32)],
    (start, end): (i32, i32),
    interval: Interval,
) -> Option<usize> {
    use chrono::{Datelike, Days, Months, NaiveDate};
    let date = |days: i32| Day::from_epoch(days).date().expect("a test's day");
    let is_month_end = |date: NaiveDate| date.succ_opt().expect("a test's day").day() == 1;
    let month_end = |date: NaiveDate| {
        let next = date.with_day(1).expect("a first") + Months::new(1);
        next.pred_opt().expect("a last")
    };
    let find = |start: NaiveDate, end: NaiveDate| {
        earlier
            .iter()
            .position(|(s, e)| date(*s) == start && date(*e) == end)
    };
    let (start, end) = (date(start), date(end));
    let months = match interval {
        Interval::Days(days) => {
            let days = Days::new(days.into());
            return find(start - days, end - days);
        }
        Interval::Months(months) => Months::new(months),
    };
    let same = |date: NaiveDate| Some(date - months).filter(|base| base.day() == date.day());
    let last = |date: NaiveDate| is_month_end(date).then(|| month_end(date - months));
    if start == end {
        let exact = same(start).and_then(|base| find(base, base));
        return exact.or_else(|| last(start).and_then(|base| find(base, base)));
    }
    find(
        same(start).or_else(|| last(start))?,
        last(end).or_else(|| same(end))?,
    )
}

proptest! {
    /// Whatever was forgotten was never needed, and the calendar is chrono's.
    #[test]
    fn every_base_is_the_one_that_brute_force_finds(
        periods in prop::collection::btree_set((18_000i32..19_500, 0i32..70), 1..200),
        days in prop::collection::btree_set(18_600i32..19_800, 1..400),
        interval in prop_oneof![
            (1u32..30).prop_map(Interval::Months),
            (1u32..400).prop_map(Interval::Days),
        ],
        single in any::<bool>(),
    ) {
        let rows: Vec<(i32, i32)> = if single {
            days.into_iter().map(|day| (day, day)).collect()
        } else {
            periods.into_iter().map(|(start, length)| (start, start + length)).collect()
        };
        let mut lookback = Lookback::new(interval);
        for (i, (start, end)) in rows.iter().enumerate() {
            let period = Period::of_days(Day::from_epoch(*start), Day::from_epoch(*end));
            let base = lookback.next(period, Some(i as f64)).expect("periods are in order");
            let expected = by_brute_force(&rows[..i], (*start, *end), interval);
            prop_assert_eq!(base, expected.map_or(Base::Missing, |at| Base::Value(at as f64)));
        }
    }
}
