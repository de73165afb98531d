"""Foreign trade: quantities, values and unit values by reporter, partner and basket."""

import re
from dataclasses import dataclass
from datetime import date

import derivation
import note
import number
import observation
import raw

BASKETS = {
    "rare earths (customs aggregate)": "rare_earths",
    "rare-earth permanent magnets": "permanent_magnets",
    "all rare earths": "all_rare_earths",
    "rare-earth products (Bloomberg basket)": "bloomberg_products",
    "rare-earth compounds (HS 2846)": "compounds_HS_2846",
    "rare-earth compounds (all)": "compounds_HS_2846",
    "rare-earth metals (HS 2805.30)": "metals_HS_2805_30",
    "rare-earth oxides and metals": "oxides_and_metals",
    "rare-earth processed products": "processed_products",
    "other rare-earth processed products": "other_processed_products",
    "rare earths and products": "rare_earths_and_products",
}

# Rows whose note says that the basket, the body or the basis is another one than the raw columns have it.
EXCEPTIONS = {
    "X00008": {"authority": "Baiinfo"},
    "X00028": {"basis": "REO"},
    "X00131": {"basket": "rare_earths_and_feedstock"},
}

MEASURES = {"volume": "quantity", "value": "value", "unit_value": "unit_value"}

COUNTRIES = {"USA": "United States"}


@dataclass(frozen=True)
class Trade:
    """Who trades with whom, out of a raw subject such as `China>Japan`, `China<USA/MP Materials` or `China/Jiangxi`."""

    reporter: str
    partner: str

    @classmethod
    def of(cls, subject: str) -> "Trade":
        reporter, partner = (re.split("[<>]", subject) + ["World"])[:2]
        country, _, province = reporter.partition("/")
        origin, _, company = partner.partition("/")
        origin = COUNTRIES.get(origin, origin)
        return cls(f"{country} ({province})" if province else country, f"{origin} ({company})" if company else origin)


def rows(folder: raw.Folder) -> list[dict]:
    dates = folder.source_dates()
    trades = [_trade(row, dates) for row in folder.rows("exports.csv")]
    derivation.apply(trades)
    derivation.check_partition(trades, folder)
    return trades


def _trade(row: dict[str, str], dates: dict[str, str]) -> dict:
    flow, _, measure = row["measure"].partition("_")
    unit, factor = number.CONVERSIONS[row["unit"]]
    currency = "_cny" if unit.startswith("CNY") else ""
    trade = Trade.of(row["subject"])
    basket, line_name = _basket(row["class"])
    standard = observation.standard(row, dates, MEASURES[measure] + currency, unit, factor)
    return standard | {
        "cumulative": row["frequency"] == "ytd" and not _is_first_flow(standard, basket),
        "authority": "US Census" if row["authority"] == "US Census via USGS" else row["authority"],
        "flow": flow,
        "reporter": trade.reporter,
        "partner": trade.partner,
        "basket": basket,
        "basis": "REO" if row["basis"] == "REO" else "gross",
        "note": note.joined(line_name, standard["note"]),
    } | EXCEPTIONS.get(row["row_id"], {})


def _basket(name: str) -> tuple[str, str]:
    """The basket, and for a line of the US tariff the words that go with its number."""
    if name.startswith("HTS "):
        _, code, words = name.split(" ", 2)
        return f"HTS {code}", words
    return BASKETS.get(name) or re.sub(r"[^A-Za-z0-9]+", "_", name), ""


def _is_first_flow(row: dict, basket: str) -> bool:
    """January and February are released as one figure: the year's first flow, not a running total."""
    start, end = row["period_start"], row["period_end"]
    return basket == "rare_earths" and (start.month, end.month) == (1, 2) and end < date(end.year, 3, 1)
