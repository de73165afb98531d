"""L8: file systems that are full, below the spilled files and below the store."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import time
from pathlib import Path

import harness
import output
from didymium.v1 import ingest_pb2_grpc
from harness import MIB
from served import End, Served, asked, load, outcome
from test_crash import assert_nothing_is_left_behind
from test_overload import CALM_S, SORT
from test_overload import outcome as answer

DATA_BYTES, SPILL_BYTES = 48 * MIB, 192 * MIB

#: The sort that spills, but does not fill the disk by itself, and the one that does.
ROWS, MANY_ROWS = 200_000, 800_000

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

TABLE = """
name = "output"
kind = "plain"
description = "Text that does not shrink."
key = ["n"]
columns = [
    { name = "n", type = "int", description = "A number." },
    { name = "s", type = "text", description = "Chance." },
]
"""


def run(beside: Served) -> None:
    """A server of its own, whose canary sings through all of it."""
    folder = beside.folder / "full"
    folder.mkdir()
    try:
        with Disk(folder / "data", DATA_BYTES) as data, Disk(folder / "spilled", SPILL_BYTES) as spilled:
            with Served(folder, beside.report, data.folder / "store", spilled.folder) as served:
                spilling(served, spilled)
                loading(served, data)
                served.ends()
    except NotMounted as error:
        beside.tells("L8", False, f"NOT RUN: cannot mount ({error})")


class NotMounted(Exception):
    """Nobody may mount anything here."""


class Disk:
    """A file system that is soon full, and a file that nobody needs to fill it with."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._size = size
        self._ballast = folder / "ballast"

    def __enter__(self) -> Disk:
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.folder)]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True)
        except OSError as error:
            raise NotMounted(error) from error
        except subprocess.CalledProcessError as error:
            raise NotMounted(error.stderr.strip().partition("\n")[0]) from error
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    @property
    def free_bytes(self) -> int:
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def leave(self, free_bytes: int) -> None:
        """Fills it but for so much."""
        self.clear()
        if (size := self.free_bytes - free_bytes) > 0:
            with self._ballast.open("wb") as ballast:
                os.posix_fallocate(ballast.fileno(), 0, size)

    def clear(self) -> None:
        """Frees what the ballast takes."""
        self._ballast.unlink(missing_ok=True)


def is_of_a_full_disk(end: End) -> bool:
    """Whether a refusal says what there is too little of."""
    return end.code == "RESOURCE_EXHAUSTED" and re.search("(disk|device|storage).*full|no space left", end.message, re.I) is not None


def spilling(served: Served, disk: Disk) -> None:
    """Sorts that fill the disk, that find it full, and that find room again."""
    stub = served.stub("a")
    for who, rows, left_bytes in (("the sort itself", MANY_ROWS, disk.free_bytes), ("others", ROWS, MIB)):
        disk.leave(left_bytes)
        failed, end = asked(stub, SORT.format(rows=rows)), time.monotonic()
        while (kept := left_bytes - disk.free_bytes) > 0 and time.monotonic() < end + CALM_S:
            time.sleep(0.05)
        is_right = is_of_a_full_disk(failed) and kept <= 0 and outcome(stub, "select * from quotas") == "OK"
        served.tells("L8", is_right, f"a sort on a disk that {who} filled: {kept} bytes kept, {failed.code} {failed.message[:200]}")
    disk.clear()
    answered = answer(served.server, SORT.format(rows=ROWS))
    served.tells("L8", answered == [(ROWS, ROWS)], f"the same sort once the disk is free again: {answered}")


def loading(served: Served, disk: Disk) -> None:
    """Loads until the disk is full, then with room for some of a load's files but not for all; then the same once more."""
    served.creates(TABLE)
    chance, numbers = random.Random(8), itertools.count()
    stub = ingest_pb2_grpc.IngestServiceStub(served.channel(served.tokens["a"]))
    acknowledged = 0

    def rows(count: int) -> str:
        return "n,s\n" + "".join(f"{next(numbers)},{chance.randbytes(200).hex()}\n" for _ in range(count))

    def tells(loaded: End, is_right: bool, measured: str) -> None:
        """With what must hold after every load: what was acknowledged is there, and nothing else is."""
        counted = harness.query(served.stub("b"), "select count(*), count(distinct n) from output").rows
        verified = harness.run("store", "verify", "--store", served.store)
        is_whole = counted == [(acknowledged, acknowledged)] and verified.returncode == 0
        measured += f": {acknowledged} rows acknowledged, {counted} counted, {verified.stderr.strip().splitlines()[-1]}"
        served.tells("L8", is_right and is_whole, f"{measured}; {loaded.code} {loaded.message[:200]}")

    disk.leave(DATA_BYTES // 3)
    large, size = rows(20_000), 20_000
    while (loaded := load(stub, "output", large)).code == "OK":
        acknowledged += size
        large = rows(size)
    tells(loaded, is_of_a_full_disk(loaded), "a load that fills the disk")

    small = rows(1)
    for pages in range(64):
        disk.leave(pages * PAGE_BYTES)
        last, loaded = loaded, load(stub, "output", small)
        if not is_of_a_full_disk(loaded):
            break
    acknowledged += loaded.code == "OK"
    tells(last, loaded.code == "OK" and pages > 0, f"a row is refused with up to {pages - 1} pages of room, and with {pages} {loaded.code}")

    disk.clear()
    loaded = load(stub, "output", large)
    acknowledged += size * (loaded.code == "OK")
    tells(loaded, loaded.code == "OK", "the load that was refused, once the disk is free again")
    left = len(output.files(served.store) - output.named_files(served.store)) + len(list(served.store.rglob("*#*")))
    try:
        assert_nothing_is_left_behind(served.store)
        wrong = ""
    except AssertionError as error:
        wrong = f", and then: {error}"
    served.tells("L8", not wrong, f"{left} files of refused loads, which `store clean` deletes{wrong}")
