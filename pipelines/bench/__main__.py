"""Measure, and print one table of ratios: ``python -m pipelines.bench [PART ...]``; long parts run only by name.

What was measured also replaces the part's table in docs/benchmarks.md, if it has one there.
"""

import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from components.shared.errors import InputError, PerennialError
from pipelines.bench import page
from pipelines.bench.parts import PARTS, Workspace
from pipelines.command import terminal
from pipelines.images import environments

PAGE = environments.ROOT / "docs" / "benchmarks.md"


def main(arguments: Sequence[str]) -> int:
    """Measure the named parts, or every part that is not long; return the exit code."""
    try:
        _measure(selected(arguments))
    except PerennialError as error:
        print(f"perennial: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def selected(names: Sequence[str]) -> list[str]:
    """Return the parts to measure, in the order of the table.

    Raises:
        InputError: If a name is unknown.

    >>> selected(["serving", "retrieval-1m"]), "retrieval-1m" in selected([])
    (['retrieval-1m', 'serving'], False)
    """
    if unknown := sorted(set(names) - set(PARTS)):
        raise InputError(f"the benchmark has no part {', '.join(map(repr, unknown))}; expected one of {list(PARTS)}.")
    return [name for name, part in PARTS.items() if (name in names if names else not part.long)]


def _measure(names: Sequence[str]) -> None:
    console = terminal.console()
    table = Table(*page.HEADER, box=None)
    python, cores = platform.python_version(), os.cpu_count()
    machine = f"{datetime.now(UTC).date()} on {platform.system()} {platform.release()}, {cores} cores, Python {python}"
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Workspace(Path(temporary))
        for name in names:
            console.print(f"measuring {name}", style="dim")
            part = PARTS[name]
            rows = part.measure(workspace)
            for row in rows:
                table.add_row(*row)
                console.print(" | ".join(row), style="dim")
            text = PAGE.read_text(encoding="utf-8")
            if page.has(text, name):
                # Part by part: who ends a long benchmark keeps what it measured so far.
                PAGE.write_text(page.updated(text, name, rows, part.reading, machine), encoding="utf-8")
    console.print(f"\n{machine}")
    console.print(table)
    for name in names:
        console.print(f"{name}: {PARTS[name].reading}", style="dim")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
