"""Prices, and what separates one quotation from another: seller or market, terms, currency, quantity."""

import re

import observation
import raw

# Raw measure: (measure, quote).
MEASURES = {
    "annual_average_price": ("price", "average"),
    "quarterly_average_price": ("price", "average"),
    "monthly_average_price": ("price", "average"),
    "average_price": ("price", "average"),
    "china_domestic_price_ex_vat": ("price", "average"),
    "average_selling_price": ("price", "average_selling"),
    "realized_price": ("price", "realised"),
    "yearend_price": ("price", "year_end"),
    "spot_price": ("price", "spot"),
    "listing_price": ("price", "listing"),
    "contract_price": ("price", "contract"),
    "contract_floor_price": ("price", "floor"),
    "contract_price_step": ("price_step", "contract"),
    "unit_value": ("unit_value", "unit_value"),
}

# The raw `basis` of a price says its terms, or what the mass counts, or both.
TERMS = {
    "FOB China": "FOB China",
    "ex-works China": "ex-works China",
    "excl. VAT": "excl. VAT",
    "dry weight, REO=50%, excl. VAT": "dry weight, REO 50, excl. VAT",
}

CHINESE_MARKET = {
    "100ppi", "ACREI", "Argus", "Baotou Rare Earth Products Exchange", "Baotou industry bureau", "Chinatungsten",
    "Lynas", "SMM",
}

CONCENTRATE_STEP = "rare-earth concentrate grade step per 1% REO"


def rows(folder: raw.Folder) -> list[dict]:
    dates = folder.source_dates()
    return [_price(row, dates) for row in folder.rows("prices.csv")]


def _price(row: dict[str, str], dates: dict[str, str]) -> dict:
    measure, quote = MEASURES[row["measure"]]
    unit, _, dollars = row["unit"].partition(" ")
    currency, _, price_unit = unit.partition("/")
    product = "rare-earth concentrate" if row["class"] == CONCENTRATE_STEP else row["class"].replace("%", "")
    return observation.standard(row, dates, measure, unit) | {
        "authority": _authority(row),
        "market": _market(row),
        "product": product,
        "quote": quote,
        "currency": currency,
        "price_unit": price_unit,
        "price_basis": _terms(row, dollars),
        "basis": _counted_in(row["class"]),
    }


def _authority(row: dict[str, str]) -> str:
    """Who states the price; the survey prints what it takes from a price agency under its own name."""
    if row["authority"] == "company":
        return row["subject"]
    return "USGS" if row["authority"].startswith("USGS") else row["authority"]


def _market(row: dict[str, str]) -> str:
    """The place, or the seller whose price it is."""
    if row["subject"] != "market":
        return row["subject"]
    if row["basis"] == "FOB China":
        return "China export"
    return "China" if row["authority"] in CHINESE_MARKET else "international"


def _terms(row: dict[str, str], dollars: str) -> str | None:
    """What else is needed to tell two prices of one product apart; None where the source does not say."""
    if dollars:
        return f"apparent consumption, {dollars.strip('()')} dollars"
    if row["measure"] == "china_domestic_price_ex_vat":
        return "excl. VAT"
    return TERMS.get(row["basis"])


def _counted_in(product: str) -> str:
    """What a tonne of the product is counted in: the raw column says `oxide` for metals and concentrates too."""
    if re.search(r"all rare earths|all REO|REO in concentrate|oxide and metal", product):
        return "REO"
    if re.search(r"concentrate|Scandium-aluminum", product):
        return "gross"
    return "metal" if re.search(r"metal|alloy", product) else "oxide"
