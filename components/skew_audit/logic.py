"""Replay logged requests through the offline path as of their time, and compare the features.

A model is trained on what the offline path computes, and answers on what requests carry. Where the two differ for the
same entity and moment, its training rows say little about its answers (training-serving skew).
"""

import logging
import tempfile
from pathlib import Path

import duckdb

from components.shared import bundle
from components.shared.documents.skew import FeatureSkew, SkewReport
from components.shared.errors import InputError
from components.shared.inference_log import remote
from components.shared.inference_log.span import Span
from components.shared.project import Project
from components.shared.sql import identifier, literal
from components.skew_audit import causes, comparison, other_rows, pairs
from components.skew_audit import logged as logged_rows
from components.skew_audit import offline as offline_path
from components.skew_audit.causes import FeatureCauses
from components.skew_audit.logged import MEMORY, LoggedRows
from components.skew_audit.offline import OfflinePath
from components.skew_audit.pairs import ComparedFeature

__all__ = ["OFFLINE", "Span", "audit"]

OFFLINE = "offline.parquet"
"""File with the compared rows and their offline values."""
_log = logging.getLogger(__name__)


def audit(bundle_path: str, snapshot: Path, log: str, span: Span, most_rows: int, target: Path) -> SkewReport:
    """Compare the logged features of a window with the offline ones; write ``skew.json`` and ``offline.parquet``.

    ``offline.parquet`` has request_id, row, event_time, release, and the offline value of each compared feature, but
    not the entity.

    Args:
        bundle_path: The project bundle.
        snapshot: Folder with ``<source>.parquet`` and ``snapshot.json``.
        log: The inference log: a folder, or a bucket, which is copied first.
        span: The window of event times.
        most_rows: Compare about so many rows, the same ones every time; 0 compares all.
        target: Folder for the files.

    Raises:
        InputError: If no row of the window can be compared, a bucket cannot be reached, or project file, feature
            repository and tables are not consistent.
    """
    project = bundle.project(bundle_path)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        logged = logged_rows.take(remote.fetch(log, scratch / "log"), project.name, span, most_rows, scratch)
        declared = list(project.features.columns)
        numbers = {name: number for number, name in enumerate(declared) if name in logged.features}
        if not numbers:
            raise InputError(
                f"the log has the features {sorted(logged.features)} and the project {sorted(declared)}; expected some "
                "in common. Choose a window in which this project's model answered, with --start and --end."
            )
        offline, asked = offline_path.opened(bundle_path, project, snapshot, logged.path, scratch)
        path = scratch / "pairs.parquet"
        features = pairs.write(offline, asked.path, project, numbers, path)
        settings: dict[str, str | bool | int | float | list[str]]
        settings = {"temp_directory": str(scratch / "spill"), "memory_limit": MEMORY}
        with duckdb.connect(config=settings) as connection:
            compared = _compare(connection, offline, project, features, path, scratch)
            releases = connection.execute(
                "SELECT release, count(*) FROM classified GROUP BY release ORDER BY release"
            ).fetchall()
            target.mkdir(parents=True, exist_ok=True)
            _write_offline(connection, features, target / OFFLINE)
    report = _report(project, span, logged, asked, compared, dict(releases))
    report.write(target)
    mismatches = sum(feature.mismatches for feature in report.features)
    _log.info("%d rows compared in %d features, %d mismatches", report.compared, len(report.features), mismatches)
    return report


def _compare(
    connection: duckdb.DuckDBPyConnection,
    offline: OfflinePath,
    project: Project,
    features: tuple[ComparedFeature, ...],
    path: Path,
    scratch: Path,
) -> dict[ComparedFeature, FeatureSkew]:
    comparison.classify(connection, path, features)
    features = comparison.without_releases(connection, features)
    comparison.classify(connection, path, features)
    other_rows.find(connection, offline, project, features, scratch)
    named: dict[str, FeatureCauses] = {}
    if comparison.differs(connection, features):
        named = causes.name(connection, offline, project, features, scratch)
    return {feature: _skew(connection, feature, named.get(feature.name)) for feature in features}


def _skew(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature, named: FeatureCauses | None) -> FeatureSkew:
    # A clock that is behind makes rows look stale.
    is_behind = any(cause.name == "time zone" for cause in named.causes) if named else False
    counts = comparison.count(connection, feature, trust_staleness=not is_behind)
    return FeatureSkew(
        feature=feature.name,
        view=feature.view,
        causes=named.causes if named else (),
        examples=named.examples if named else (),
        **counts._asdict(),
    )


def _write_offline(connection: duckdb.DuckDBPyConnection, features: tuple[ComparedFeature, ...], target: Path) -> None:
    values = ", ".join(f"{feature.offline} AS {identifier(feature.name)}" for feature in features)
    connection.execute(
        f'COPY (SELECT request_id, "row", event_time, release, {values} FROM classified ORDER BY n)'
        f" TO {literal(str(target))} (FORMAT parquet, COMPRESSION zstd)"
    )


def _report(
    project: Project,
    span: Span,
    logged: LoggedRows,
    asked: offline_path.AskedRows,
    compared: dict[ComparedFeature, FeatureSkew],
    releases: dict[str, int],
) -> SkewReport:
    declared = project.features.columns
    return SkewReport(
        model=project.name,
        start=span.start and span.start.isoformat(),
        end=span.end and span.end.isoformat(),
        rows=logged.rows,
        not_sampled=logged.not_sampled,
        without_entity=logged.without_entity,
        unknown_entity=asked.unknown_entity,
        after_tables=asked.after_tables,
        from_the_future=logged.from_the_future,
        compared=asked.rows,
        tables_until=asked.tables_until and f"{asked.tables_until.isoformat()}+00:00",
        releases=releases,
        features=tuple(compared.values()),
        not_logged=tuple(name for name in declared if name not in logged.features),
        not_in_project=tuple(name for name in logged.features if name not in declared),
        not_in_release={feature.name: feature.not_in for feature in compared if feature.not_in},
        damaged=logged.damaged,
    )
