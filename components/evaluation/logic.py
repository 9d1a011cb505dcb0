"""Measure candidate, rule of thumb, plain model and champion on the same rows, which none of them has seen."""

import logging
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.evaluation import baselines, coverage, exclusion, old_rows, reference, report, single_column
from components.evaluation.cost import cost
from components.evaluation.incumbent import Incumbent, incumbent
from components.evaluation.judged import Judged, Scorecards
from components.shared.documents.evaluation import ComparedChampion, Descriptions, EvaluatedRows, EvaluationReport
from components.shared.errors import InputError
from components.shared.inputs.column_file import ColumnFile, Columns
from components.shared.inputs.rows import read_inputs, texts
from components.shared.measures import bootstrap, labels, shapes
from components.shared.measures.metrics import scorecard
from components.shared.package.table_model import TableModel
from components.shared.project import Project

_log = logging.getLogger(__name__)

PREDICTIONS = "predictions.parquet"
REFERENCE = "reference.parquet"


class MetricSink(Protocol):
    """What ``kfp.dsl.Metrics`` offers; the logic itself needs no kfp."""

    def log_metric(self, metric: str, value: float) -> None:
        """Keep one number."""


class CurveSink(Protocol):
    """What ``kfp.dsl.ClassificationMetrics`` offers."""

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        """Keep a ROC curve."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Keep a confusion matrix, rows being true classes."""


def evaluate(
    project: Project, splits: Path, model: Path, plain: Path, champion: Path, seed: int, out: Path
) -> EvaluationReport:
    """Measure everything that the gate, the model card and the report speak of.

    Args:
        project: What is predicted, and how it is to be measured.
        splits: ``train.parquet``, ``validation.parquet`` and ``test.parquet``; the first two teach the rule of thumb.
        model: The candidate's model package.
        plain: The plain model's package; the same model if it is the candidate.
        champion: ``champion.json`` and, after a first release, the champion's package and its ``old_rows.parquet``.
        seed: Of the bootstrap, and of noise and shuffles.
        out: Receives ``evaluation.json``, ``predictions.parquet``, ``reference.parquet`` and ``old_rows.parquet``.

    Returns:
        The content of ``evaluation.json``.

    Raises:
        InputError: If the test rows cannot judge a model, or a slice or group names no column.
    """
    package = TableModel.open(model)
    known_classes = list(package.facts.classes or ())
    test = pq.read_table(splits / "test.parquet")
    former = incumbent(project, champion, test, known_classes)
    rows = _unseen(project, model, splits, test, former)
    del test
    learned = {part: splits / f"{part}.parquet" for part in ("train", "validation")}
    tables: dict[str, Columns] = {part: ColumnFile(path) for part, path in learned.items()} | {"test": rows.table}
    label = project.label.column
    classes = labels.all_classes(rows.table, label, project.task, known_classes)
    truth = labels.labels(rows.table, label, classes)
    labels.check_judgeable(truth, label, classes)
    inputs = package.inputs(rows.table)
    names = (list(package.facts.numeric), list(package.facts.categorical))
    train, validation = (
        baselines.Learnable(read_inputs(path, *names), labels.labels(tables[part], label, classes))
        for part, path in learned.items()
    )
    rule = baselines.rule_of_thumb(
        train, validation, inputs, names=names, task=project.task, classes=classes, value=project.value
    )
    contenders = {"rule": rule, **_contenders(package, TableModel.open(plain), rows.table, former)}
    scorecards = _scorecards(project, truth, contenders, len(classes))
    clusters, unit = bootstrap.clusters_of(texts(rows.table, project.entity))
    judged = Judged(
        project, package, classes, rows.table, tables["train"], train.inputs, inputs, truth, scorecards, clusters, seed
    )
    resamples = report.Resamples(judged)
    oldest_trained = exclusion.oldest(exclusion.seen(model))
    out.mkdir(parents=True, exist_ok=True)
    measured = EvaluationReport(
        task=project.task,
        rows=EvaluatedRows(
            test=rows.table.num_rows,
            excluded_seen=rows.by_split + rows.by_champion,
            excluded_by_split=rows.by_split,
            excluded_by_champion=rows.by_champion,
            by_class=_by_class(truth, classes),
            parts=_parts(tables, label, classes),
            oldest_trained=oldest_trained,
            champion_oldest_trained=former.oldest_trained,
        ),
        resampled=unit,
        resamples=project.evaluation.resamples,
        confidence=project.evaluation.confidence,
        family=package.facts.family,
        primary=judged.primary,
        higher_is_better=judged.higher_is_better,
        metrics=resamples.metrics(),
        directions=resamples.directions(),
        baselines=report.baselines(judged),
        comparisons=resamples.comparisons(),
        probabilities=resamples.probabilities(),
        decisions=resamples.decisions(),
        descriptions=Descriptions(rule=contenders["rule"].description, plain=contenders["plain"].description),
        champion=ComparedChampion(version=former.version, compared=former.package is not None, reason=former.reason),
        threshold=contenders["candidate"].threshold,
        calibration=report.calibration_of(judged),
        confusion=report.confusion(judged),
        roc=report.roc(judged),
        ranking=report.ranking(judged),
        scores=report.scores(judged),
        fit=report.fit(judged),
        coverage=coverage.coverage(judged),
        distributions=shapes.column_distributions(tables, *names),
        slices=resamples.slices(),
        worst=report.worst(judged),
        single_column=single_column.strongest(
            train,
            baselines.Learnable(inputs, truth),
            scorecards.candidate.score,
            task=project.task,
            classes=len(classes),
            names=names,
        ),
        fairness=resamples.fairness(),
        robustness=report.perturbation_losses(judged),
        value=report.value(judged),
        old_rows=old_rows.measure(judged, champion, oldest_trained, out),
        cost=cost(package),
    )
    measured.write(out)
    pq.write_table(report.predictions(judged), out / PREDICTIONS)
    pq.write_table(reference.reference(judged), out / REFERENCE, compression="zstd")
    primary = measured.primary_metric
    _log.info(
        "%s %s (%s to %s) on %d test rows", measured.primary, primary.value, primary.low, primary.high, len(truth)
    )
    return measured


def log_metrics(measured: EvaluationReport, metrics: MetricSink) -> None:
    """Put every defined metric, its bounds, and the costs on a KFP artifact."""
    for name, metric in measured.metrics.items():
        for suffix, number in (("", metric.value), ("_low", metric.low), ("_high", metric.high)):
            if number is not None:
                metrics.log_metric(name + suffix, number)
    for name, amount in measured.cost:
        metrics.log_metric(name, amount)


def log_curves(measured: EvaluationReport, curves: CurveSink) -> None:
    """Put ROC curve and confusion matrix, where the task has them, on a KFP artifact."""
    if measured.roc is not None:
        curves.log_roc_curve(list(measured.roc.fpr), list(measured.roc.tpr), list(measured.roc.thresholds))
    if measured.confusion is not None:
        matrix = [list(row) for row in measured.confusion.matrix]
        curves.log_confusion_matrix(list(measured.confusion.labels), matrix)


def _unseen(project: Project, model: Path, splits: Path, test: pa.Table, former: Incumbent) -> exclusion.Judges:
    entity, time = project.entity, project.event_time
    parts = (splits / f"{part}.parquet" for part in ("train", "validation"))
    seen = [*(exclusion.SeenRows(path, entity, time) for path in parts), exclusion.seen(model)]
    rows = exclusion.judges(test, entity, time, seen_by_split=seen, seen_by_champion=former.seen)
    if rows.table.num_rows == 0 and test.num_rows:
        raise InputError(
            f"all {test.num_rows} test rows were seen in training, {rows.by_split} by this model and "
            f"{rows.by_champion} by champion version {former.version}; expected unseen test rows. "
            "Add newer rows, or split by hash or time, which keep the test rows of different runs unseen."
        )
    return rows


def _by_class(truth: NDArray[Any], classes: list[str]) -> dict[str, int]:
    return {name: int((truth == number).sum()) for number, name in enumerate(classes)}


def _parts(tables: dict[str, Columns], label: str, classes: list[str]) -> dict[str, dict[str, int]]:
    """Count the rows of each class in each part; nothing for a regression."""
    if not classes:
        return {}
    return {part: _by_class(labels.labels(table, label, classes), classes) for part, table in tables.items()}


def _contenders(
    package: TableModel, plain: TableModel, test: pa.Table, former: Incumbent
) -> dict[str, baselines.Contender]:
    """Score the test rows with every packaged model."""
    packages = {"candidate": package, "plain": plain}
    if former.package is not None:
        packages["champion"] = former.package
    return {
        name: baselines.Contender(model.score(model.inputs(test)), model.facts.threshold, model.facts.description)
        for name, model in packages.items()
    }


def _scorecards(
    project: Project, truth: NDArray[Any], contenders: dict[str, baselines.Contender], classes: int
) -> Scorecards:
    """Pair each model's scores with the truth."""
    answered = {
        name: scorecard(
            project.task,
            truth,
            labels.widen(contender.score, classes),
            contender.threshold,
            project.evaluation.primary,
        )
        for name, contender in contenders.items()
    }
    return Scorecards(answered["candidate"], answered["rule"], answered["plain"], answered.get("champion"))
