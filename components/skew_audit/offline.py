"""The offline path: the project's features of an entity as of a time, computed by Feast as for a training set."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast import FeatureStore, FeatureView

from components.shared import bundle
from components.shared.errors import InputError
from components.shared.features import names, point_in_time, repository, view_files
from components.shared.features.repository import ViewSpec
from components.shared.features.snapshot import clock, connect, quoted, require
from components.shared.inference_log import labeled
from components.shared.inference_log.labeled import interval
from components.shared.project import Project
from components.shared.sql import literal
from components.skew_audit.logged import MEMORY

REACH = timedelta(hours=14)
"""The largest offset of a time zone: times that much later than a request are looked up, too."""
_ROWS_AT_ONCE = 500_000


@dataclass(frozen=True)
class AskedRows:
    """The rows that the offline path can answer, and those that it cannot."""

    path: Path
    """Parquet file with the columns of the logged rows; ``entity`` has the type of the tables."""
    rows: int
    unknown_entity: int
    after_tables: int
    tables_until: datetime | None
    """The newest time of any table (UTC, without zone)."""


class OfflinePath:
    """The feature views of a project, written for Feast; see ``opened``.

    Attributes:
        views: The views with features of the project.
    """

    def __init__(self, project: Project, repo: Path, objects: list[Any], views: Sequence[ViewSpec]) -> None:
        self._project, self._repo, self._objects = project, repo, objects
        self.views = tuple(views)
        with self._in_repo():
            self._store: FeatureStore = repository.open_store(repo)
            names.rename_clashes(objects)
            self._store.apply(objects)

    def rows_of(self, view: ViewSpec) -> Path:
        """Return the file with the rows of a view; see ``components.shared.features.names``."""
        return self._repo / view.path

    def features(self, asked: pd.DataFrame, *, late_rows: bool = False) -> pa.Table:
        """Return the features of entities as of times, in the order of ``asked``, as Feast's types.

        Args:
            asked: ``entity`` and ``event_time`` (UTC, without zone).
            late_rows: Also use rows that became known only after the time.

        Raises:
            InputError: If Feast rejects the repository.
            RuntimeError: If Feast returned fewer rows than were asked for.
        """
        features = {name: names.feature(name) for view in self.views for name in view.features}
        parts = []
        for first in range(0, max(len(asked), 1), _ROWS_AT_ONCE):
            part = asked.iloc[first : first + _ROWS_AT_ONCE]
            examples = pd.DataFrame(
                {
                    names.ROW: range(len(part)),
                    self._project.entity: part["entity"].array,
                    names.TIME: part["event_time"].array,
                }
            )
            with self._in_repo():
                joined = point_in_time.join(self._store, self._project.features.service, examples, late_rows=late_rows)
            parts.append(pa.table({name: joined[column] for name, column in features.items()}))
        return pa.concat_tables(parts)

    @contextlib.contextmanager
    def without_time_to_live(self) -> Iterator[None]:
        """Ignore the time to live of every view, as an online store does."""
        views = [item for item in self._objects if isinstance(item, FeatureView)]
        kept = [view.ttl for view in views]
        try:
            for view in views:
                view.ttl = timedelta(0)
            self._apply()
            yield
        finally:
            for view, ttl in zip(views, kept, strict=True):
                view.ttl = ttl
            self._apply()

    def _apply(self) -> None:
        with self._in_repo():
            self._store.apply(self._objects)

    def _in_repo(self) -> contextlib.chdir[Path]:
        # Feast resolves the paths of file sources against the working directory.
        return contextlib.chdir(self._repo)


def opened(
    bundle_path: str, project: Project, snapshot: Path, logged: Path, scratch: Path
) -> tuple[OfflinePath, AskedRows]:
    """Compute the feature views of a snapshot for the entities of some logged rows.

    Args:
        bundle_path: The project bundle.
        project: The same, read.
        snapshot: Folder with ``<source>.parquet`` and ``snapshot.json``.
        logged: See ``LoggedRows.path``.
        scratch: A folder for the feature repository and the rows.

    Raises:
        InputError: If project file, feature repository and snapshot are not consistent, or no logged row can be
            compared.
    """
    repo, until = bundle.extract(bundle_path, scratch), clock(snapshot)
    objects = repository.load(repo)
    views = repository.views(objects, project)
    with connect(snapshot, scratch / "spill") as connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        key = _type_of_entity(connection, project)
        connection.execute(
            f"CREATE VIEW _logged AS SELECT * REPLACE (TRY_CAST(entity AS {key}) AS entity)"
            f" FROM read_parquet({literal(str(logged))})"
        )
        # What the views are cut to: everything that a shifted time can reach.
        connection.execute(
            "CREATE TABLE _examples AS SELECT DISTINCT entity,"
            f" (SELECT max(event_time) + {interval(REACH)} FROM _logged) AS event_time"
            " FROM _logged WHERE entity IS NOT NULL"
        )
        for view in views:
            view_files.write_view(connection, repo, view)
        asked = _asked(connection, project, views, repo, until, scratch / "asked.parquet")
    return OfflinePath(project, repo, objects, views), asked


def _type_of_entity(connection: duckdb.DuckDBPyConnection, project: Project) -> str:
    source = project.label.source
    kinds = {row[0]: str(row[1]) for row in connection.execute(f"DESCRIBE {quoted(source)}").fetchall()}
    require(project.entity, list(kinds), f"source {source!r}", "entity")
    return kinds[project.entity]


def _asked(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    views: Sequence[ViewSpec],
    repo: Path,
    until: datetime | None,
    target: Path,
) -> AskedRows:
    """Write the rows whose entity a view has and whose time the tables reach."""
    files = [literal(str(repo / view.path)) for view in views]
    existing = " UNION ".join(f"SELECT {quoted(project.entity)} AS entity FROM read_parquet({file})" for file in files)
    connection.execute(f"CREATE TABLE _existing AS {existing}")
    is_in_view = "entity IN (SELECT entity FROM _existing)"
    is_reached = "true" if until is None else f"event_time <= {literal(until.isoformat())}::TIMESTAMP"
    connection.execute(
        f"COPY (SELECT * FROM _logged WHERE {is_in_view} AND {is_reached} ORDER BY n)"
        f" TO {literal(str(target))} (FORMAT parquet)"
    )
    rows, unknown, newest = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE ({is_in_view}) IS NOT TRUE), max(event_time) FROM _logged"
    ).fetchall()[0]
    after = labeled.number(connection, f"SELECT count(*) FROM _logged WHERE {is_in_view} AND NOT {is_reached}")
    if unknown == rows:
        example = connection.execute("SELECT entity FROM _examples LIMIT 1").fetchall()
        shown = f" (such as {example[0][0]!r})" if example else ""
        raise InputError(
            f"no feature view has any entity of the {rows:,} logged rows{shown}; expected values of "
            f"{project.entity!r}. Send the same identifiers as 'entity' as the tables have, or load newer tables."
        )
    if unknown + after == rows:
        raise InputError(
            f"the logged rows are about moments up to {newest}, and the tables end at {until}, so the offline path "
            "knows nothing of them yet; expected tables that are as new. Load newer tables, or choose an earlier "
            "window with --end."
        )
    return AskedRows(target, rows - unknown - after, unknown, after, until)
