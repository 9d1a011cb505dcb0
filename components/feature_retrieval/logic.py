"""Build the training set: each labelled example with the features that were known at its event time."""

import contextlib
import logging
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore

from components.feature_retrieval import examples, filled
from components.shared import bundle
from components.shared.documents.training_set import TrainingSetSummary
from components.shared.features import names, point_in_time, repository, view_files
from components.shared.features.snapshot import clock, connect, quoted
from components.shared.project import Project

logger = logging.getLogger(__name__)


def retrieve(bundle_path: str, snapshot: Path, target: Path, which: str = "labelled") -> TrainingSetSummary:
    """Join examples of a snapshot with the project's feature service.

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
            rows = join(store, connection, project, [name for view in views for name in view.features])
        filled.check(connection, project, repo, views, rows)
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, target / "rows.parquet", compression="zstd")
    newest = as_of or rows[project.event_time].to_pylist()[-1]
    summary = TrainingSetSummary(
        rows=len(rows),
        left_out_young=counts.left_out_young,
        left_out_missing=counts.left_out_missing,
        left_out_decided=counts.left_out_decided,
        duplicates=counts.duplicates,
        ties=ties,
        as_of=newest.isoformat(),
        features={name: rows[name].null_count / len(rows) for name in rows.column_names[3:]},
    )
    summary.write(target)
    facts.write(target)
    logger.info("%d examples, %d left out because their label is not yet due", len(rows), counts.left_out_young)
    return summary


def join(store: FeatureStore, connection: duckdb.DuckDBPyConnection, project: Project, features: list[str]) -> pa.Table:
    """Join the examples with the feature service, point in time correct, and add the labels.

    A feature row that arrived late is used only from its creation time on. The result has the order of ``_examples``.

    Raises:
        InputError: If Feast rejects the repository.
    """
    entities = connection.sql(
        f"SELECT row AS {names.ROW}, entity AS {quoted(project.entity)}, event_time AS {names.TIME}"
        " FROM _examples ORDER BY row"
    ).df()
    joined = point_in_time.join(store, project.features.service, entities)
    labels = connection.sql("SELECT row, event_time, label FROM _examples ORDER BY row").to_arrow_table()
    columns = {
        project.entity: joined[project.entity],
        project.event_time: labels["event_time"],
        project.label.column: labels["label"],
    }
    columns |= {name: joined[names.feature(name)] for name in features}
    return pa.table({name: column.combine_chunks() for name, column in columns.items()})
