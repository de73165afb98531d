"""From the raw words to the ten statuses of the product."""

WORDS = {
    "official": "final",
    "press": "final",
    "reported": "final",
    "revised": "final",
    "zero": "final",
    "explicit_zero": "final",
    "indicator": "final",
    # The historical series does not tell its reports from its estimates.
    "reported_or_estimated": "final",
    # A printed bound or range is a definite statement: the value is empty, its limits are not.
    "lower_bound": "final",
    "upper_bound": "final",
    "range": "final",
    "provisional": "provisional",
    "estimated": "estimated",
    "estimated_revised": "estimated",
    "rounded": "rounded",
    "derived": "derived",
    "calculated": "derived",
    "computed": "derived",
    # The middle of a printed range is our arithmetic.
    "range-midpoint": "derived",
    "contradicts": "contradicted",
    "superseded": "superseded",
    "not_published": "not_disclosed",
    # Kept back so as not to disclose one company's figures.
    "withheld": "not_disclosed",
    "not_available": "not_available",
}

# Rows whose raw word says less than their note, each with the reason.
EXCEPTIONS = {
    # A rating report against the ministries: both stand, and the source's rank decides.
    "Q00093": "final",
    "Q00110": "final",
    # The article subtracts the first batch itself.
    "Q00086": "derived",
    # 30,184 t are the two announcements; this total adds later allocations to foreign-owned firms.
    "Q00245": "superseded",
    # The same 15,499 t as the company lists add up to (Q00292), which stands.
    "Q00258": "final",
    # Issued as an estimate; its withdrawal is a row of its own.
    "Q00265": "estimated",
    # The first listing of the round, replaced by the supplement of the same month.
    "Q00319": "superseded",
    # Another basket, which its key says.
    "X00131": "final",
}


def of(row_id: str, word: str) -> str:
    return EXCEPTIONS.get(row_id) or WORDS[word]
