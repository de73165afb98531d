"""Where the figures come from, how good that is, and on what terms they are passed on."""

import re

import published
import raw

TIERS = {
    "primary-file": "primary_file",
    "official-copy": "official_copy",
    "company": "company",
    "reference": "reference",
    "wire/press": "press",
    "derived": "derived",
    "seed": "study",
}

# 1 is best. The gap before studies is on purpose: a rating report never comes near a ministry's notice.
RANKS = {
    "primary_file": 1,
    "official_copy": 2,
    "company": 3,
    "reference": 4,
    "press": 5,
    "derived": 6,
    "study": 9,
}

# A survey's editions are one voice, whether read as its own file or as a copy of its chapter: were a copy ranked
# lower, an old edition would win over the newer one that revises it.
ONE_VOICE = "USGS-"

TERMS = {
    "primary_file": "government work, public domain",
    "official_copy": "government notice, figures only",
    "company": "company release, figures cited",
    "reference": "reference work, figures cited",
    "press": "press fact, figures cited",
    "derived": "our own arithmetic on the rows of this folder",
    "study": "published study, figures cited",
}

# Documents that the gathering knew by file names of its own, cited by what they are.
CITATIONS = {
    "DERIVED": "the formula stands in the note of each row",
    "S000": "Collection of 53 one-sentence statements on the rare-earth industry, in Chinese, about 2020-2021; "
    "authors unnamed",
    "S001": 'Article "Chinese Policies Escort The Rare Earth Industry" on the web site of a magnet maker, 2020-09-19',
    "S002": "Dagong Global Credit Rating (大公国际; 李紫嫣, 王鹏), 战略金属材料研究①: "
    "稀土永磁：供需紧平衡常态化与产业链价值重估, 2026, after May 2026",
    "S003": "Review of rare-earth functional materials to 2035, strategy study in Chinese with an English abstract, "
    "about 2020-2021",
    "S004": "News digest 稀土总量调控 on the Interim Measures of 2025, out of Sina, STCN, 21jingji, Sohu and 券商中国, "
    "2025-08-22 to 2025-08-26",
    "OT-ATW": "periodictable 2.1.0 (Python package of the periodictable project), table of standard atomic weights",
}

TITLES = {
    "DERIVED": "Computed from other rows of these tables",
    "OT-ATW": "Standard atomic weights as tabulated in periodictable 2.1.0",
}

PUBLISHERS = {"DERIVED": "Didymium", "S000": "unknown"}

NOTES = {
    "DERIVED": "each row carries the day on which its last input became public",
    "S002": "separation quotas of 2020 and 2021 printed as 115,000 t; the ministries set 135,000 t and 162,000 t",
    "USGS-DS140": "the sheet itself is dated 2023-09-27",
    "EQ-TMR2013-1": "known by its month only",
    "EQ-TMR2013-2": "address not seen, inferred from the article on 2014",
}


def rows(folder: raw.Folder, cited: set[str]) -> list[dict]:
    """The sources that the shipped tables cite."""
    return [_source(row) for row in folder.rows("sources.csv") if row["source_id"] in cited]


def _source(row: dict[str, str]) -> dict:
    source_id = row["source_id"]
    tier = TIERS[row["tier"]]
    day = published.of_source(source_id, row["date"])
    one_voice = source_id.startswith(ONE_VOICE)
    return {
        "source_id": source_id,
        "title": TITLES.get(source_id, row["title"]),
        "publisher": PUBLISHERS.get(source_id, row["publisher"]),
        "published_on": day.day,
        "published_precision": day.precision,
        "locator": CITATIONS.get(source_id) or _locator(row["locator"]),
        "tier": tier,
        "rank": RANKS["primary_file"] if one_voice else RANKS[tier],
        "terms": TERMS["primary_file"] if one_voice else TERMS[tier],
        "note": NOTES.get(source_id) or _undated(row),
    }


def _undated(row: dict[str, str]) -> str:
    undated = not row["date"] and row["source_id"] not in published.UNDATED_SOURCES
    return "undated: its day is the day on which it was read" if undated else ""


def _locator(text: str) -> str:
    """A repository is cited by its address, the commit and the file."""
    found = re.fullmatch(r"github:([^@]+)@([0-9a-f]+):(.+)", text)
    if not found:
        return text
    repository, commit, path = found.groups()
    return f"https://github.com/{repository}, commit {commit[:12]}, {path}"
