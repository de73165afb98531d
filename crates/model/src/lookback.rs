//! The recent past of one series, in which each new period finds its base.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::{CalendarDay, Interval, Moment, Period};

/// What lies one interval before a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// Nothing was observed for the base period.
    Missing,
    /// A period ends where the base period would, and starts elsewhere. Only told where asked for.
    LengthDiffers,
    /// The base period was observed without a value.
    Null,
    /// The value of the base period.
    Value(f64),
}

/// Why a period can't follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// The series already has a value for this period.
    #[error("two rows for one period, {0}: partition by series, or pick a vintage")]
    Duplicate(Period),
    /// The period lies before the one that came last.
    #[error("the period {0} came after a later one")]
    OutOfOrder(Period),
}

/// One interval's worth of a series, read in the order of its periods.
///
/// Each period finds its base by the calendar, never by counting rows, so a gap gives no base and
/// never a wrong one. Memory is bounded by the rows of one interval; a look-up is a binary search.
///
/// Which period lies exactly one interval earlier:
/// - A single date has the same date one interval earlier. Only where that is not observed, from a
///   month's end, it has the end of the base month.
/// - A longer period keeps both its ends: where it ends with a month, its base does too, so that
///   February 2025 meets all 29 days of February 2024.
#[derive(Debug)]
pub struct Lookback {
    interval: Interval,
    /// Whether [`Base::LengthDiffers`] is told from [`Base::Missing`].
    explains: bool,
    /// In the order of the periods; nothing older than any base still to come.
    recent: VecDeque<Observed>,
}

/// A period with its value, placed so that its base is a subtraction away.
#[derive(Debug, Clone, Copy)]
struct Observed {
    span: Span,
    value: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: Place,
    end: Place,
}

/// A moment on the scale of the interval: months with their days, or days alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    date: Date,
    nanosecond: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Date {
    InMonth(CalendarDay),
    /// Days since 1970-01-01.
    Day(i64),
}

impl Lookback {
    /// An empty past, for bases that lie `interval` back.
    pub fn new(interval: Interval) -> Self {
        Self {
            interval,
            explains: false,
            recent: VecDeque::new(),
        }
    }

    /// The same, which also tells a base of another length from none. It keeps long periods until they
    /// end.
    pub fn explaining(interval: Interval) -> Self {
        Self {
            explains: true,
            ..Self::new(interval)
        }
    }

    /// Adds the next period of the series and gives the base that lies before it.
    ///
    /// # Errors
    /// [`Misplaced`] unless the period lies after the one added before.
    #[inline]
    pub fn next(&mut self, period: Period, value: Option<f64>) -> Result<Base, Misplaced> {
        let (Some(start), Some(end)) = (self.place(period.start), self.place(period.end)) else {
            // Beyond the calendar nothing lies before anything.
            return Ok(Base::Missing);
        };
        let span = Span { start, end };
        match self.recent.back().map(|last| last.span.cmp(&span)) {
            None | Some(Ordering::Less) => {}
            Some(Ordering::Equal) => return Err(Misplaced::Duplicate(period)),
            Some(Ordering::Greater) => return Err(Misplaced::OutOfOrder(period)),
        }
        // By days alone: at a month's end a later day may need an earlier time of one base day.
        let earliest = start.earlier(self.interval).or_month_end();
        self.forget_before(Place {
            nanosecond: 0,
            ..earliest
        });
        let base = self.base(span);
        self.recent.push_back(Observed { span, value });
        Ok(match base {
            None if self.explains && self.ends_with_base(span) => Base::LengthDiffers,
            None => Base::Missing,
            Some(None) => Base::Null,
            Some(Some(value)) => Base::Value(value),
        })
    }

    #[inline]
    fn place(&self, moment: Moment) -> Option<Place> {
        let date = match self.interval {
            Interval::Months(_) => Date::InMonth(CalendarDay::of(moment.day)?),
            Interval::Days(_) => Date::Day(moment.day.days_from_epoch().into()),
        };
        Some(Place {
            date,
            nanosecond: moment.nanosecond,
        })
    }

    /// Drops what no later period can have as its base: starts never go back, and a base starts no
    /// earlier than the same day of the base month, or its end where it lacks the day.
    #[inline]
    fn forget_before(&mut self, earliest: Place) {
        let explains = self.explains;
        let is_past = |oldest: &Observed| match explains {
            false => oldest.span.start < earliest,
            true => oldest.span.end < earliest,
        };
        while self.recent.front().is_some_and(is_past) {
            self.recent.pop_front();
        }
    }

    /// Whether a period ends where this one's base would.
    fn ends_with_base(&self, span: Span) -> bool {
        let end = span.end.month_end_earlier(self.interval);
        let end = end.unwrap_or_else(|| span.end.earlier(self.interval));
        span.start != span.end
            && self
                .recent
                .iter()
                .any(|earlier| earlier.span.end == end && earlier.span != span)
    }

    #[inline]
    fn base(&self, span: Span) -> Option<Option<f64>> {
        if span.start == span.end {
            let same_date = Span::of(span.start.earlier(self.interval));
            return self.at(same_date).or_else(|| {
                let month_end = span.start.month_end_earlier(self.interval)?;
                self.at(Span::of(month_end))
            });
        }
        let start = span.start.earlier(self.interval);
        // A base month may lack the day; from a month's end its own end will do.
        let start = if start.exists() {
            start
        } else {
            span.start.month_end_earlier(self.interval)?
        };
        let end = span.end.month_end_earlier(self.interval);
        let end = end.unwrap_or_else(|| span.end.earlier(self.interval));
        self.at(Span { start, end })
    }

    #[inline]
    fn at(&self, span: Span) -> Option<Option<f64>> {
        // The base is nearly always the oldest row kept.
        match self.recent.front() {
            Some(oldest) if oldest.span == span => return Some(oldest.value),
            _ => {}
        }
        let found = self
            .recent
            .binary_search_by(|observed| observed.span.cmp(&span))
            .ok()?;
        Some(self.recent[found].value)
    }
}

impl Span {
    fn of(place: Place) -> Self {
        Self {
            start: place,
            end: place,
        }
    }
}

impl Place {
    /// The same date one interval earlier, whether the calendar has it or not.
    #[inline]
    fn earlier(self, interval: Interval) -> Self {
        let date = match (self.date, interval) {
            (Date::InMonth(day), Interval::Months(months)) => {
                Date::InMonth(day.months_earlier(months))
            }
            (Date::Day(day), Interval::Days(days)) => Date::Day(day - i64::from(days)),
            (date, _) => date,
        };
        Self { date, ..self }
    }

    #[inline]
    fn exists(self) -> bool {
        match self.date {
            Date::InMonth(day) => day.exists(),
            Date::Day(_) => true,
        }
    }

    /// The date itself, or the end of its month where the month lacks the day.
    #[inline]
    fn or_month_end(self) -> Self {
        match self.date {
            Date::InMonth(day) if !day.exists() => Self {
                date: Date::InMonth(day.month_end()),
                ..self
            },
            _ => self,
        }
    }

    /// From the end of a month, the end of the base month.
    #[inline]
    fn month_end_earlier(self, interval: Interval) -> Option<Self> {
        match (self.date, interval) {
            (Date::InMonth(day), Interval::Months(months)) if day.is_month_end() => {
                let date = Date::InMonth(day.months_earlier(months).month_end());
                Some(Self { date, ..self })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
