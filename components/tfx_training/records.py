"""Write the rows of a split as TFX reads them: compressed TFRecord files of ``tf.train.Example``.

TFX's own reader of parquet files turns a number that is 0 into a missing value (``dict_to_example`` of
``tfx.components.example_gen.utils`` in 1.16), so the rows are written here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf
from numpy.typing import NDArray

from components.shared.inputs import rows
from components.shared.learning import labels
from components.shared.learning.labels import LabelEncoding
from components.shared.project import Project


@dataclass(frozen=True)
class Labels:
    """The label of the examples."""

    encoding: LabelEncoding
    """How our network takes it: a regression standardises it."""
    baseline: float
    """What a model without features reaches on the training rows; see ``TfxInputs``."""


PARTS = {"train": "train", "validation": "eval", "test": "test"}
"""Our name of a part -> TFX's name of the split."""


def write(project: Project, splits: Path, target: Path) -> Labels:
    """Write every part below a folder of its name; a missing value is a feature without values.

    Args:
        project: The use case.
        splits: Folder with ``train.parquet``, ``validation.parquet`` and ``test.parquet``.
        target: Gets ``train``, ``eval`` and ``test``, each with one file.

    Returns:
        What the examples say of the label: a class number, or the value itself of a regression.

    Raises:
        InputError: If a column is absent or of another type, or the labels do not suit the task.
    """
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    columns = [*numeric, *categorical, project.label.column]
    tables = {part: rows.read(splits / f"{part}.parquet", columns) for part in PARTS}
    encoding = labels.learn(project, tables["train"], tables["validation"])
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    for part, table in tables.items():
        folder = target / PARTS[part]
        folder.mkdir(parents=True)
        inputs, answers = rows.inputs(table, numeric, categorical), _answers(encoding, table, project.label.column)
        with tf.io.TFRecordWriter(str(folder / "rows.tfrecord.gz"), options) as writer:
            for numbers, words, label in zip(inputs.numeric, inputs.categorical, answers, strict=True):
                feature = {
                    **{name: _number(value) for name, value in zip(numeric, numbers, strict=True)},
                    **{name: _text(value) for name, value in zip(categorical, words, strict=True)},
                    project.label.column: _number(label),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return Labels(encoding, _baseline(encoding, _answers(encoding, tables["train"], project.label.column)))


def _answers(encoding: LabelEncoding, table: pa.Table, column: str) -> NDArray[np.float32]:
    """Return (n,) what the examples say: class numbers, or values in the label's unit."""
    return encoding.encode(table, column) * np.float32(encoding.scale) + np.float32(encoding.mean)


def _baseline(encoding: LabelEncoding, answers: NDArray[np.float32]) -> float:
    if encoding.task == "binary":
        return 0.5
    if encoding.task == "multiclass":
        return float(np.bincount(answers.astype(int)).max() / len(answers))
    return float(np.var(answers))


def _number(value: np.float32) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[] if np.isnan(value) else [value]))


def _text(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()] if value else []))
