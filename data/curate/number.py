"""Numbers: exact decimal in, plain text out.

Values pass through `Decimal` only, so that a unit conversion never adds binary noise to a printed figure.
"""

import re
from decimal import Decimal

# From the unit that a source uses to the unit that the table holds.
CONVERSIONS = {
    "t": ("t", Decimal(1)),
    "kg": ("t", Decimal("0.001")),
    "USD": ("USD", Decimal(1)),
    "CNY": ("CNY", Decimal(1)),
    "USD/t": ("USD/t", Decimal(1)),
    "USD/kg": ("USD/t", Decimal(1000)),
    "CNY/t": ("CNY/t", Decimal(1)),
    "CNY/kg": ("CNY/t", Decimal(1000)),
}

_PRINTED = re.compile(r"^(?P<number>.*\d(?:\^\d+)?)\s*(?P<unit>\D*)$")


def parse(text: str) -> Decimal | None:
    """The number in a raw cell; an empty cell is None."""
    return Decimal(text) if text else None


def plain(number: Decimal | None) -> str:
    """Without exponent, thousands separators or trailing zeros; None is the empty cell."""
    if number is None:
        return ""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def decimals(text: str) -> int:
    """How many digits stand after the point of a plain number."""
    return len(text.partition(".")[2])


def as_printed(raw: str, unit: str) -> tuple[str, str]:
    """Splits what was printed into its number and its unit: `8.92万吨` into `8.92` and `万吨`.

    Where the source printed no unit beside the number, the raw table's unit stands for it.
    """
    if not raw:
        return "", ""
    for sign in ("US $", "US$"):
        if raw.startswith(sign):
            number, _, rest = raw.removeprefix(sign).partition(" ")
            return number, f"{rest} USD"
    if re.fullmatch(r"\d+\.0", raw):
        return raw[:-2], unit
    found = _PRINTED.match(raw)
    if not found:
        return raw, unit
    return found["number"], found["unit"].strip() or unit
