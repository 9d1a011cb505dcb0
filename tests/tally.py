"""Count the tests of several pytest processes, from the results that they write as JUnit XML."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

_LONGEST_REASON = 160


class Tally:
    """How many tests passed, failed and were skipped, and why they were skipped."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self.reasons: Counter[str] = Counter()

    def add(self, results: Path) -> None:
        """Add the results of one process; a file that does not exist adds nothing."""
        if not results.exists():
            return
        for case in ElementTree.parse(results).iter("testcase"):
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed += 1
            elif skip is not None:
                self.skipped += 1
                self.reasons[re.sub(r"\s+", " ", skip.get("message", ""))[:_LONGEST_REASON]] += 1
            else:
                self.passed += 1

    def skipped_lines(self) -> Iterator[str]:
        """List each reason once, the most frequent first, with the number of tests."""
        if self.reasons:
            yield "skipped:"
        for reason, number in self.reasons.most_common():
            yield f"{number:5d}  {reason}"

    def unexpected(self, allowed: Iterable[str]) -> list[str]:
        """Return the reasons that begin with none of the allowed ones."""
        prefixes = tuple(allowed)
        return sorted(reason for reason in self.reasons if not reason.startswith(prefixes))

    def __str__(self) -> str:
        return f"{self.passed:,} passed, {self.failed:,} failed, {self.skipped:,} skipped"


def read_reasons(path: Path) -> list[str]:
    """Read a file with the beginning of one reason per line; empty lines and comments are left out."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]
