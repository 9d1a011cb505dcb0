"""A SavedModel as a model package, which our server answers from: converted to ONNX, and held to the SavedModel."""

import logging
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import tensorflow as tf
from numpy.typing import NDArray
from tf2onnx import optimizer
from tf2onnx.tfonnx import process_tf_graph

from components.shared import files
from components.shared.documents.model_facts import FeatureFacts, LearnedRows, ModelFacts, RequestLimits
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.package_sample import SAMPLE_ROWS, PackageSample, SampleRow
from components.shared.errors import InputError, StepFailed
from components.shared.inputs import rows
from components.shared.inputs.rows import Inputs
from components.shared.learning import labels
from components.shared.learning.labels import LabelEncoding
from components.shared.package.session import OUTPUT, open_session
from components.shared.project import Project
from components.tfx_training.saved_model import SCORE, SIGNATURE, ColumnGraph, SavedModel

_MODEL = "model.onnx"
_OPSET = 17


def write(
    project: Project, saved_model: Path, splits: Path, out: Path, signature: str = SIGNATURE, output: str | None = None
) -> ModelFacts:
    """Write the package.

    Args:
        project: Whose model it is; its features are the columns.
        saved_model: The folder with ``saved_model.pb``.
        splits: Folder with ``train.parquet``, ``validation.parquet`` and ``test.parquet``: on their rows the package
            must answer as the SavedModel does.
        out: The package's folder; created.
        signature: Of the SavedModel, which takes serialized examples.
        output: Of the signature, with the scores; None if it has one only.

    Returns:
        What the package says of the model.

    Raises:
        InputError: If the model does not suit the project, or has operations that ONNX lacks.
        StepFailed: If the package answers differently.
    """
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    columns = [*numeric, *categorical, project.label.column]
    train, validation, test = (
        rows.read(splits / f"{part}.parquet", columns) for part in ("train", "validation", "test")
    )
    model = SavedModel(saved_model, project.task, signature, output)
    out.mkdir(parents=True)
    _convert(model.on_columns(numeric, categorical), out / _MODEL)
    encoding = labels.learn(project, train, validation)
    tolerance = project.release.tolerance * (
        1.0 if project.task != "regression" else abs(encoding.mean) + encoding.scale
    )
    measured = rows.inputs(pa.concat_tables([validation, test]), numeric, categorical)
    answers = model.answer(measured, numeric, categorical)
    _check(answers, out / _MODEL, measured, tolerance)
    learned = LearnedRows(train=train.num_rows, validation=validation.num_rows)
    facts = _facts(project, encoding, rows.inputs(train, numeric, categorical), learned, saved_model, tolerance)
    facts.write(out)
    few = measured.take(np.arange(min(SAMPLE_ROWS, len(measured))))
    PackageSample(rows=tuple(_sent(project, few)), scores=answers[: len(few)].tolist()).write(out)
    names = sorted(path.name for path in out.iterdir())
    PackageManifest(files={name: files.sha256(out / name) for name in names}).write(out)
    return facts


def _convert(columns: ColumnGraph, target: Path) -> None:
    # It warns of every shape that it does not know, and logs operations that are refused below.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    tensors = {f"{name}:0": name for name in (*columns.inputs, SCORE)}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(columns.graph, name="")
        try:
            converted = process_tf_graph(
                graph,
                opset=_OPSET,
                input_names=[f"{name}:0" for name in columns.inputs],
                output_names=[f"{SCORE}:0"],
                initialized_tables=columns.tables,
                tensors_to_rename=tensors,
            )
        except Exception as error:  # whatever it comes upon, this model is the cause
            cause = " ".join(str(error).split())[:300].rstrip(".")
            raise InputError(
                f"tf2onnx can't convert the SavedModel ({type(error).__name__}: {cause}); such a model stays with TF "
                "Serving."
            ) from error
        model = optimizer.optimize_graph(converted).make_model("SavedModel")
    if absent := sorted({node.op_type for node in model.graph.node if not onnx.defs.has(node.op_type, node.domain)}):
        raise InputError(
            f"the SavedModel has the operations {absent}, which ONNX lacks; such a model stays with TF Serving."
        )
    onnx.save(model, target)


def _check(answers: NDArray[np.float32], exported: Path, inputs: Inputs, tolerance: float) -> None:
    """Compare the package with the SavedModel on every row."""
    try:
        scores = open_session(exported, threads=0).run([OUTPUT], inputs.feed())[0]
    except Exception as error:  # onnxruntime raises its own classes, which share no base but Exception
        cause = " ".join(str(error).split())[:300].rstrip(".")
        raise InputError(
            f"the SavedModel has operations that ONNX Runtime can't carry out ({cause}); such a model stays with TF "
            "Serving."
        ) from error
    difference = float(np.abs(scores.astype(np.float64) - answers).max()) if scores.shape == answers.shape else np.inf
    if not difference <= tolerance:
        raise StepFailed(
            f"the package answers {scores.shape} scores that differ from the SavedModel's {answers.shape} by up to "
            f"{difference:.3g} over {len(inputs)} rows; at most {tolerance:.3g} is tolerated (release.tolerance)."
        )


def _facts(
    project: Project,
    encoding: LabelEncoding,
    train: Inputs,
    learned: LearnedRows,
    saved_model: Path,
    tolerance: float,
) -> ModelFacts:
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    ranges = {
        name: (float(np.nanmin(column)), float(np.nanmax(column)))
        for name, column in zip(numeric, train.numeric.T, strict=True)
        if not np.isnan(column).all()
    }
    return ModelFacts(
        name=project.name,
        task=project.task,
        label=project.label.column,
        entity=project.entity,
        event_time=project.event_time,
        classes=encoding.classes,
        positive=encoding.classes[1] if project.task == "binary" and encoding.classes else None,
        threshold=None,
        features=tuple(
            FeatureFacts(name=name, type=feature.type, missing=feature.missing)
            for name, feature in project.features.columns.items()
        ),
        numeric=tuple(numeric),
        categorical=tuple(categorical),
        vocabulary={
            name: tuple(sorted(set(column) - {""}))
            for name, column in zip(categorical, train.categorical.T, strict=True)
        },
        ranges=ranges,
        family="saved_model",
        description="a SavedModel that TFX exported, converted to ONNX",
        hyperparameters={},
        seed=0,
        weights_hash=_content_hash(saved_model),
        rows=learned,
        limits=RequestLimits(request_rows=project.limits.request_rows, request_mib=project.limits.request_mib),
        tolerance=tolerance,
    )


def _content_hash(folder: Path) -> str:
    """Hash the graph, the variables and the vocabularies."""
    parts = sorted(path for path in folder.rglob("*") if path.is_file())
    return files.digest({path.relative_to(folder).as_posix(): files.sha256(path) for path in parts})


def _sent(project: Project, few: Inputs) -> list[SampleRow]:
    """Return rows as a request would send them."""
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    sent: list[SampleRow] = []
    for numbers, words in zip(few.numeric, few.categorical, strict=True):
        row: SampleRow = {}
        for name, value in zip(numeric, numbers, strict=True):
            is_boolean = project.features.columns[name].type == "boolean"
            # The shortest text of a float32 reads back as the same float32.
            row[name] = None if np.isnan(value) else bool(value) if is_boolean else float(str(value))
        row |= {name: word or None for name, word in zip(categorical, words, strict=True)}
        sent.append(row)
    return sent
