"""Validate the logged features of a window against their schema, with TFDV as the step data_validation does.

The findings have no share of the budget of false alarms: a constraint that a person reviewed is violated or not, one
that was only observed on the test rows tolerates exceptions (``feature_schema.py``), and a column is called broken only
where chance leaves hardly another reading (``QualityFinding.is_broken``).
"""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Refuses code in the types of a file, which TFDV's old pyarrow would run while it reads; Beam would import it too late.
import pyarrow_hotfix  # noqa: F401

from components.data_quality import affected, feature_schema
from components.data_quality.feature_schema import FeatureSchema
from components.shared import bundle
from components.shared.documents.data_quality import DataQuality, QualityFinding
from components.shared.documents.monitoring import LogWindow
from components.shared.inference_log.columns import RECEIVED
from components.shared.tfdv import schema, statistics, violations
from components.shared.tfdv.violations import Violation
from components.shared.window_drift import comparable

_log = logging.getLogger(__name__)

_EVALUATION = "evaluation"
_SEED = 7


def validate(bundle_path: str, window: Path, measured: Path) -> DataQuality:
    """Validate the champion's features in the rows of a window, a sample of them if there are many.

    Args:
        bundle_path: The project bundle, with ``feature_repo/schema/<source>.pbtxt`` per source.
        window: The output of the step log_window.
        measured: The champion's evaluation, from the step champion; empty before the first release.

    Returns:
        The findings, those of most rows first; with a reason instead where nothing can be validated.

    Raises:
        InputError: If a reviewed schema is not a schema.
    """
    described, reference = LogWindow.read(window), measured / _EVALUATION / "reference.parquet"
    reason = comparable.why_not(described, reference)
    if reason is not None:
        return DataQuality(rows=described.rows, columns=0, reason=reason)
    project = bundle.project(bundle_path)
    test_rows = _features(reference, project.monitoring.redact)
    rows = _features(window / "rows.parquet", project.monitoring.redact, described.release)
    if rows.num_rows < comparable.ROWS_MIN:
        answered = f"release {described.release} has answered {rows.num_rows} rows of the window"
        reason = f"{answered}, and {comparable.ROWS_MIN} are needed"
        return DataQuality(rows=described.rows, columns=0, reason=reason)
    rows = rows.select([name for name in rows.column_names if name in test_rows.column_names])
    sources = {source: schema.load(bundle_path, source) for source in project.sources}
    expected = FeatureSchema({name: one for name, one in sources.items() if one is not None}, test_rows)
    rows = feature_schema.typed(rows, expected.types)
    computed = statistics.of_batches(rows.to_batches(), {})
    findings = [
        _finding(violation, rows, expected)
        for violation in violations.find(computed, expected.proto)
        if violation.column is not None
    ]
    findings.sort(key=lambda finding: (-(finding.share or 0.0), finding.column))
    _log.info("%d rows, %d columns, %d findings", described.rows, test_rows.num_columns, len(findings))
    return DataQuality(rows=described.rows, columns=test_rows.num_columns, findings=tuple(findings))


def _features(file: Path, redacted: tuple[str, ...], release: str | None = None) -> pa.Table:
    """Return the features of a file, called as the project calls them; of many rows a sample, the same every time.

    Another release than the given one may take other features.
    """
    names = [name for name in pq.read_schema(file).names if name.startswith(RECEIVED)]
    kept = [name for name in names if name.removeprefix(RECEIVED) not in redacted]
    only = None if release is None else pc.field("release") == release
    table = pq.read_table(file, columns=kept, filters=only).rename_columns(
        [name.removeprefix(RECEIVED) for name in kept]
    )
    if table.num_rows > statistics.SAMPLE_ROWS:
        chosen = np.random.default_rng(_SEED).choice(table.num_rows, statistics.SAMPLE_ROWS, replace=False)
        table = table.take(pa.array(np.sort(chosen)))
    return table


def _finding(violation: Violation, rows: pa.Table, expected: FeatureSchema) -> QualityFinding:
    name = str(violation.column)
    column = next(one for one in expected.proto.feature if one.name == name)
    values = rows[name] if name in rows.column_names else None
    share = affected.share(violation.type, values, column, expected.proto)
    source = expected.source(name)
    basis = "the champion's test rows" if source is None else f"the reviewed schema of '{source}'"
    how_many = "" if share is None else f", {share:.1%} of the rows beyond what is allowed"
    sentence = f"'{name}' is not as in {basis}: {violation.summary} ({violation.details}){how_many}"
    return QualityFinding(
        column=name, share=share, rows=rows.num_rows, is_reviewed=source is not None, sentence=sentence
    )
