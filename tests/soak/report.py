"""What was found out, item by item, and what of it is not as it should be."""

from __future__ import annotations

from collections import Counter


class Report:
    """Lines as they come, and a summary of those that matter once more at the end."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._noted: list[str] = []

    def tells(self, item: str, is_right: bool, measured: str) -> None:
        """One line."""
        status = "ok" if is_right else "NOT OK"
        line = f"{item:<5} {status:<6} {measured}"
        print(line, flush=True)
        self._counts[status] += 1
        if not is_right:
            self._noted.append(line)

    @property
    def is_right(self) -> bool:
        """Whether everything is as it should be."""
        return not self._counts["NOT OK"]

    def ends(self) -> None:
        """The summary."""
        print("\n" + ", ".join(f"{self._counts[status]} {status}" for status in ("ok", "NOT OK")))
        print("\n".join(self._noted))
