"""Output, sales and use by country, world and company."""

import observation
import raw

# Raw measure: (measure, stage, product where the raw class says only "all").
MEASURES = {
    "mine_production": ("output", "mining", "all"),
    "concentrate_production": ("output", "mining", "mineral_concentrates"),
    "compounds_metals_production": ("output", "smelting_separation", "compounds_and_metals"),
    "compounds_metals_production_total": ("output", "smelting_separation", "all_compounds"),
    "smelting_separation_output": ("output", "smelting_separation", "all"),
    "oxide_production": ("output", "smelting_separation", "all"),
    "total_production": ("output", "smelting_separation", "all"),
    "magnet_production": ("output", "magnet", "all"),
    "material_production": ("output", "material", "all"),
    "rare_earth_consumption": ("consumption", "use", "all"),
    "sales_volume": ("sales", "smelting_separation", "all"),
}

PRODUCTS = {
    "REO in concentrate": "mineral_concentrates",
    "REO finished products": "finished_products",
    "REO": "finished_products",
    "NdPr": "NdPr_oxide",
    "NdPr oxide": "NdPr_oxide",
    "NdPr oxide and metal": "NdPr_oxide_and_metal",
    "Dy+Tb": "Dy_and_Tb",
    "rare-earth magnets total": "all",
    "sintered NdFeB": "sintered_NdFeB",
    "sintered NdFeB blanks": "sintered_NdFeB_blanks",
    "bonded NdFeB": "bonded_NdFeB",
    "SmCo magnets": "SmCo",
    "hydrogen-storage alloy": "hydrogen_storage_alloy",
}

MAGNETS = {"rare-earth magnets total", "sintered NdFeB", "bonded NdFeB", "SmCo magnets"}

BASES = {"REO": "REO", "oxide": "oxide", "gross weight": "gross"}


def rows(folder: raw.Folder, quotas: list[dict]) -> list[dict]:
    dates = folder.source_dates()
    ceilings = _national_mining_quotas(quotas)
    return [_output(row, dates, ceilings) for row in folder.rows("production.csv")]


def _output(row: dict[str, str], dates: dict[str, str], ceilings: dict[int, set]) -> dict:
    measure, stage, product = MEASURES[row["measure"]]
    if row["class"] in MAGNETS:
        stage = "magnet"
    if row["class"] == "REO in concentrate":
        stage = "mining"
    if row["class"] != "all":
        product = PRODUCTS.get(row["class"], row["class"])
    output = observation.standard(row, dates, measure, "t") | {
        "authority": row["subject"] if row["authority"] == "company" else row["authority"],
        "producer_kind": row["subject_kind"],
        "producer": row["subject"],
        "stage": stage,
        "product": product,
        "basis": BASES[row["basis"]],
    }
    return output | {"restates_quota": _restates_quota(output, ceilings)}


def _restates_quota(row: dict, ceilings: dict[int, set]) -> bool:
    """Whether a figure is the quota again under the name of output.

    USGS prints China's quota as China's mine production. Most editions say so in a footnote; the others carry the same
    number, and one repeats the last published quota for a year without any.
    """
    if (row["authority"], row["producer"], row["stage"]) != ("USGS", "China", "mining"):
        return False
    year = row["period_start"].year
    return "quota" in row["note"] or row["value"] in (ceilings.get(year) or ceilings.get(year - 1, set()))


def _national_mining_quotas(quotas: list[dict]) -> dict[int, set]:
    """Every total that was ever in force for a year: the full-year statements and the running totals."""
    ceilings: dict[int, set] = {}
    for row in quotas:
        national = row["holder_kind"] == "national" and row["commodity"] == "rare_earths"
        total = row["batch_kind"] != "increment" and row["mineral_class"] == "all"
        counts = row["value"] is not None and row["status"] != "contradicted"
        if national and total and counts and row["stage"] == "mining":
            ceilings.setdefault(row["period_start"].year, set()).add(row["value"])
    return ceilings
