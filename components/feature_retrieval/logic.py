"""Build the training set: each labelled example with the features that were known at its event time."""

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
from feast import FeatureStore

from components.feature_retrieval import examples, filled
from components.shared import bundle, files
from components.shared.documents.training_set import TrainingSetSummary
from components.shared.features import names, point_in_time, repository, view_files
from components.shared.features.asof_store import AsofOfflineStoreConfig
from components.shared.features.snapshot import clock, connect, quoted
from components.shared.project import Project
from components.shared.row_groups import RowGroupWriter

logger = logging.getLogger(__name__)
JOINED_ROWS = 1_000_000
"""Most examples that our own offline store joins at a time; other stores get all of them, and bound their memory."""


class JoinedRows(NamedTuple):
    """What was written: the number of rows, the newest event time, and the missing values of each feature."""

    rows: int
    newest: datetime
    missing: dict[str, int]


def retrieve(bundle_path: str, snapshot: Path, target: Path, which: str = "labelled") -> TrainingSetSummary:
    """Join examples of a snapshot with the project's feature service, a part of them at a time.

    Args:
        bundle_path: The project bundle.
        snapshot: Folder with ``<source>.parquet`` and ``snapshot.json``.
        target: Folder for ``rows.parquet``, ``summary.json`` and ``feature_views.json``.
        which: "labelled" rows, or "newest": each entity at the run's clock, without a label.

    Returns:
        The summary: number of rows, rows left out by reason, the run's clock, and missing share per feature.

    Raises:
        InputError: If the labels, the project file and the feature repository are inconsistent, or a feature is missing
            in every row although its source is not.
    """
    project = bundle.project(bundle_path)
    as_of = clock(snapshot)
    with tempfile.TemporaryDirectory() as folder, connect(snapshot, Path(folder) / "spill") as connection:
        repo = bundle.extract(bundle_path, Path(folder))
        select = examples.select_newest if which == "newest" else examples.select
        counts = select(connection, project, as_of)
        objects = repository.load(repo)
        views, facts = repository.views(objects, project), repository.facts(objects, project)
        ties = {view.name: view_files.write_view(connection, repo, view) for view in views}
        # Feast resolves the paths of file sources against the working directory.
        with contextlib.chdir(repo):
            store = repository.open_store(repo)
            names.rename_clashes(objects)
            store.apply(objects)
            with files.replacing(target / "rows.parquet") as partial:
                tables = join(store, connection, project, [name for view in views for name in view.features])
                joined = write(tables, project, partial)
                filled.check(connection, project, repo, views, joined.rows, joined.missing)
    summary = TrainingSetSummary(
        rows=joined.rows,
        left_out_young=counts.left_out_young,
        left_out_missing=counts.left_out_missing,
        left_out_decided=counts.left_out_decided,
        duplicates=counts.duplicates,
        ties=ties,
        as_of=(as_of or joined.newest).isoformat(),
        features={name: count / joined.rows for name, count in joined.missing.items()},
    )
    summary.write(target)
    facts.write(target)
    logger.info("%d examples, %d left out because their label is not yet due", joined.rows, counts.left_out_young)
    return summary


def join(
    store: FeatureStore, connection: duckdb.DuckDBPyConnection, project: Project, features: list[str]
) -> Iterator[pa.Table]:
    """Join the examples with the feature service, point in time correct, and add the labels.

    A feature row that arrived late is used only from its creation time on.

    Yields:
        The rows in the order of ``_examples``, in tables of the same columns.

    Raises:
        InputError: If Feast rejects the repository.
    """
    [[count]] = connection.execute("SELECT count(*) FROM _examples").fetchall()
    at_a_time = JOINED_ROWS if isinstance(store.config.offline_store, AsofOfflineStoreConfig) else count
    for first in range(0, count, at_a_time):
        some = f"FROM _examples WHERE row >= {first} AND row < {first + at_a_time} ORDER BY row"
        entities = connection.sql(
            f"SELECT row AS {names.ROW}, entity AS {quoted(project.entity)}, event_time AS {names.TIME} {some}"
        ).df()
        joined = point_in_time.join(store, project.features.service, entities)
        labels = connection.sql(f"SELECT event_time, label {some}").to_arrow_table()
        columns = {
            project.entity: joined[project.entity],
            project.event_time: labels["event_time"],
            project.label.column: labels["label"],
        }
        columns |= {name: joined[names.feature(name)] for name in features}
        yield pa.table({name: column.combine_chunks() for name, column in columns.items()})


def write(tables: Iterable[pa.Table], project: Project, path: Path) -> JoinedRows:
    """Write joined rows to a parquet file, and count the missing values of each feature."""
    rows, newest, missing = 0, datetime.min, dict[str, int]()
    with contextlib.ExitStack() as stack:
        writer: RowGroupWriter | None = None
        for table in tables:
            if writer is None:
                writer = stack.enter_context(RowGroupWriter(path, table.schema))
            writer.write(table)
            rows += table.num_rows
            newest = table[project.event_time][-1].as_py()
            for name in table.column_names[3:]:
                missing[name] = missing.get(name, 0) + table[name].null_count
    return JoinedRows(rows, newest, missing)
