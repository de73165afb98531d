"""`make demo` answers the headline questions with the right figures, end to end."""

import re
import subprocess
import sys
from pathlib import Path

import harness

PYTHON = Path(__file__).resolve().parents[2] / "python"


def demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PYTHON / "demo.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=harness.PATIENCE_S,
        check=False,
    )


def lines_of(output: str, first: str | tuple[str, ...]) -> list[list[str]]:
    """The cells of the printed rows that begin with `first`."""
    return [re.split(r" {2,}", line) for line in output.splitlines() if line.startswith(first)]


def test_the_demo_prints_the_headline_figures(tmp_path: Path) -> None:
    done = demo(harness.binary(), "--store", tmp_path / "store")
    assert done.returncode == 0, done.stdout + done.stderr

    mining = lines_of(done.stdout, "mining  ")
    assert [row[1:4] for row in mining] == [
        ["2019", "132,000", "0.1000"],
        ["2020", "140,000", "0.0606"],
        ["2021", "168,000", "0.2000"],
        ["2022", "210,000", "0.2500"],
        ["2023", "255,000", "0.2143"],
        ["2024", "270,000", "0.0588"],
    ]
    separation = lines_of(done.stdout, "smelting_separation  ")
    assert [row[3] for row in separation] == ["0.1043", "0.0630", "0.2000", "0.2469", "0.2072", "0.0416"]

    exports = lines_of(done.stdout, "2025-")
    exports, kept = exports[:11], exports[11:]
    assert len(exports) == 11  # January and February are one period
    assert exports[0][:5] == ["2025-01-01", "2025-02-28", "8,511", "8,774", "-0.0300"]
    assert [row[4] for row in exports[1:4]] == ["0.2031", "0.0479", "-0.0567"]

    # The job's table says the same, the month that was loaded last included.
    assert [row[:5] for row in kept] == [row[:5] for row in exports]
    (run,) = lines_of(done.stdout, "export_growth  ")
    assert run[2:5] == ["succeeded", "11", '{"customs_months":2}']

    output_2019 = [row for row in lines_of(done.stdout, "USGS-") if row[1] == "2019"]
    assert [row[4] for row in output_2019] == ["0.4444", "1.0000"]

    rates = {(row[0], row[1]): row[4] for row in lines_of(done.stdout, "201")}
    assert rates == {
        ("2011", "MIIT"): "0.6162",
        ("2011", "ACREI"): "0.5599",
        ("2012", "GACC"): "0.5247",
        ("2014", "GACC"): "0.9072",
    }

    known = [row[:3] for row in lines_of(done.stdout, ("Brazil, ", "China, ", "United States, "))]
    assert known == [
        ["Brazil, reserves 2025", "2026-03-01", "21,000,000"],
        ["Brazil, reserves 2025", "2026-06-01", "11,000,000"],
        ["China, mining quota 2023", "2023-10-01", "240,000"],
        ["China, mining quota 2023", "2023-12-31", "255,000"],
        ["United States, mine output 2018", "2019-06-30", "15,000"],
        ["United States, mine output 2018", "2020-06-30", "18,000"],
        ["United States, mine output 2018", "2021-06-30", "14,000"],
    ]
    holders = lines_of(done.stdout, "2024-09-01  ")
    assert [row[1] for row in holders if row[-1] == "second batch by holder not published"] == [
        "China Northern Rare Earth",
        "China Rare Earth Group",
        "China Rare Earth Group",
        "China Rare Earth Group",
    ]
    counted = {(row[1], row[2]): row[5] for row in lines_of(done.stdout, ("MIIT  ", "MOFCOM  "))}
    assert counted["smelting_separation", "2008"] == "1.2111"
    assert counted["export", "2010"] == "1.1567"
    revised = [row[:4] for row in lines_of(done.stdout, ("Australia  ", "Nigeria  "))]
    assert revised == [["Australia", "2024", "13,000", "29,000"], ["Nigeria", "2024", "13,000", "1,500"]]
    assert "The server has stopped." in done.stdout


def test_the_demo_uses_a_store_that_is_there(store: Path) -> None:
    done = demo(harness.binary(), "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Using the store in" in done.stdout


def test_the_demo_fails_when_there_is_no_program(tmp_path: Path) -> None:
    done = demo(tmp_path / "nothing")
    assert done.returncode == 2
    assert "there is no program" in done.stderr
