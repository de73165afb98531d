"""Reserves and resources in the ground."""

import observation
import raw

# Raw measure: (measure, category).
MEASURES = {
    "reserves": ("reserves", "reserves"),
    "reserve_base": ("reserves", "reserve_base"),
    "identified_resource": ("resources", "identified"),
    "resource_quantity": ("resources", "beyond_reserve_base"),
}

CLASSES = {"ion-adsorption heavy": "ion_adsorption_heavy", "mixed ore": "mixed_ore"}


def rows(folder: raw.Folder) -> list[dict]:
    dates = folder.source_dates()
    return [_reserve(row, dates) for row in folder.rows("reserves.csv")]


def _reserve(row: dict[str, str], dates: dict[str, str]) -> dict:
    measure, category = MEASURES[row["measure"]]
    return observation.standard(row, dates, measure, "t") | {
        "authority": "press" if row["authority"] == "media" else row["authority"],
        "area_kind": row["subject_kind"],
        "area": row["subject"],
        "category": category,
        "class": CLASSES.get(row["class"], row["class"]),
        "basis": row["basis"],
    }
