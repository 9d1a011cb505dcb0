"""Find logged rows that have the values of an earlier row of a feature view: the newest was not materialized yet.

A feature view is materialized row by row, so a row of the log is stale if all its features of a view are those of one
earlier row of that view for the same entity. The state before an entity's first row, in which everything is missing,
counts as an earlier one for ``STALE_AFTER_US`` only: a store that is empty for longer is broken. The lag is the time
for which a newer row had been available.

A lag of more than ``STALE_AFTER_US`` is a mismatch, whose cause is staleness. A view without a created timestamp does
not say when a row became known; there, a row that arrived late looks as if it had not been materialized.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.features import names
from components.shared.features.repository import ViewSpec
from components.shared.project import Project
from components.shared.sql import identifier, literal
from components.skew_audit.offline import OfflinePath
from components.skew_audit.pairs import ComparedFeature
from components.skew_audit.typed import typed

STALE_AFTER_US = 7 * 86_400 * 10**6
"""Microseconds up to which a value counts as not materialized yet: a week."""
_BATCH = 250_000


def lag_column(view: str) -> str:
    """Name the column of ``stale`` with the lag of a view, in microseconds."""
    return identifier(f"lag of {view}")


def find(
    connection: duckdb.DuckDBPyConnection,
    offline: OfflinePath,
    project: Project,
    features: Sequence[ComparedFeature],
    scratch: Path,
) -> None:
    """Make the table ``stale``: n, and the lag of each view, null where the row is not stale.

    Args:
        connection: A connection with ``classified``.
        offline: Has the rows of the views.
        project: Says the type of each feature.
        features: What is compared.
        scratch: A folder for files.
    """
    views = [view for view in offline.views if any(feature.view == view.name for feature in features)]
    tables = []
    for number, view in enumerate(views):
        theirs = [feature for feature in features if feature.view == view.name]
        _unequal(connection, theirs)
        _states(connection, offline, project, view, theirs, scratch / f"states{number}.parquet")
        equal = " AND ".join(
            f"({_is_skipped(feature)} OR {feature.same(f'r.{feature.logged}', f's.state{feature.number}')})"
            for feature in theirs
        )
        lag = "epoch_us(r.event_time) - epoch_us(s.until)"
        connection.execute(f"""
            CREATE OR REPLACE TABLE stale{number} AS
            SELECT r.n, min({lag}) AS lag FROM unequal r JOIN states s ON r.entity = s.entity
            WHERE s.until <= r.event_time AND (NOT s.is_empty OR {lag} <= {STALE_AFTER_US}) AND {equal}
            GROUP BY r.n
        """)
        tables.append(f"SELECT n, lag AS lag{number} FROM stale{number}")
    lags = ", ".join(f"max(lag{number}) AS {lag_column(view.name)}" for number, view in enumerate(views))
    connection.execute(
        f"CREATE OR REPLACE TABLE stale AS SELECT n, {lags} FROM ({' UNION ALL BY NAME '.join(tables)}) GROUP BY n"
    )


def _unequal(connection: duckdb.DuckDBPyConnection, features: Sequence[ComparedFeature]) -> None:
    """Make the view ``unequal`` of the rows that differ in a feature of a view."""
    differs = " OR ".join(f"mark{feature.number} > 0" for feature in features)
    columns = ", ".join(feature.logged for feature in features)
    connection.execute(
        f"CREATE OR REPLACE VIEW unequal AS SELECT n, entity, event_time, release, {columns} FROM classified"
        f" WHERE {differs}"
    )


def _is_skipped(feature: ComparedFeature) -> str:
    skipped = ", ".join(literal(release) for release in feature.not_in)
    return f"r.release IN ({skipped})" if skipped else "false"


def _states(
    connection: duckdb.DuckDBPyConnection,
    offline: OfflinePath,
    project: Project,
    view: ViewSpec,
    features: Sequence[ComparedFeature],
    target: Path,
) -> None:
    """Make the table ``states``: what was the newest row of an entity, with ``until``, when a newer one was usable.

    A row that becomes usable when a later one already is was never the newest (see ``asof_store``).
    """
    time = identifier(names.time(view.time))
    created = identifier(names.time(view.created)) if view.created else time
    columns = ", ".join(identifier(names.feature(feature.name)) for feature in features)
    theirs = "SELECT DISTINCT entity FROM unequal"
    rows = connection.sql(f"""
        WITH usable AS (
            SELECT {identifier(view.entity)} AS entity, greatest({time}, {created}) AS since,
                   epoch_us({time})::HUGEINT * {2**64} + epoch_us({created}) AS rank, {columns}
            FROM read_parquet({literal(str(offline.rows_of(view)))})
            WHERE {identifier(view.entity)} IN ({theirs}) AND {time} IS NOT NULL AND {created} IS NOT NULL
        ), newest_at_once AS (
            SELECT * FROM usable QUALIFY row_number() OVER (PARTITION BY entity, since ORDER BY rank DESC) = 1
        )
        SELECT * EXCLUDE (rank) FROM newest_at_once QUALIFY rank > coalesce(max(rank) OVER (
            PARTITION BY entity ORDER BY since ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), rank - 1)
    """)
    _write_typed(rows.to_arrow_reader(_BATCH), project, features, target)
    nothing = ", ".join(f"NULL AS state{feature.number}" for feature in features)
    connection.execute(f"""
        CREATE OR REPLACE TABLE states AS
        SELECT *, lead(since) OVER (PARTITION BY entity ORDER BY since) AS until, false AS is_empty
        FROM read_parquet({literal(str(target))})
        UNION ALL BY NAME
        SELECT entity, min(since) AS until, {nothing}, true AS is_empty
        FROM read_parquet({literal(str(target))}) GROUP BY entity
    """)


def _write_typed(
    batches: pa.RecordBatchReader, project: Project, features: Sequence[ComparedFeature], target: Path
) -> None:
    """Write rows of a view with the types of the log."""
    columns = {feature.name: names.feature(feature.name) for feature in features}

    def converted(rows: pa.Table) -> pa.Table:
        values = typed(rows, project, columns, "of the feature service")
        named = {f"state{feature.number}": values[feature.name] for feature in features}
        return pa.table({"entity": rows["entity"], "since": rows["since"], **named})

    with pq.ParquetWriter(target, converted(batches.schema.empty_table()).schema) as writer:
        for batch in batches:
            writer.write_table(converted(pa.Table.from_batches([batch])))
