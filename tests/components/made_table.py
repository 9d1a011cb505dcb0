"""A table that init has to understand and TFDV has to accept: awkward names, blanks, truth values, constants."""

import csv
from datetime import datetime
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("made_table.pbtxt")
"""The schema that ``perennial init`` writes for the table."""
ROWS = 120


def columns() -> dict[str, list[Any]]:
    """Return the values of each column as a snapshot holds them."""
    return {
        'a "quoted" name': ["ä", 'say "x"', "back\\slash"] * 40,
        "mean.radius (cm)": [n * 7 % 31 / 4 for n in range(ROWS)],
        "count": [None if n % 9 == 0 else n * 5 % 23 for n in range(ROWS)],
        "member": ["Yes" if n % 2 else "No" for n in range(ROWS)],
        "active": [n % 3 == 0 for n in range(ROWS)],
        "flag": [int(n % 5 == 0) for n in range(ROWS)],
        "code": [f"K-{n:03d}" for n in range(ROWS)],
        "constant": ["same"] * ROWS,
        "nothing": [None] * ROWS,
        "since": [datetime(2019, 1 + n % 12, 1) for n in range(ROWS)],
        "y": [("no", "no", "yes", "no")[n % 4] for n in range(ROWS)],
    }


def write_csv(path: Path) -> Path:
    """Write the table as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns())
        writer.writerows(
            ["" if value is None else value for value in row] for row in zip(*columns().values(), strict=True)
        )
    return path
