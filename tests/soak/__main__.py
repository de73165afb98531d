"""Full sizes of what `make test` tries small: limits, bad input, access and the sandbox, with figures.

    python tests/soak BINARY [--only L,B,A,S] [--minutes 20] [--statements 20000]

A real server as an operator would run it (TLS, tokens, a ceiling on memory) takes everything; another caller asks it a small
question all the while. One line per item says what was measured; those that are not as they should be stand once more at the end.
The exit code is 1 where there are any. L8 mounts small file systems: as root.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import access
import bad_input
import limits
import sandbox
from report import Report
from served import Served

GROUPS = {"L": limits.run, "B": bad_input.run, "A": access.run, "S": sandbox.run}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--only", default="L,B,A,S", help="the groups, by their letters")
    parser.add_argument("--minutes", type=float, default=20, help="how long the mix of callers lasts (L9)")
    parser.add_argument("--statements", type=int, default=20_000, help="mutated statements (B1)")
    options = parser.parse_args()
    os.environ["DIDYMIUM_BIN"] = str(options.binary.resolve())
    report = Report()
    for group in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder, Served(Path(folder), report) as served:
            GROUPS[group](served, options)
            served.ends()
    report.ends()
    return 0 if report.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
