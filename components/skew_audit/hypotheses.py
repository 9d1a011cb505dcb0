"""What the offline path would have answered if a known mistake had been made, for a sample of rows.

Each of these predicts a value for every row and feature:

- late row: rows count from their own time on, also those that became known only after the request;
- time to live: an online store ignores it, so values that are too old are still there;
- time zone: the value as of a time that is a whole number of hours (-14 to 14) before or after the request's.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq

from components.shared.project import Project
from components.shared.sql import literal
from components.skew_audit.offline import REACH, OfflinePath
from components.skew_audit.pairs import ComparedFeature
from components.skew_audit.typed import typed

LATE_ROW, TIME_TO_LIVE = 100, 101
"""Numbers of two hypotheses; those of time zones are their hours."""
_HOURS = REACH // timedelta(hours=1)


def predict(
    connection: duckdb.DuckDBPyConnection,
    offline: OfflinePath,
    project: Project,
    features: Sequence[ComparedFeature],
    scratch: Path,
) -> None:
    """Make the view ``predicted``: hypothesis, n and ``predicted<i>``, for every row of the table ``sampled``.

    Args:
        connection: A connection with ``sampled``: n, entity, event_time.
        offline: The offline path.
        project: Says the type of each feature.
        features: What is compared.
        scratch: A folder for files.
    """
    rows = connection.sql("SELECT n, entity, event_time FROM sampled ORDER BY n").df()
    folder = scratch / "predicted"
    folder.mkdir()

    def keep(number: int, asked: pd.DataFrame, *, late_rows: bool = False) -> None:
        answers = offline.features(asked, late_rows=late_rows)
        values = typed(answers, project, {f.name: f.name for f in features}, "of the feature service")
        table = values.rename_columns([f"predicted{feature.number}" for feature in features])
        table = table.append_column("n", [asked["n"].to_numpy()])
        table = table.append_column("hypothesis", [asked["hypothesis"].to_numpy()])
        pq.write_table(table, folder / f"{number}.parquet")

    keep(0, rows.assign(hypothesis=LATE_ROW), late_rows=True)
    with offline.without_time_to_live():
        keep(1, rows.assign(hypothesis=TIME_TO_LIVE))
    shifted = [
        rows.assign(hypothesis=hours, event_time=rows["event_time"] + pd.Timedelta(hours=hours))
        for hours in range(-_HOURS, _HOURS + 1)
        if hours
    ]
    # One join over all offsets, because each reads every view.
    keep(2, pd.concat(shifted, ignore_index=True))
    files = literal(str(folder / "*.parquet"))
    connection.execute(f"CREATE OR REPLACE VIEW predicted AS SELECT * FROM read_parquet({files})")
