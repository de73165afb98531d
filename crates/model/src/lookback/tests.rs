use proptest::prelude::*;

use super::*;
use crate::Day;

fn day(text: &str) -> Day {
    Day::parse(text).expect("a test names real days")
}

fn date(text: &str) -> Period {
    Period::of_days(day(text), day(text))
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
    let jan = day("2024-01-01");
    let rows = [
        (
            Period::of_days(day("2023-01-01"), day("2023-02-28")),
            Some(2.0),
        ),
        (
            Period::of_days(day("2023-01-01"), day("2023-03-31")),
            Some(3.0),
        ),
        (Period::of_days(jan, day("2024-02-29")), Some(20.0)),
        (Period::of_days(jan, day("2024-03-31")), Some(30.0)),
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

proptest! {
    /// Whatever was forgotten was never needed: the ring agrees with a search of the whole past.
    #[test]
    fn forgetting_changes_nothing(
        days in prop::collection::btree_set((18_000i32..19_500, 0i32..70), 1..200),
        interval in prop_oneof![
            (1u32..30).prop_map(Interval::Months),
            (1u32..400).prop_map(Interval::Days),
        ],
    ) {
        let periods: Vec<_> = days
            .iter()
            .map(|(start, length)| {
                Period::of_days(Day::from_epoch(*start), Day::from_epoch(start + length))
            })
            .collect();
        let mut lookback = Lookback::new(interval);
        for (i, period) in periods.iter().enumerate() {
            let value = i as f64;
            let expected = period.bases(interval).into_iter().flatten().find_map(|base| {
                periods[..i].iter().position(|earlier| *earlier == base)
            });
            let base = lookback.next(*period, Some(value)).expect("periods are in order");
            prop_assert_eq!(base, expected.map_or(Base::Missing, |at| Base::Value(at as f64)));
        }
    }
}
