"""Holders, companies and authorities, and whose they were when.

Only what the figures or their notes show: who appears as a holder in which notice, and the changes that a source
states. A merger that no row here states leaves its holders without a parent.
"""

from datetime import date

PROVINCES = (
    "Fujian", "Guangdong", "Guangxi", "Hunan", "Inner Mongolia", "Jiangxi", "Shandong", "Sichuan", "Yunnan",
)

MERGED_2021 = (
    "a holder of its own in the notices of 2019 and 2020, none from 2022 on: the groups merged in December 2021"
)
JOINED_2024 = "inside China Rare Earth Group from the first batch of 2024"

# The source that shows a company as a holder or producer.
COMPANIES = {
    "EQ-CD2011": ["Baotou Steel Rare-Earth Hi-Tech", "China Minmetals"],
    "EQ-TMR2011H2": [
        "Baotou Huamei Rare Earth Hi-Tech",
        "Inner Mongolia Baogang Hefa Rare Earth",
        "Inner Mongolia Baotou Steel Rare Earth Hi-Tech",
        "Leshan Shenghe Rare Earth Technology",
    ],
    "EQ-TMR2013-2": [
        "China Nonferrous Import-Export Jiangsu",
        "Gansu Rare Earth New Materials",
        "Ganzhou Chenguang Rare Earth",
        "Ganzhou Qiandong Rare Earth",
        "Grirem Advanced Materials",
        "Guangdong Rising Nonferrous",
        "Jiangyin Jiahua",
        "Xuzhou Jinshi Pengyuan",
        "Yixing Xinwei Leeshing Rare Earth",
        "Yiyang Hongyuan Rare Earth",
        "Zibo Jiahua",
    ],
    "EQ-TMR2014-2": ["Jiangxi RE and RM Tungsten"],
    "LYC-2022Q2": ["Lynas"],
    "MP-2023FY": ["MP Materials"],
}


def rows() -> list[dict]:
    return [*_authorities(), *_areas(), *_groups(), *_companies()]


def _authorities() -> list[dict]:
    last, first = date(2017, 12, 31), date(2018, 1, 1)
    land = "ministry of land; its mining quotas go on under MNR, with MIIT, from 2018"
    joint = "joint notices of both ministries; no figures published since 2025"
    return [
        _entity("MLR", "authority", to=last, source="QN-2018", note=land),
        _entity("MNR", "authority", since=first, source="QN-2020m", note="ministry of natural resources"),
        _entity("MIIT", "authority", source="QN-2009", note="ministry of industry; a plan of its own until 2017"),
        _entity("MIIT+MNR", "authority", since=first, source="QN-2018", note=joint),
        _entity("MOFCOM", "authority", source="EQ-TMR2011H2", note="ministry of commerce; export quotas 2009 to 2014"),
    ]


def _areas() -> list[dict]:
    country = _entity("China", "country")
    return [country] + [_entity(name, "province", parent="China", source="QN-2018") for name in PROVINCES]


def _groups() -> list[dict]:
    whole, last, first = "China Rare Earth Group", date(2023, 12, 31), date(2024, 1, 1)
    groups = [
        _entity("China Northern Rare Earth", "group", local="北方稀土", source="QN-2023-2n"),
        _entity(whole, "group", since=date(2022, 1, 1), source="QN-2022-2", note="a holder from 2022 on"),
        _entity("Six large groups", "group_set", source="QN-2015-1", note="six groups, added up in a notice of 2015"),
    ]
    for name in ("Guangdong Rare Earth", "Xiamen Tungsten"):
        groups.append(_entity(name, "group", to=last, source="QN-2022-2", note="a holder of its own"))
        groups.append(_entity(name, "group", parent=whole, since=first, source="QN-2024-1f", note=JOINED_2024))
    merged = {
        "China Rare Metals & Rare Earth (Chinalco)": "",
        "China Southern Rare Earth": "南方稀土集团",
        "Minmetals Rare Earth": "",
    }
    for name, local in merged.items():
        last_day = date(2021, 12, 31)
        groups.append(_entity(name, "group", to=last_day, local=local, source="QN-2019-2", note=MERGED_2021))
    return groups


def _companies() -> list[dict]:
    old = "renamed: its quota is printed under Solvay from the second batch of 2014"
    new = "Rhodia before; the first batch of 2014 still says so"
    companies = []
    for town in ("Baotou", "Liyang"):
        before, after = f"{town} Rhodia Rare Earth", f"{town} Solvay Rare Earth"
        companies.append(_entity(before, "company", to=date(2014, 6, 30), source="EQ-TMR2014", note=old))
        companies.append(_entity(after, "company", since=date(2014, 7, 1), source="EQ-TMR2014-2", note=new))
    for source, names in COMPANIES.items():
        companies += [_entity(name, "company", source=source) for name in names]
    return companies


def unknown_holders(entities: list[dict], quotas: list[dict]) -> list[str]:
    """Holders of quotas that this table does not name."""
    named = {row["entity"] for row in entities}
    return sorted(f"quotas {row['row_id']}: no entity {row['holder']}" for row in quotas if row["holder"] not in named)


def _entity(name: str, kind: str, parent="", since=None, to=None, local="", source="", note="") -> dict:
    return {
        "entity": name,
        "kind": kind,
        "parent": parent,
        "valid_from": since,
        "valid_to": to,
        "local_name": local,
        "source_id": source,
        "note": note,
    }
