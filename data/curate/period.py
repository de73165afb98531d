"""Periods: both ends included."""

from datetime import date, timedelta


def frequency(start: date, end: date) -> str:
    """`A H Q M W D` where the period is exactly that calendar unit, else `X`."""
    if start == end:
        return "D"
    if start.weekday() == 0 and (end - start).days == 6:
        return "W"
    if start.day != 1 or not is_month_end(end) or start.year != end.year:
        return "X"
    months = (start.month, end.month)
    if months == (1, 12):
        return "A"
    if months in ((1, 6), (7, 12)):
        return "H"
    if months in ((1, 3), (4, 6), (7, 9), (10, 12)):
        return "Q"
    return "M" if start.month == end.month else "X"


def is_month_end(day: date) -> bool:
    return (day + timedelta(days=1)).day == 1


def month_end(year: int, month: int) -> date:
    following = date(year + month // 12, month % 12 + 1, 1)
    return following - timedelta(days=1)
