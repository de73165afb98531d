//! Periods as files write them.

use chrono::{NaiveDate, Weekday};

use crate::{Day, Unit};

/// The first and the last day, both included, of a period: one calendar unit, or an interval of them.
///
/// | unit | written |
/// |---|---|
/// | year | `2024`, `2024年` |
/// | half-year, quarter | `2024-H1`, `2024H1`; `2024-Q1`, `2024Q1` |
/// | month | `2024-03`, `2024/03`, `202403`, `2024-M03`, `2024M03`, `2024年3月` |
/// | ISO week | `2024-W05`, `2024W05` |
/// | day | `2024-03-15`, `2024/3/15`, `20240315`, `2024年3月15日` |
///
/// An interval is two units of one kind, such as `2024-01/2024-02`. Two years are none: `2024/2025`
/// is two years to one reader and a year that begins in 2024 to another. Years have four digits,
/// from 1000 on. `None` for all else and for days and weeks that the year lacks.
pub fn parse_period(text: &str) -> Option<(Day, Day)> {
    let text = text.trim();
    if let Some((unit, first)) = calendar_unit(text) {
        return Some((first, unit.end(first)?));
    }
    let (from, to) = text.split_once('/')?;
    let ((unit, first), (last_unit, last)) = (calendar_unit(from)?, calendar_unit(to)?);
    if unit != last_unit || unit == Unit::Year || last < first {
        return None;
    }
    Some((first, unit.end(last)?))
}

/// The unit that is written, and its first day.
fn calendar_unit(text: &str) -> Option<(Unit, Day)> {
    let (year, rest) = text.split_at_checked(4)?;
    let is_year = !year.starts_with('0') && year.bytes().all(|it| it.is_ascii_digit());
    let year: i32 = is_year.then(|| year.parse().ok())??;
    if matches!(rest, "" | "年") {
        return Some((Unit::Year, Day::from_ymd(year, 1, 1)?));
    }
    let lettered = rest.strip_prefix('-').unwrap_or(rest);
    if lettered.starts_with(|it: char| it.is_ascii_alphabetic()) {
        return lettered_unit(year, lettered);
    }
    let (month, day) = month_and_day(rest)?;
    let month = number(month)?;
    Some(match day {
        Some(day) => (Unit::Day, Day::from_ymd(year, month, number(day)?)?),
        None => (Unit::Month, Day::from_ymd(year, month, 1)?),
    })
}

/// A unit that is named by its letter and numbered within the year, such as `Q1`.
fn lettered_unit(year: i32, text: &str) -> Option<(Unit, Day)> {
    let (letter, number_in_year) = text.split_at_checked(1)?;
    let unit = Unit::from_letter(&letter.to_ascii_uppercase())?;
    let nth = number(number_in_year)?;
    let first = match unit {
        // A number that the year lacks leads to a month beyond the twelfth.
        Unit::HalfYear => Day::from_ymd(year, 6 * nth - 5, 1),
        Unit::Quarter => Day::from_ymd(year, 3 * nth - 2, 1),
        Unit::Month => Day::from_ymd(year, nth, 1),
        Unit::Week => NaiveDate::from_isoywd_opt(year, nth, Weekday::Mon).map(Day::from_date),
        Unit::Day | Unit::Year => None,
    };
    Some((unit, first?))
}

/// The digits of the month and, where there is one, of the day that follow a year.
fn month_and_day(rest: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = rest.strip_prefix('年') {
        return match rest.split_once('月')? {
            (month, "") => Some((month, None)),
            (month, day) => Some((month, Some(day.strip_suffix('日')?))),
        };
    }
    if let Some(rest) = rest.strip_prefix('/') {
        return Some(parted(rest, '/'));
    }
    // After dashes, or after nothing, a number has both its digits.
    match (rest.strip_prefix('-'), rest.len()) {
        (Some(rest), 3 | 6) => Some(parted(rest, '-')),
        (None, 2) => Some((rest, None)),
        (None, 4) => rest
            .split_at_checked(2)
            .map(|(month, day)| (month, Some(day))),
        _ => None,
    }
}

fn parted(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((month, day)) => (month, Some(day)),
        None => (text, None),
    }
}

/// A positive number of one or two digits.
fn number(text: &str) -> Option<u32> {
    let is_number = matches!(text.len(), 1 | 2) && text.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| text.parse().ok())?.filter(|it| *it > 0)
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;

    use super::*;

    #[test]
    fn a_calendar_unit_runs_from_its_first_day_through_its_last() {
        for (written, first, last) in [
            ("2024|2024年| 2024\n", "2024-01-01", "2024-12-31"),
            ("2024-H1|2024H1|2024h1", "2024-01-01", "2024-06-30"),
            ("2024-H2|2024-h2", "2024-07-01", "2024-12-31"),
            ("2024-Q1|2024Q1|2024q1", "2024-01-01", "2024-03-31"),
            ("2024-Q4", "2024-10-01", "2024-12-31"),
            ("2024-02|2024/02|2024/2|202402", "2024-02-01", "2024-02-29"),
            ("2024M02|2024-M02|2024m2", "2024-02-01", "2024-02-29"),
            ("2024年2月|2024年02月", "2024-02-01", "2024-02-29"),
            ("2023-02", "2023-02-01", "2023-02-28"),
            ("2024-W05|2024W05|2024-w5", "2024-01-29", "2024-02-04"),
            ("2025-W01", "2024-12-30", "2025-01-05"),
            ("2020-W53", "2020-12-28", "2021-01-03"),
            ("2024-03-05|20240305", "2024-03-05", "2024-03-05"),
            (
                "2024/3/5|2024/03/05|2024年3月5日",
                "2024-03-05",
                "2024-03-05",
            ),
            ("1000", "1000-01-01", "1000-12-31"),
            ("9999-12", "9999-12-01", "9999-12-31"),
        ] {
            for text in written.split('|') {
                assert_eq!(parse_period(text), days(first, last), "{text}");
            }
        }
    }

    #[test]
    fn an_interval_runs_through_the_last_day_of_its_second_unit() {
        for (text, first, last) in [
            ("2024-01/2024-02", "2024-01-01", "2024-02-29"),
            ("202401/202402", "2024-01-01", "2024-02-29"),
            ("2024年1月/2024-02", "2024-01-01", "2024-02-29"),
            ("2024-Q1/2024-Q3", "2024-01-01", "2024-09-30"),
            ("2023-H2/2024-H1", "2023-07-01", "2024-06-30"),
            ("2024-W05/2024-W06", "2024-01-29", "2024-02-11"),
            ("2024-01-01/2024-12-31", "2024-01-01", "2024-12-31"),
            ("2024-01/2024-01", "2024-01-01", "2024-01-31"),
        ] {
            assert_eq!(parse_period(text), days(first, last), "{text}");
        }
    }

    #[test]
    fn what_is_no_interval_of_one_kind_is_refused() {
        let texts = "2024/2025|2024年/2025年|2024-01/2024-Q2|2024-01/2024-02-29|2024-02/2024-01|2024-01/02|\
            2024-01/|/2024-01|2024-01//2024-02|2024-01/2024-02/2024-03|2024/03/2024/05|\
            2024-01 / 2024-02|2024-01/2024-13";
        for text in texts.split('|') {
            assert_eq!(parse_period(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_calendar_lacks_is_refused() {
        let texts = "0999|0000-01|10000|10000-01|2024-00|2024-13|202413|202400|2024/13|2024M13|2024-M00|\
            2024年13月|2024-H0|2024-H3|2024-Q0|2024-Q5|2024-W00|2024-W53|2024-W54|2023-02-29|20230229|\
            2024/2/30|2024年4月31日|2024-01-00";
        for text in texts.split('|') {
            assert_eq!(parse_period(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_refused() {
        let texts = "|24|202|20241|2024031|202403155|+024|-2024|2024-|2024--01|2024-1|2024-3-15|2024-03-5|\
            2024-3-155|2024-003|2024-03-|2024/|2024/3/|2024/003|2024-03/15|2024/03-15|2024.03|2024 Q1|\
            Q1 2024|2024Q|2024Q1Q2|2024-Q001|2024-Q-1|2024A1|2024-D01|2024X1|2024年3|2024年月|\
            2024年3月15|2024年3月日|2024年-3月|二〇二四年|２０２４|2024-W05-1|2024-03-15T00:00:00|\
            2024-03-15Z|202é|2024é1|2024é";
        for text in texts.split('|') {
            assert_eq!(parse_period(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_month_and_quarter_of_three_years_reads_back() {
        let mut day = Day::parse("2023-01-01").expect("a test names real days");
        while let Some((year @ ..=2025, month, of_month)) = day.ymd() {
            let is = |unit: Unit, text: String| {
                let (first, last) = parse_period(&text).unwrap_or_else(|| panic!("{text}"));
                assert_eq!(Some(last), unit.end(day), "{text}");
                assert!(first <= day && Some(last) == unit.end(first), "{text}");
            };
            is(Unit::Day, day.to_string());
            is(Unit::Day, format!("{year}{month:02}{of_month:02}"));
            is(Unit::Day, format!("{year}/{month}/{of_month}"));
            is(Unit::Day, format!("{year}/{month:02}/{of_month:02}"));
            is(Unit::Day, format!("{year}年{month}月{of_month}日"));
            is(Unit::Month, format!("{year}-{month:02}"));
            is(Unit::Month, format!("{year}{month:02}"));
            is(Unit::Month, format!("{year}/{month:02}"));
            is(Unit::Month, format!("{year}M{month:02}"));
            is(Unit::Month, format!("{year}年{month}月"));
            is(Unit::Quarter, format!("{year}-Q{}", month.div_ceil(3)));
            is(Unit::HalfYear, format!("{year}H{}", month.div_ceil(6)));
            is(Unit::Year, year.to_string());
            day = day.next().expect("within the calendar");
        }
    }

    #[test]
    fn every_iso_week_reads_back_and_no_year_has_another() {
        let mut end_before = Day::parse("1989-12-31").expect("a test names real days");
        for year in 1990..=2060 {
            // 28 December lies in the last week of its year.
            let in_last = NaiveDate::from_ymd_opt(year, 12, 28).expect("every December has it");
            for week in 1..=99 {
                let period = parse_period(&format!("{year}-W{week:02}"));
                assert_eq!(period, parse_period(&format!("{year}w{week:02}")));
                if week > in_last.iso_week().week() {
                    assert_eq!(period, None, "{year} {week}");
                    continue;
                }
                let (first, last) = period.unwrap_or_else(|| panic!("{year} {week}"));
                assert_eq!(Some(first), end_before.next(), "{year} {week}");
                assert_eq!(last.days_from_epoch() - first.days_from_epoch(), 6);
                end_before = last;
            }
        }
    }

    #[test]
    fn no_text_is_a_period_that_ends_before_it_starts() {
        let alphabet = ["1", "0", "-", "/", "Q", "w", "年", "月", "日", "é"];
        let mut texts = vec!["2024".to_owned()];
        for _ in 0..5 {
            texts = texts
                .iter()
                .flat_map(|text| alphabet.map(|letter| format!("{text}{letter}")))
                .collect();
            for (first, last) in texts.iter().filter_map(|text| parse_period(text)) {
                assert!(first <= last, "{first} {last}");
            }
        }
    }

    fn days(first: &str, last: &str) -> Option<(Day, Day)> {
        Some((Day::parse(first)?, Day::parse(last)?))
    }
}
