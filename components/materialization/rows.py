"""The rows to write: per entity the newest row of a view within a window."""

from pathlib import Path

import duckdb
import pyarrow as pa

from components.materialization.window import Window
from components.shared.features import view_rows
from components.shared.features.repository import ViewSpec
from components.shared.features.snapshot import quoted


def newest(connection: duckdb.DuckDBPyConnection, repo: Path, view: ViewSpec, window: Window) -> pa.Table:
    """Return per entity the row with the newest event time within the window.

    Of rows with equal event times the one that was created last counts, then the one with the largest values, column by
    column, so that equal tables give equal rows. A row without an entity or an event time is left out.

    Args:
        connection: A connection with a view per source of the snapshot.
        repo: The folder with ``sql/``.
        view: The feature view.
        window: Of event times.

    Returns:
        The entity, the times, then the features, ordered by entity.

    Raises:
        InputError: If the SQL of the view fails or lacks a column.
    """
    view_rows.define(connection, repo, view)
    entity, time = quoted(view.entity), f"{quoted(view.time)}::TIMESTAMP"
    times = view_rows.times_of(view)
    columns = [entity, *(f"{quoted(name)}::TIMESTAMP AS {quoted(name)}" for name in times), *map(quoted, view.features)]
    order = [f"{quoted(name)}::TIMESTAMP DESC NULLS LAST" for name in times]
    order += [f"{quoted(name)} DESC NULLS LAST" for name in view.features]
    limits = [f"{entity} IS NOT NULL", f"{quoted(view.time)} IS NOT NULL"]
    limits += [f"{time} > $start"] if window.start else []
    limits += [f"{time} <= $end"] if window.end else []
    bounds = {name: moment for name, moment in (("start", window.start), ("end", window.end)) if moment is not None}
    query = (
        f"SELECT {', '.join(columns)} FROM _answer WHERE {' AND '.join(limits)}"
        f" QUALIFY row_number() OVER (PARTITION BY {entity} ORDER BY {', '.join(order)}) = 1 ORDER BY {entity}"
    )
    try:
        return connection.sql(query, params=bounds).to_arrow_table()
    except duckdb.Error as error:
        raise view_rows.failure(view, error) from error
