"""Compare a source with the last accepted snapshot, or its newest rows with its earlier ones on a first run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components.data_validation import drift, periods, sample, sampling
from components.data_validation.drift_settings import ComparisonSettings
from components.data_validation.exact import Table
from components.data_validation.finding import Anomaly
from components.data_validation.sample import Sample
from components.data_validation.sampling import SampledColumns
from components.shared.documents.snapshot import TableDescription
from components.shared.project import Project

log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class ComparedTables:
    """The tables of a snapshot and the project that declares them."""

    project: Project
    tables: Mapping[str, TableDescription]
    folder: Path
    """The snapshot, with ``<source>.parquet``."""

    def columns(self, source: str) -> SampledColumns:
        """Return which columns of a source are sampled."""
        declared, types, label = self.project.sources[source], self.tables[source].columns, self.project.label
        left_out = {declared.row_number, declared.time, self.project.event_time, self.project.entity} - {None}
        time = None if declared.has_one_time else declared.time
        is_label_source = source == label.source
        if is_label_source and not declared.has_one_time and types.get(self.project.event_time) == "TIMESTAMP":
            time = self.project.event_time
        if time is None or types.get(time) != "TIMESTAMP":
            time = declared.row_number if declared.row_number in types else None
        is_class = is_label_source and self.project.task != "regression"
        return SampledColumns(
            types=types,
            entity=self.project.entity if self.project.entity in types else None,
            time=time,
            left_out=frozenset(name for name in left_out if name is not None),
            text_columns=frozenset({label.column} if is_class else ()),
            label=label.column if is_label_source else None,
            labelled_until=self._labelled_until() if is_label_source and types.get(time or "") == "TIMESTAMP" else None,
        )

    def _labelled_until(self) -> int | None:
        """Return the time until which all labels are known, in microseconds since 1970: the clock minus their delay."""
        ends = [
            datetime.fromisoformat(table.time_range[1])
            for source, table in self.tables.items()
            if table.time_range is not None and not self.project.sources[source].has_one_time
        ]
        if not ends:
            return None
        clock = max(end if end.tzinfo else end.replace(tzinfo=UTC) for end in ends)
        return (clock - _EPOCH - timedelta(days=self.project.label.delay_days)) // _MICROSECOND


def compare(
    compared: ComparedTables, source: str, table: Table, accepted: Path, out: Path
) -> tuple[list[Anomaly], str]:
    """Store a sample of the source for the next run, and find drift.

    Args:
        compared: All tables.
        source: The one to compare.
        table: Its rows.
        accepted: Folder with the samples of the last accepted snapshot; it may be absent.
        out: Folder for the sample.

    Returns:
        The drift, and one sentence about what was compared with what.
    """
    columns, rows = compared.columns(source), compared.tables[source].rows
    others = {}
    if columns.label is not None and columns.entity is not None and columns.labelled_until is not None:
        others = {
            name: (compared.folder / f"{name}.parquet", compared.columns(name))
            for name in sorted(compared.tables)
            if name != source
        }
    sampled = sampling.draw(table, rows, columns, others)
    sample.write(sampled, out, source)
    whole, reference = sample.parse(sampled), sample.read(accepted, source)
    if reference is None:
        return _within(compared, source, columns, whole)
    since, labelled_since = _times(reference, whole)
    current = whole
    if rows > sample.SAMPLE_ROWS and since is not None and labelled_since is not None:
        current = sample.parse(sampling.draw(table, rows, columns, others, min(since, labelled_since)))
    newer = len(current.after(since))
    if newer < periods.ROWS_MIN:
        return [], f"{newer:,} new rows are too few for a comparison; at least {periods.ROWS_MIN} are needed."
    settings = _settings(compared, source, columns, since, labelled_since, is_within_snapshot=False)
    anomalies = drift.find(settings, reference, current)
    if since is not None:
        return anomalies, f"{newer:,} sampled rows newer than the last accepted snapshot."
    # A run that is repeated on accepted rows must not lose their warnings.
    repeated, within_text = _within(compared, source, columns, whole)
    reported = {(anomaly.column, anomaly.drift.signal) for anomaly in anomalies if anomaly.drift is not None}
    anomalies += [each for each in repeated if each.drift and (each.column, each.drift.signal) not in reported]
    text = f"No row is newer than the last accepted snapshot: {newer:,} sampled rows compared with it."
    return anomalies, f"{text} {within_text}" if columns.is_in_time else text


def _within(compared: ComparedTables, source: str, columns: SampledColumns, whole: Sample) -> tuple[list[Anomaly], str]:
    """Compare the newest eighth of the rows with the earlier ones; row numbers alone say nothing about time."""
    cut = periods.newest_cut(whole.times) if columns.is_in_time and whole.times is not None else None
    if cut is None:
        return (
            [],
            "Nothing to compare with: no accepted sample is stored, and the rows do not differ in time.",
        )
    labelled_cut = cut
    if columns.label is not None:
        times = whole.labelled(columns.label).times
        labelled_cut = (periods.newest_cut(times) if times is not None else None) or cut
    settings = _settings(compared, source, columns, since=cut, labelled_since=labelled_cut, is_within_snapshot=True)
    newest = len(whole.after(cut))
    return drift.find(settings, whole, whole), f"The newest {newest:,} sampled rows against the earlier ones."


def _times(reference: Sample, whole: Sample) -> tuple[int | None, int | None]:
    """Return the newest time of the accepted rows, and of their labels; None if no row is newer: all are compared."""
    since = reference.newest
    if since is None or whole.newest is None or whole.newest <= since:
        return None, None
    return since, since if reference.labelled_until is None else min(since, reference.labelled_until)


def _settings(
    compared: ComparedTables,
    source: str,
    columns: SampledColumns,
    since: int | None,
    labelled_since: int | None,
    is_within_snapshot: bool,
) -> ComparisonSettings:
    positive = compared.project.label.positive
    return ComparisonSettings(
        source=source,
        sources=len(compared.tables),
        own_columns=frozenset(columns.comparable()),
        label=columns.label,
        positive=str(positive).lower() if isinstance(positive, bool) else None if positive is None else str(positive),
        distance_min=compared.project.validation.drift_threshold,
        is_time=columns.is_in_time,
        is_within_snapshot=is_within_snapshot,
        since=since,
        labelled_since=labelled_since,
    )
