"""Notes: short, in our words, and free of names that only the gathering knew."""

# The gathering called some documents by its own file names; a reader knows them by what they are.
REPLACEMENTS = (
    ("seed S001: the two", "the two"),
    ("seed table 1", "table 1 of the report"),
    ("seed: unchanged", "the report: unchanged"),
    ("seed cites", "the study cites"),
    ("seed restates", "the report restates"),
    ("seed calls it", "the report calls it"),
    ("seed text", "text of the report"),
    ("seed footnote", "footnote of the report"),
    ("seed prints", "the report prints"),
    ("the seed figure", "the report's figure"),
    ("of exports.csv", "of the table exports"),
)


def of(text: str) -> str:
    for old, new in REPLACEMENTS:
        text = text.replace(old, new)
    return " ".join(text.split())


def joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
