"""The lines of a log that the step itself wrote: without those of KFP's launcher and executor around them."""

import re
from collections.abc import Iterator

# glog's lines of the launcher, and those of KFP's executor.
_AROUND = re.compile(r"[IWEF]\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] |\[KFP Executor [^\]]*\]: ")
_ANNOUNCES_JSON = re.compile(r"(\{|Got executor_input:)\s*$")


def own_lines(log: str) -> str:
    r"""Return what a step wrote, also what it printed as JSON; empty if it wrote nothing.

    >>> own_lines("I1121 05:49:46.560067      15 main.go:67] Setting log level to: '1'\nread 9 rows\n")
    'read 9 rows\n'
    """
    own = "".join(_own(log.splitlines(keepends=True)))
    return own if own.strip() else ""


def _own(lines: list[str]) -> Iterator[str]:
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if not _AROUND.match(line):
            yield line
        elif _ANNOUNCES_JSON.search(line):
            position = _after_json(lines, position, is_open=line.rstrip().endswith("{"))


def _after_json(lines: list[str], position: int, *, is_open: bool) -> int:
    """Return the position after an indented JSON object, which ends with the first line that is a brace alone."""
    if not is_open and (position == len(lines) or lines[position].rstrip() != "{"):
        return position
    end = next((n for n in range(position, len(lines)) if lines[n].rstrip() == "}"), None)
    return position if end is None else end + 1
