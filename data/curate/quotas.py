"""Quotas: ceilings that an authority sets for a year, and the batches in which it issues them."""

from datetime import date, timedelta

import observation
import raw

STAGES = {
    "mining_quota": "mining",
    "smelting_separation_quota": "smelting_separation",
    "export_quota": "export",
}

BASES = {
    "REO": "REO",
    "gross product weight": "gross",
    "WO3 65% concentrate": "WO3_65",
    "metal content": "metal",
}

HOLDER_KINDS = {"country": "national", "group-set": "group_set"}

# (first batch, last batch, kind). A full-year statement belongs to no batch.
BATCHES = {
    "annual": (None, None, None),
    "batch1": (1, 1, "increment"),
    "batch2": (2, 2, "increment"),
    "batch3": (3, 3, "increment"),
    "batch1+2": (1, 2, "cumulative"),
}

# The export quota of 2012 came in three parts: the supplement to its first batch is the second of them.
BATCHES_OF_2012 = {"batch1-supplement": (2, 2, "increment"), "batch2": (3, 3, "increment")}

MINERAL_CLASSES = {"light": "rock", "medium-heavy": "ionic"}
PRODUCT_CLASSES = {"light": "light", "medium-heavy": "medium_heavy"}
OWNERSHIPS = {"domestic-owned": "domestic", "foreign-owned": "foreign"}
OTHER_METALS = {"tungsten", "antimony", "tin", "molybdenum", "silver", "indium"}

WITHDRAWN_ESTIMATE = "Q00265"


def rows(folder: raw.Folder) -> list[dict]:
    dates = folder.source_dates()
    quotas = [_quota(row, dates) for row in folder.rows("quotas.csv")]
    quotas.append(_withdrawal(quotas))
    _limit_by_next_batch(quotas)
    return quotas


def _quota(row: dict[str, str], dates: dict[str, str]) -> dict:
    stage = STAGES[row["measure"]]
    first, last, kind = _batch(row, stage)
    return observation.standard(row, dates, "quota", "t") | {
        "authority": row["authority"],
        "regulator_line": _regulator_line(row["authority"], stage),
        "stage": stage,
        "holder_kind": HOLDER_KINDS.get(row["subject_kind"], row["subject_kind"]),
        "holder": row["subject"],
        "basis": BASES[row["basis"]],
        "batch_from": first,
        "batch_through": last,
        "batch_kind": kind,
        "batch_label": row["batch"].replace("batch", "batch ").replace("-", " "),
    } | _classes(row["class"], stage)


def _batch(row: dict[str, str], stage: str) -> tuple:
    if stage == "export" and row["period_start"].startswith("2012"):
        return (BATCHES | BATCHES_OF_2012)[row["batch"]]
    return BATCHES[row["batch"]]


def _regulator_line(authority: str, stage: str) -> str:
    """The regime that a quota belongs to; growth follows it across the change of ministries.

    The land ministry's control of mining (MLR, then MNR with MIIT) and MIIT's mandatory production plan ran side by
    side until 2017 with different figures for one year. The plan's separation part became the joint notice of 2018.
    """
    if stage == "export":
        return "export_quota"
    if stage == "smelting_separation" or authority == "MIIT":
        return "production_plan"
    return "mining_control"


def _classes(word: str, stage: str) -> dict:
    """The raw `class` mixes commodity, mineral, product and ownership; each has a column here."""
    classes = {"commodity": "rare_earths", "mineral_class": "all", "product_class": "all", "ownership": "all"}
    commodity, _, part = word.partition("/")
    if commodity in OTHER_METALS:
        classes |= {"commodity": commodity, "product_class": part if part not in ("", "total") else "all"}
    elif word in OWNERSHIPS:
        classes["ownership"] = OWNERSHIPS[word]
    elif stage == "export":
        classes["product_class"] = PRODUCT_CLASSES.get(word, word)
    else:
        classes["mineral_class"] = MINERAL_CLASSES.get(word, word)
    return classes


def _withdrawal(quotas: list[dict]) -> dict:
    """One source took its estimate of a year's export quota back a day later: a statement of its own."""
    estimate = next(row for row in quotas if row["row_id"] == WITHDRAWN_ESTIMATE)
    return estimate | {
        "row_id": f"{WITHDRAWN_ESTIMATE}W",
        "value": None,
        "printed_value": "",
        "printed_unit": "",
        "status": "withdrawn",
        "published_on": estimate["published_on"] + timedelta(days=1),
        "note": "withdraws the estimate of 21,586 t of the day before",
    }


def _limit_by_next_batch(quotas: list[dict]) -> None:
    """A batch with an inexact date was public at the latest when a later statement of its year built on it."""
    for row in quotas:
        if row["published_precision"] != "day" and row["batch_through"]:
            later = [other["published_on"] for other in quotas if _builds_on(other, row)]
            row["published_on"] = min([row["published_on"], *later])


def _builds_on(other: dict, row: dict) -> bool:
    same = all(other[column] == row[column] for column in ("regulator_line", "commodity", "stage"))
    full_year = other["batch_through"] is None
    return (
        same
        and _year(other) == _year(row)
        and other["status"] == "final"
        and other["published_precision"] == "day"
        and (full_year or other["batch_through"] > row["batch_through"])
    )


def _year(row: dict) -> int:
    day: date = row["period_start"]
    return day.year
