"""Does the label change from the first rows of a table to the last, as it does where rows are in the order of time?"""

import math
from pathlib import Path

import duckdb

from components.shared.sql import identifier, literal

_PARTS = 5
_MIN_ROWS = 200
# Far beyond chance, and large enough to matter.
_Z = 6.0
_CHANGE = 0.05
# A table that is sorted by its label has far fewer changes from row to row than one in another order.
_MIN_TURNS = 0.25


def remark(snapshot: Path, label: str, positive: str | None) -> str | None:
    """Return a sentence about a label whose share changes along the rows; None if it does not.

    Args:
        snapshot: The table's parquet file, its rows in their order.
        label: The column to predict.
        positive: The value whose share is compared, as text; None compares the mean of a number.
    """
    column = identifier(label)
    value = f"(CAST({column} AS VARCHAR) = {literal(positive)})::DOUBLE" if positive else f"{column}::DOUBLE"
    rows = f"read_parquet({literal(str(snapshot))}, file_row_number=true)"
    with duckdb.connect() as engine:
        engine.execute(
            f"CREATE TABLE ordered AS SELECT {value} AS v, ntile({_PARTS}) OVER (ORDER BY file_row_number) AS part, "
            f"{value} IS DISTINCT FROM lag({value}) OVER (ORDER BY file_row_number) AS turns "
            f"FROM {rows} WHERE {column} IS NOT NULL"
        )
        count, spread, turns = engine.execute(
            "SELECT count(*), stddev_pop(v), count_if(turns) FROM ordered"
        ).fetchall()[0]
        if count < _MIN_ROWS or not spread:
            return None
        means = [row[0] for row in engine.execute("SELECT avg(v) FROM ordered GROUP BY part ORDER BY part").fetchall()]
    change = means[-1] - means[0]
    z = abs(change) / (spread * math.sqrt(2 * _PARTS / count))
    expected_turns = 2 * spread**2 * count if positive else count
    if z < _Z or abs(change) < _CHANGE * (1 if positive else spread) or turns < _MIN_TURNS * expected_turns:
        return None
    first, last = (f"{mean:.1%}" if positive else f"{mean:.4g}" for mean in (means[0], means[-1]))
    what = f"the share of '{positive}'" if positive else f"the mean of '{label}'"
    return (
        f"The rows seem to be in the order of time: {what} is {first} in the first fifth and {last} in the last. If "
        "they are, a random split is too optimistic: name the time with --time, or use --in-time-order."
    )
