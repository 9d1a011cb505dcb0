"""Find logged rows that have the values of another row of a feature view than the offline path gives.

A feature view is delivered row by row, so all features of a view that were logged must be those of one other row of the
same entity:

- stale: of an earlier row, which a newer one had replaced when the request came; the newest was not materialized yet.
  The state before an entity's first row, in which everything is missing, counts as an earlier one for
  ``STALE_AFTER_US`` only: a store that is empty for longer is broken. The lag is the time for which a newer row had
  been available. A lag of more than ``STALE_AFTER_US`` is a mismatch, whose cause is staleness.
- late: of a row from before the request that became known only after it, by the view's created timestamp.

A view without a created timestamp does not say when a row became known; there, a row that arrived late looks as if it
had not been materialized.
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
    """Name the column of ``other`` with the lag of a view, in microseconds."""
    return identifier(f"lag of {view}")


def late_column(view: str) -> str:
    """Name the column of ``other`` that is true where a row of a view became known only after the request."""
    return identifier(f"late row of {view}")


def find(
    connection: duckdb.DuckDBPyConnection,
    offline: OfflinePath,
    project: Project,
    features: Sequence[ComparedFeature],
    scratch: Path,
) -> None:
    """Make the table ``other``: n, and for each view its lag and whether the row is late, null where it is neither.

    Args:
        connection: A connection with ``classified``.
        offline: Has the rows of the views.
        project: Says the type of each feature.
        features: What is compared.
        scratch: A folder for files.
    """
    views = [view for view in offline.views if any(feature.view == view.name for feature in features)]
    tables, columns = [], []
    for number, view in enumerate(views):
        theirs = [feature for feature in features if feature.view == view.name]
        _unequal(connection, theirs)
        _write_rows(connection, offline, project, view, theirs, scratch / f"view{number}.parquet")
        equal = " AND ".join(
            f"({_is_skipped(feature)} OR {feature.same(f'r.{feature.logged}', f's.value{feature.number}')})"
            for feature in theirs
        )
        lag = "epoch_us(r.event_time) - epoch_us(s.until)"
        connection.execute(f"""
            CREATE OR REPLACE TABLE stale{number} AS
            SELECT r.n, min({lag}) AS lag FROM unequal r JOIN states s ON r.entity = s.entity
            WHERE s.until <= r.event_time AND (NOT s.is_empty OR {lag} <= {STALE_AFTER_US}) AND {equal}
            GROUP BY r.n
        """)
        connection.execute(f"""
            CREATE OR REPLACE TABLE late{number} AS
            SELECT DISTINCT r.n FROM unequal r JOIN rows_of_view s ON r.entity = s.entity
            WHERE s.moment <= r.event_time AND s.since > r.event_time AND {equal}
        """)
        tables += [
            f"SELECT n, lag AS lag{number} FROM stale{number}",
            f"SELECT n, true AS late{number} FROM late{number}",
        ]
        columns += [
            f"max(lag{number}) AS {lag_column(view.name)}",
            f"bool_or(late{number}) AS {late_column(view.name)}",
        ]
    connection.execute(
        f"CREATE OR REPLACE TABLE other AS SELECT n, {', '.join(columns)} FROM ({' UNION ALL BY NAME '.join(tables)})"
        " GROUP BY n"
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


def _write_rows(
    connection: duckdb.DuckDBPyConnection,
    offline: OfflinePath,
    project: Project,
    view: ViewSpec,
    features: Sequence[ComparedFeature],
    target: Path,
) -> None:
    """Make the view ``rows_of_view`` of the rows of the entities in question, and the table ``states``.

    ``states`` has what was the newest row of an entity at some time, with ``until``, when a newer one was usable. A row
    that becomes usable when a later one already is was never the newest (see ``asof_store``).
    """
    time = identifier(names.time(view.time))
    created = identifier(names.time(view.created)) if view.created else time
    columns = ", ".join(identifier(names.feature(feature.name)) for feature in features)
    rows = connection.sql(f"""
        SELECT {identifier(view.entity)} AS entity, {time} AS moment, greatest({time}, {created}) AS since,
               epoch_us({created}) AS created_us, {columns}
        FROM read_parquet({literal(str(offline.rows_of(view)))})
        WHERE {identifier(view.entity)} IN (SELECT entity FROM unequal) AND {time} IS NOT NULL AND {created} IS NOT NULL
    """)
    _write_typed(rows.to_arrow_reader(_BATCH), project, features, target)
    connection.execute(
        "CREATE OR REPLACE VIEW rows_of_view AS SELECT *, epoch_us(moment)::HUGEINT * 18446744073709551616 + created_us"
        f" AS rank FROM read_parquet({literal(str(target))})"
    )
    nothing = ", ".join(f"NULL AS value{feature.number}" for feature in features)
    connection.execute(f"""
        CREATE OR REPLACE TABLE states AS
        WITH newest_at_once AS (
            SELECT * FROM rows_of_view QUALIFY row_number() OVER (PARTITION BY entity, since ORDER BY rank DESC) = 1
        ), newest AS (
            SELECT * EXCLUDE (rank) FROM newest_at_once QUALIFY rank > coalesce(max(rank) OVER (
                PARTITION BY entity ORDER BY since ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), rank - 1)
        )
        SELECT *, lead(since) OVER (PARTITION BY entity ORDER BY since) AS until, false AS is_empty FROM newest
        UNION ALL BY NAME
        SELECT entity, min(since) AS until, {nothing}, true AS is_empty FROM newest GROUP BY entity
    """)


def _write_typed(
    batches: pa.RecordBatchReader, project: Project, features: Sequence[ComparedFeature], target: Path
) -> None:
    """Write rows of a view with the types of the log."""
    columns = {feature.name: names.feature(feature.name) for feature in features}

    def converted(rows: pa.Table) -> pa.Table:
        values = typed(rows, project, columns, "of the feature service")
        named = {f"value{feature.number}": values[feature.name] for feature in features}
        return pa.table({name: rows[name] for name in ("entity", "moment", "since", "created_us")} | named)

    with pq.ParquetWriter(target, converted(batches.schema.empty_table()).schema) as writer:
        for batch in batches:
            writer.write_table(converted(pa.Table.from_batches([batch])))
