"""The fixed set of old rows: chosen once, handed on from champion to champion, and answered by every candidate.

A model that is retrained on new rows, or continued on them, can forget what was true of older ones, and no test row of
today tells. The rows are test rows of the first release, without entity and time, so that forgetting a person leaves
them alone. What they are is in the file itself; a copy of it has the same hash.
"""

import logging
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.evaluation import aspects, exclusion
from components.evaluation.judged import Judged
from components.shared import files
from components.shared.documents.evaluation import OldRows
from components.shared.errors import InputError
from components.shared.measures import labels
from components.shared.measures.metrics import Scorecard, scorecard

ROWS_MAX = 1000
_FIRST_LOSS, _NEWEST = b"first_loss", b"newest"

_log = logging.getLogger(__name__)


def measure(judged: Judged, champion: Path, oldest_trained: str | None, out: Path) -> OldRows:
    """Answer the old rows, and write them beside the evaluation; without any, choose them among the test rows.

    They are chosen again where they say nothing any more: the project has other inputs or another label, or it dates a
    change (``split.since``) after them, and the candidate has learned only from rows after that.

    Args:
        judged: The test rows and the candidate.
        champion: The champion step's output, which may hold the rows.
        oldest_trained: Event time of the oldest row that the candidate has learned from, ISO 8601.
        out: Folder that receives them.
    """
    handed_on, target = champion / OldRows.FILE, out / OldRows.FILE
    reason = _obsolete(judged, handed_on, oldest_trained) if handed_on.is_file() else "no release before it had any"
    if reason is None:
        shutil.copyfile(handed_on, target)
    else:
        pq.write_table(_chosen(judged), target)
        _log.info("chose the old rows, because %s", reason)
    table = pq.read_table(target)
    metric, loss = _loss(_answers(judged, table))
    written = table.schema.metadata
    return OldRows(
        rows=table.num_rows,
        content_hash=files.sha256(target),
        newest=written[_NEWEST].decode(),
        metric=metric,
        loss=loss,
        first_loss=float(written[_FIRST_LOSS]),
        chosen_because=reason,
    )


def _obsolete(judged: Judged, path: Path, oldest_trained: str | None) -> str | None:
    """Return why rows that were chosen earlier can judge nothing any more."""
    table, project = pq.read_table(path), judged.project
    absent = sorted({*project.features.columns, project.label.column} - set(table.column_names))
    if absent:
        return f"the former ones lack {absent}"
    try:
        _answers(judged, table)
    except InputError as mismatch:
        return f"the former ones do not fit the model any more: {mismatch}"
    since, newest = project.split.since, datetime.fromisoformat(table.schema.metadata[_NEWEST].decode())
    if since is None or oldest_trained is None or not newest < since <= datetime.fromisoformat(oldest_trained):
        return None
    return f"the former ones are from before {since.isoformat()}, since when the project has changed"


def _chosen(judged: Judged) -> pa.Table:
    test, project = judged.test, judged.project
    count = min(ROWS_MAX, test.num_rows)
    numbers = np.sort(np.random.default_rng(judged.seed).choice(test.num_rows, count, replace=False))
    _, loss = _loss(judged.scorecards.candidate.subset(numbers))
    newest = exclusion.newest(test.take(pa.array(numbers)), project.event_time)
    assert newest is not None, "an evaluation without test rows has ended before"
    columns = [*project.features.columns, project.label.column]
    rows = test.select(columns).take(pa.array(numbers)).combine_chunks()
    return rows.replace_schema_metadata({_FIRST_LOSS: repr(loss).encode(), _NEWEST: newest.encode()})


def _answers(judged: Judged, table: pa.Table) -> Scorecard:
    project, package = judged.project, judged.package
    classes = labels.all_classes(table, project.label.column, project.task, judged.classes)
    score = labels.widen(package.score(package.inputs(table)), len(classes))
    truth = labels.labels(table, project.label.column, classes)
    return scorecard(project.task, truth, score, package.facts.threshold, project.evaluation.primary)


def _loss(answers: Scorecard) -> tuple[str, float]:
    metric, statistic = aspects.probabilities(answers)
    return metric, float(statistic(np.ones((1, len(answers.truth))))[0])
