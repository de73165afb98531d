//! Moments: as they are typed, as the wire has them, and when days begin.

use chrono::TimeZone;
use didymium_jobs::logical_time;
use didymium_model::Day;
use prost_types::Timestamp;

/// Milliseconds since 1970 of a moment that somebody typed.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    logical_time::parse(text).ok_or_else(|| {
        "a time is written 2026-03-31T06:00:00Z or with an offset such as +08:00, to the millisecond"
            .to_owned()
    })
}

pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp {
        seconds: ms.div_euclid(1000),
        nanos: (ms.rem_euclid(1000) * 1_000_000) as i32,
    }
}

pub(crate) fn ms(time: Timestamp) -> i64 {
    let ms = time.seconds.saturating_mul(1000);
    ms.saturating_add(i64::from(time.nanos) / 1_000_000)
}

/// When a day begins; `None` beyond the calendar.
pub(crate) fn beginning(day: Day, zone: &impl TimeZone) -> Option<i64> {
    let (year, month, date) = day.ymd()?;
    // Some zones put their clocks forward at midnight: such a day begins an hour later.
    let begins = (0..=1).find_map(|hour| {
        let clock = zone.with_ymd_and_hms(year, month, date, hour, 0, 0);
        clock.earliest()
    });
    begins.map(|time| time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_its_offset() {
        assert_eq!(parse("1970-01-01T08:00:00.5+08:00"), Ok(500));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(1000));
        assert!(parse("yesterday").is_err());
    }

    #[test]
    fn a_moment_before_1970_comes_back() {
        assert_eq!(ms(timestamp(-1)), -1);
    }

    #[test]
    fn a_day_begins_by_its_zone() {
        let day = Day::parse("1970-01-02").unwrap();
        let shanghai = chrono::FixedOffset::east_opt(8 * 3600).unwrap();
        assert_eq!(beginning(day, &shanghai), Some(16 * 3_600_000));
    }
}
