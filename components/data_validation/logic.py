"""Check a snapshot against its reviewed schema and the last accepted snapshot."""

import logging
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.data_validation import anomalies, comparison, report
from components.data_validation.backends import open_backend
from components.data_validation.comparison import ComparedTables
from components.data_validation.contract import ValidationBackend
from components.data_validation.exact import Exact, Table, plain_findings
from components.data_validation.finding import Anomaly, rank, with_reactions
from components.shared import bundle
from components.shared.documents.findings import ColumnStatistics, Finding, TableStatistics, ValidationFindings
from components.shared.documents.snapshot import SnapshotDescription, TableDescription
from components.shared.errors import DataBlocked
from components.shared.tfdv import schema

log = logging.getLogger(__name__)
_NAMED = 3


def validate(bundle_path: str, snapshot: Path, accepted: Path, statistics_out: Path, report_out: Path) -> list[Finding]:
    """Write statistics, findings and a report, even if findings block the run.

    Args:
        bundle_path: The project bundle, with ``feature_repo/schema/<source>.pbtxt`` per source.
        snapshot: The snapshot folder that ingestion wrote.
        accepted: ``accepted.json`` and, if a snapshot was accepted before, its ``statistics/`` (what
            this function wrote for it).
        statistics_out: Folder for ``<source>.pb``, ``<source>.sample.parquet``, ``findings.json`` and an inferred
            schema where there is none.
        report_out: Self-contained HTML file.

    Returns:
        All findings that the project file does not ignore, blocking findings first.
    """
    project = bundle.project(bundle_path)
    # First of all, because a library may protect the reading of files.
    backend = open_backend(project.validation.backend)
    tables = SnapshotDescription.read(snapshot).tables
    statistics_out.mkdir(parents=True, exist_ok=True)
    compared = ComparedTables(project, tables, snapshot)
    findings: list[Finding] = []
    comparisons: dict[str, str] = {}
    described: dict[str, TableStatistics] = {}
    for source in sorted(tables):
        source_findings, described[source], comparisons[source] = _check(
            backend, compared, bundle_path, source, accepted / "statistics", statistics_out
        )
        findings += source_findings
        log.info("%s: %d rows, %d findings", source, described[source].rows, len(source_findings))
    findings.sort(key=rank)
    result = ValidationFindings(
        blocked=any(finding.reaction == "block" for finding in findings),
        findings=tuple(findings),
        tables=described,
        comparisons=comparisons,
    )
    result.write(statistics_out)
    report_out.parent.mkdir(parents=True, exist_ok=True)
    report_out.write_text(report.html(project.name, result), encoding="utf-8")
    return findings


def stop_if_blocked(findings: list[Finding]) -> None:
    """Stop the run if a finding blocks.

    Raises:
        DataBlocked: If a finding blocks; the message has the most important reasons.
    """
    blocking = [finding for finding in findings if finding.reaction == "block"]
    if not blocking:
        return
    more = f"; and {len(blocking) - _NAMED} more, see the data validation report" if len(blocking) > _NAMED else ""
    reasons = "; ".join(f"source '{finding.source}': {finding.sentence.rstrip('.')}" for finding in blocking[:_NAMED])
    raise DataBlocked(f"the data failed validation: {reasons}{more}.")


def _check(
    backend: ValidationBackend,
    compared: ComparedTables,
    bundle_path: str,
    source: str,
    accepted: Path,
    statistics_out: Path,
) -> tuple[list[Finding], TableStatistics, str]:
    """Check one table; the text says what its newest rows were compared with."""
    project, path = compared.project, compared.folder / f"{source}.parquet"
    declared = project.sources[source]
    added = {name for name in (declared.row_number, declared.time if declared.constant_time else None) if name}
    types = {name: compared.tables[source].columns[name] for name in pq.read_schema(path).names}
    reviewed = schema.load(bundle_path, source)
    table = Table(path, types)
    exact = table.measure(schema.domains(reviewed) if reviewed else [])
    computed = backend.statistics(table, exact, schema.types(reviewed) if reviewed else {})
    (statistics_out / f"{source}.pb").write_bytes(computed.SerializeToString(deterministic=True))
    deviations: list[Anomaly] = []
    if reviewed is None:
        reviewed = backend.infer(computed)
        (statistics_out / f"{source}.pbtxt").write_text(schema.text(reviewed), encoding="utf-8")
        log.warning("%s has no schema; review the inferred %s.pbtxt among the statistics", source, source)
    deviations += anomalies.find(backend, computed, reviewed, source, _accepted(accepted, source))
    deviations += plain_findings(exact, added, declared.rows_min, declared.rows_max)
    deviations += _unreadable(compared.tables[source])
    deviations += table.duplicates(exact, added)
    for column in project.validation.segment_columns.get(source, ()):
        if column in types:
            deviations += table.segments(exact, column, project.validation.segment_missing_max)
    drift, comparison_text = comparison.compare(compared, source, table, accepted, statistics_out)
    deviations += drift
    return with_reactions(deviations, source, project.validation), _summary(exact, computed), comparison_text


def _unreadable(table: TableDescription) -> list[Anomaly]:
    """Tell what ingestion left out of a table."""
    anomalies = [
        Anomaly(
            column,
            "unreadable",
            f"{count:,} values of '{column}' can't be read by its 'convert' and are missing; expected the declared "
            "format. Correct the values, or the SQL in the project file.",
        )
        for column, count in table.unconverted.items()
    ]
    if table.repeated_headers:
        sentence = f"{table.repeated_headers:,} rows repeat the header and are left out; expected one header. "
        anomalies.append(Anomaly(None, "unreadable", sentence + "Join the files without it."))
    return anomalies


def _summary(exact: Exact, computed: Any) -> TableStatistics:
    """Summarise a table for the report: shares and ranges over all rows, other figures from the statistics."""
    features = {feature.path.step[0]: feature for feature in computed.datasets[0].features}
    columns = []
    for name, column in exact.columns.items():
        numbers = (
            features[name].num_stats
            if column.type in ("BIGINT", "DOUBLE", "BOOLEAN") and column.low is not None
            else None
        )
        text = features[name].string_stats if column.type == "VARCHAR" else None
        columns.append(
            ColumnStatistics(
                name=name,
                type=column.type,
                missing_share=1 - column.present / exact.rows if exact.rows else 0.0,
                mean=numbers.mean if numbers else None,
                std=numbers.std_dev if numbers else None,
                min=None if column.low is None else float(column.low),
                max=None if column.high is None else float(column.high),
                first=column.first.isoformat() if column.first else None,
                last=column.last.isoformat() if column.last else None,
                top=tuple((top_value.value, int(top_value.frequency)) for top_value in text.top_values[:5])
                if text
                else None,
                unique=int(text.unique) if text else None,
            )
        )
    return TableStatistics(rows=exact.rows, columns=tuple(columns))


def _accepted(folder: Path, source: str) -> Any | None:
    """Read the statistics of the last accepted snapshot; None before the first, or for a new source."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    path = folder / f"{source}.pb"
    if not path.is_file():
        return None
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
