"""What a command acknowledges is on the disk. A kill keeps the kernel's pages, so only the system calls can show it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import harness
import output

CALLS = "mkdir,mkdirat,rename,renameat,renameat2,link,linkat,fsync,fdatasync,write,writev,pwrite64,pwritev"

#: A line of the trace: who, and what; a call that another thread's calls interrupt comes in two parts.
LINE = re.compile(r"(?P<thread>\d+) +(?P<text>.*)")
INTERRUPTED = re.compile(r"(?P<beginning>.*?) *<unfinished \.\.\.>")
RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")
CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")


@dataclass(frozen=True)
class Call:
    """A system call that succeeded, and the lines of the trace between which it ran."""

    name: str
    arguments: str
    begin: int
    end: int

    @property
    def file(self) -> str:
        """What the descriptor stands for that the call was given first."""
        return re.match(r"\d+<(.*?)>", self.arguments)[1]

    @property
    def paths(self) -> list[Path]:
        """The paths that the call was given as text."""
        return [Path(path) for path in re.findall(r'"(.*?)"', self.arguments)]


def calls(trace: list[str]) -> list[Call]:
    """The calls of a trace in the order in which they ended; those that failed did nothing."""
    interrupted: dict[str, tuple[int, str]] = {}
    ended = []
    for number, line in enumerate(trace):
        thread, text = LINE.fullmatch(line).group("thread", "text")
        if match := INTERRUPTED.fullmatch(text):
            interrupted[thread] = number, match["beginning"]
            continue
        begin = number
        if match := RESUMED.match(text):
            begin, beginning = interrupted.pop(thread)
            text = beginning + match["rest"]
        call = CALL.match(text)
        if call and int(call["result"]) >= 0:
            ended.append(Call(call["name"], call["arguments"], begin, number))
    return ended


def faults(trace: list[str], place: Path, told: str) -> list[str]:
    """What of a place a power cut could have taken away, had it come when the command wrote `told`."""
    made = calls(trace)
    flushes = [call for call in made if "sync" in call.name]
    writes = [call for call in made if "write" in call.name]
    [told_at] = [call.begin for call in writes if call.file.startswith("pipe:") and told in call.arguments]
    named = [call for call in made if "rename" in call.name or "link" in call.name]
    commits = [call for call in named if re.fullmatch(r"\d{20}\.json", call.paths[1].name)]
    found = []

    def require(flushed: Path, after: int, before: int) -> None:
        if not any(call.file == str(flushed) and after < call.begin and call.end < before for call in flushes):
            found.append(f"{flushed} is not flushed in time")

    for call in named:
        staged, name = call.paths
        written = [write.end for write in writes if write.file == str(staged)]
        require(staged, after=max(written), before=call.begin)
        # What the log names must be there before the log says so.
        naming = [commit.begin for commit in commits if name.name in commit.paths[1].read_text()]
        require(name.parent, after=call.end, before=min([told_at, *naming]))
    for call in made:
        if "mkdir" in call.name:
            require(call.paths[0].parent, after=call.end, before=told_at)
    staged = {str(call.paths[0]) for call in named}
    for file in {write.file for write in writes} - staged:
        if Path(file).is_relative_to(place):
            found.append(f"{file} is written under the name that it keeps")
    return found


@dataclass(frozen=True)
class Recording:
    """The system calls of one command, and what it writes when it is done."""

    trace: list[str]
    told: str
    place: Path

    @property
    def faults(self) -> list[str]:
        return faults(self.trace, self.place, self.told)

    def named(self) -> list[str]:
        """The kinds of files that were given their names."""
        names = [call.paths[1] for call in calls(self.trace) if "rename" in call.name or "link" in call.name]
        return sorted(name.suffix for name in names)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    """What each command that writes does, one after the other in one store."""
    place = tmp_path_factory.mktemp("fsync")
    store = place / "new" / "folders" / "store"
    first = output.write(place / "first.csv", [("a", "2024-01", 1.0), ("b", "2024-01", 2.0)])
    second = output.write(place / "second.csv", [("a", "2024-01", 3.0)])
    commands = {
        "init": (("init", "--store", store), "the store is in "),
        "create": (("table", "create", output.DECLARATION, "--store", store), ": made"),
        "load": (output.load(store, first), " rows, version "),
        "correction": (output.load(store, second, "--supersede", "mistake"), " superseded"),
        "compaction": (("store", "compact", "output", "--store", store), " files merged into "),
        "backup": (("store", "backup", place / "backup", "--store", store), " files, "),
    }
    return {name: record(place, told, command) for name, (command, told) in commands.items()}


def record(place: Path, told: str, command: tuple[object, ...]) -> Recording:
    """Runs a command that must succeed."""
    file = place / "trace"
    strace = ["strace", "-f", "-y", "-s", "200", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(file)]
    whole = [*strace, str(harness.binary()), *map(str, command)]
    ran = subprocess.run(whole, capture_output=True, text=True, timeout=harness.PATIENCE_S, check=False)
    assert ran.returncode == 0, ran.stderr
    return Recording([line for line in file.read_text().splitlines() if "+++" not in line], told, place)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("create", [".json"]),
        ("load", [".json", ".parquet"]),
        ("correction", [".json", ".parquet", ".parquet"]),
        ("compaction", [".json", ".parquet"]),
    ],
)
def test_what_a_command_acknowledges_is_on_the_disk(
    recordings: dict[str, Recording], command: str, named: list[str]
) -> None:
    assert recordings[command].named() == named
    assert recordings[command].faults == []


@pytest.mark.parametrize("command", ["init", "backup"])
def test_a_new_store_is_on_the_disk_with_the_folders_that_lead_to_it(
    recordings: dict[str, Recording], command: str
) -> None:
    assert recordings[command].named().count(".parquet") >= len(harness.BUILT_IN_TABLES) - 1
    assert recordings[command].faults == []


@pytest.mark.parametrize("fault", ["missing", "failed", "late"])
def test_a_flush_that_is_missing_fails_or_is_late_is_seen(recordings: dict[str, Recording], fault: str) -> None:
    load = recordings["load"]
    flushes = [call for call in calls(load.trace) if "sync" in call.name]
    needed = {call.file for call in flushes if "#" in call.file or Path(call.file).name in ("output", "_delta_log")}
    assert len(needed) == 4, "the data file, the entry of the log, and the folder of each"
    for file in needed:
        lines = {line for call in flushes if call.file == file for line in (call.begin, call.end)}
        doctored = [line for number, line in enumerate(load.trace) if number not in lines]
        flushed = [load.trace[number] for number in sorted(lines)]
        if fault == "failed":
            doctored = [line.replace("= 0", "= -1 EIO") if line in flushed else line for line in load.trace]
        if fault == "late":
            doctored += flushed
        assert faults(doctored, load.place, load.told) == [f"{file} is not flushed in time"]


def test_a_file_that_is_written_under_its_own_name_is_seen(recordings: dict[str, Recording]) -> None:
    load = recordings["load"]
    name = load.place / "new" / "folders" / "store" / "output" / "part.parquet"
    doctored = [f'1 write(9<{name}>, "PAR1", 4) = 4', *load.trace]
    assert faults(doctored, load.place, load.told) == [f"{name} is written under the name that it keeps"]
