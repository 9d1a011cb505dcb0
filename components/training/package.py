"""Write the model package: the folder that is registered, verified and served."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared import files, row_groups
from components.shared.documents.feature_views import FeatureViews
from components.shared.documents.model_facts import (
    ConformalScores,
    FeatureFacts,
    LearnedRows,
    ModelFacts,
    RequestLimits,
)
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.package_reference import REFERENCE_ROWS, PackageReference
from components.shared.documents.package_sample import SAMPLE_ROWS, PackageSample, SampleRow
from components.shared.documents.preprocessing import PackagePreprocessing
from components.shared.documents.training_history import TrainingHistory
from components.shared.inputs import row_keys, rows
from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.learning.onnx_graph import graph
from components.shared.project import Project
from components.shared.row_groups import RowGroupWriter
from components.training import parity
from components.training.families.family import FittedModel, Learned
from components.training.families.start import Start

_MODEL = "model"
"""Name of the file with the weights, without its ending."""


@dataclass(frozen=True)
class Trained:
    """Everything that a package tells about a model."""

    project: Project
    seed: int
    fitted: FittedModel
    target: LabelEncoding
    threshold: float | None
    losses: dict[str, float]
    """Validation loss of every family that was fitted."""
    conformal: ConformalScores
    start: Start | None = None
    """The champion whose models were continued; what it has learned from, this model has, too."""

    def answer(self, inputs: rows.Inputs) -> NDArray[np.float32]:
        """Return the scores of raw inputs."""
        return self.target.scores(self.fitted.learned.logits(inputs)).astype(np.float32)


def weights_hash(encoding: Encoding, learned: Learned) -> str:
    """Hash all that was learned: preprocessing and model."""
    return hashlib.sha256(repr(encoding).encode() + learned.content()).hexdigest()


def write(trained: Trained, splits: Path, sample: rows.Inputs, out: Path) -> ModelFacts:
    """Write all files of the package, the manifest last.

    Args:
        trained: The model and how it was trained.
        splits: The folder that it was trained from; gives the sample and the list of rows that were seen.
        sample: Rows on which the export must answer like the model.
        out: The package's folder; created.

    Returns:
        The facts about the model.
    """
    out.mkdir(parents=True, exist_ok=True)
    trained.fitted.learned.save(out, _MODEL)
    PackagePreprocessing(
        label_mean=trained.target.mean,
        label_scale=trained.target.scale,
        members=trained.fitted.learned.preprocessing(trained.fitted.family, _MODEL),
    ).write(out)
    onnx.save(graph(trained.fitted.encoding, trained.target, trained.fitted.learned.nodes), out / "model.onnx")
    same = parity.check(trained.answer, out / "model.onnx", sample, parity.tolerance(trained.target))
    train, validation = (splits / f"{part}.parquet" for part in ("train", "validation"))
    counts = [pq.read_metadata(path).num_rows for path in (train, validation)]
    facts = _facts(trained, LearnedRows(train=counts[0], validation=counts[1]))
    facts.write(out)
    _sample(trained, validation).write(out)
    _reference(trained, train, counts[0]).write(out)
    _write_seen(trained, (train, validation), out / PackageManifest.SEEN)
    progress = trained.fitted.progress
    TrainingHistory(
        history=tuple(progress.history),
        best_epoch=progress.best_epoch,
        best_loss=progress.best_loss,
        duration_s=round(progress.duration_s, 3),
        parity=same,
        families=dict(trained.losses),
    ).write(out)
    FeatureViews.hand_on(splits, out)
    names = sorted(path.name for path in out.iterdir() if path.name != PackageManifest.FILE)
    PackageManifest(files={name: files.sha256(out / name) for name in names}).write(out)
    return facts


def _facts(trained: Trained, row_counts: LearnedRows) -> ModelFacts:
    project, fitted, target = trained.project, trained.fitted, trained.target
    encoding = fitted.encoding
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    return ModelFacts(
        name=project.name,
        task=project.task,
        label=project.label.column,
        entity=project.entity,
        event_time=project.event_time,
        classes=target.classes,
        positive=target.classes[1] if target.task == "binary" and target.classes else None,
        threshold=trained.threshold,
        features=tuple(
            FeatureFacts(name=name, type=feature.type, missing=feature.missing)
            for name, feature in project.features.columns.items()
        ),
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        vocabulary={name: tuple(words) for name, words in zip(categorical, encoding.vocabulary, strict=True)},
        ranges={name: (low, high) for name, low, high in zip(numeric, encoding.low, encoding.high, strict=True)},
        family=fitted.family,
        description="; ".join(filter(None, (fitted.description, fitted.origin))),
        is_additive=fitted.learned.is_additive(),
        hyperparameters=fitted.hyperparameters,
        seed=trained.seed,
        weights_hash=weights_hash(encoding, fitted.learned),
        rows=row_counts,
        limits=RequestLimits(request_rows=project.limits.request_rows, request_mib=project.limits.request_mib),
        tolerance=parity.tolerance(target, project.release.tolerance),
        conformal=trained.conformal,
    )


def _sample(trained: Trained, validation: Path) -> PackageSample:
    """Return a few validation rows as a request would send them, with the answers they must get."""
    project = trained.project
    inputs = rows.read_inputs(
        validation,
        rows.numeric_names(project),
        rows.categorical_names(project),
        np.arange(min(SAMPLE_ROWS, pq.read_metadata(validation).num_rows)),
    )
    sent: list[SampleRow] = [{} for _ in range(len(inputs))]
    for column, name in enumerate(rows.numeric_names(project)):
        whole = project.features.columns[name].type == "boolean"
        # The shortest text of a float32 is what a person would have written; it reads back as the same float32.
        for row, value in zip(sent, (float(str(number)) for number in inputs.numeric[:, column]), strict=True):
            row[name] = None if math.isnan(value) else bool(value) if whole else value
    for column, name in enumerate(rows.categorical_names(project)):
        for row, text in zip(sent, inputs.categorical[:, column], strict=True):
            row[name] = text or None
    return PackageSample(rows=tuple(sent), scores=trained.answer(inputs).tolist())


def _reference(trained: Trained, train: Path, count: int) -> PackageReference:
    """Return training rows chosen at random, to compare the rows of requests with."""
    project = trained.project
    chosen = np.random.default_rng(trained.seed).choice(count, min(REFERENCE_ROWS, count), replace=False)
    ascending = np.sort(chosen)
    inputs = rows.read_inputs(train, rows.numeric_names(project), rows.categorical_names(project), ascending)
    # In the order of the draw: with many features, an explanation uses only the first of them.
    inputs = inputs.take(np.searchsorted(ascending, chosen))
    numbers = [[None if math.isnan(value) else value for value in row] for row in inputs.numeric.tolist()]
    return PackageReference(
        numeric=tuple(map(tuple, numbers)), categorical=tuple(map(tuple, inputs.categorical.tolist()))
    )


def _write_seen(trained: Trained, parts: Sequence[Path], target: Path) -> None:
    """Write which entity was seen when, also by the model that this one continues: these rows can never judge it."""
    entity, time = trained.project.entity, trained.project.event_time
    schema = pa.schema([(entity, pa.string()), (time, pq.read_schema(parts[0]).field(time).type)])
    inherited = _inherited(trained, schema)
    is_own = np.zeros(inherited.num_rows, dtype=bool)
    names = row_keys.keys(inherited, entity, time)
    with RowGroupWriter(target, schema, compression="snappy") as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(row_groups.ROWS, columns=[entity, time]):
                    table = pa.Table.from_batches([batch])
                    entities = pa.array(rows.texts(table, entity), pa.string())
                    own = pa.table([entities, table[time]], schema=schema)
                    is_own |= row_keys.is_in(names, row_keys.keys(own, entity, time))
                    writer.write(own)
        writer.write(inherited.filter(pa.array(~is_own)))


def _inherited(trained: Trained, schema: pa.Schema) -> pa.Table:
    """Return the rows that the model which this one continues has seen; none if it continues no model."""
    if trained.start is None or trained.start.seen is None:
        return schema.empty_table()
    # The champion's table may have had finer times.
    return trained.start.seen.rename_columns(schema.names).cast(schema, safe=False)
