"""Prepare the splits for training: read the rows, learn the preprocessing, and encode the rows."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.inputs import rows
from components.shared.learning import encoding, fitting, labels, network, trees
from components.shared.project import Project, Training

_ENCODED_BYTES = np.dtype(np.float32).itemsize
ENCODED_BYTES_MAX = 512 * 2**20
"""Encoded numbers that would take more than this are encoded batch by batch."""


@dataclass(frozen=True)
class RawData:
    """The raw training and validation rows, with encoded labels."""

    train: rows.Inputs
    validation: rows.Inputs
    train_labels: NDArray[np.float32]
    validation_labels: NDArray[np.float32]
    target: labels.LabelEncoding
    monotone: tuple[int, ...] = ()
    """Direction of each numeric feature, 0 for none; empty if no feature has one."""


@dataclass(frozen=True)
class EncodedData:
    """The encoded training and validation rows, and the preprocessing that encoded them."""

    train: fitting.Rows
    validation: fitting.Rows
    encoding: encoding.Encoding


@dataclass(frozen=True)
class TreeData:
    """The training and validation rows as trees take them: ``numbers`` numeric columns, then the categories."""

    train: trees.TreeRows
    validation: trees.TreeRows
    encoding: encoding.Encoding
    columns: trees.TreeColumns
    numbers: int


def read(project: Project, splits: Path, *, max_rows: int | None = None, seed: int = 0) -> RawData:
    """Read the training and validation rows; ``max_rows`` limits each of the two to a random sample."""
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    train, validation = (splits / f"{part}.parquet" for part in ("train", "validation"))
    train_answers, validation_answers = (rows.read(path, [project.label.column]) for path in (train, validation))
    target = labels.learn(project, train_answers, validation_answers)

    def sampled(path: Path, answers: pa.Table) -> tuple[rows.Inputs, NDArray[np.float32]]:
        chosen = None
        if max_rows is not None and answers.num_rows > max_rows:
            chosen = np.sort(np.random.default_rng(seed).choice(answers.num_rows, max_rows, replace=False))
            answers = answers.take(chosen)
        return rows.read_inputs(path, numeric, categorical, chosen), target.encode(answers, project.label.column)

    train_inputs, train_labels = sampled(train, train_answers)
    validation_inputs, validation_labels = sampled(validation, validation_answers)
    return RawData(
        train_inputs,
        validation_inputs,
        train_labels,
        validation_labels,
        target,
        tuple(project.features.monotone.get(name, 0) for name in numeric) if project.features.monotone else (),
    )


def taken(data: RawData, numbers: NDArray[np.int64]) -> RawData:
    """Keep some of the training rows, by their numbers."""
    return replace(data, train=data.train.take(numbers), train_labels=data.train_labels[numbers])


def standardised_as(data: RawData, mean: float, scale: float) -> RawData:
    """Encode the labels of a regression with another mean and scale, such as those of an earlier model."""
    target = replace(data.target, mean=mean, scale=scale)

    def again(answers: NDArray[np.float32]) -> NDArray[np.float32]:
        standardised: NDArray[np.float32] = ((data.target.decode(answers) - mean) / scale).astype(np.float32)
        return standardised

    return replace(
        data,
        train_labels=again(data.train_labels),
        validation_labels=again(data.validation_labels),
        target=target,
    )


def encode(data: RawData, hyperparameters: Training, learned: encoding.Encoding | None = None) -> EncodedData:
    """Encode both parts once for all epochs; without ``learned``, the training rows determine the preprocessing."""
    if learned is None:
        learned = encoding.learn(data.train, bins=hyperparameters.bins, max_vocabulary=hyperparameters.max_vocabulary)
    weights = fitting.class_weights(data.train_labels, data.target, hyperparameters.class_weight)
    return EncodedData(
        encoded(data.train, data.train_labels, learned, weights),
        encoded(data.validation, data.validation_labels, learned, weights),
        learned,
    )


def encoded(
    inputs: rows.Inputs, answers: NDArray[np.float32], learned: encoding.Encoding, weights: NDArray[np.float32]
) -> fitting.Rows:
    """Encode rows, but leave the numbers to whoever uses a batch if all at once would take too much memory.

    Args:
        inputs: The raw rows.
        answers: Their encoded labels.
        learned: The preprocessing.
        weights: The weight of each class.
    """
    row_weights = fitting.row_weights(answers, weights)
    if inputs.numeric.shape[1] and len(inputs) * learned.width * _ENCODED_BYTES > ENCODED_BYTES_MAX:
        categories = {name: values for name, values in inputs.feed().items() if name != "numeric"}
        ids = network.encode(learned, categories)
        expand = network.preprocessing(learned)["numeric"]
        return fitting.Rows({"numbers": inputs.numeric} | ids, answers, row_weights, expand)
    return fitting.Rows(network.encode(learned, inputs.feed()), answers, row_weights)


def for_trees(data: RawData, hyperparameters: Training, columns: trees.TreeColumns | None = None) -> TreeData:
    """Number the categories of both parts; without ``columns``, the training rows determine the vocabulary."""
    learned = encoding.learn(data.train, bins=hyperparameters.bins, max_vocabulary=hyperparameters.max_vocabulary)
    weights = fitting.class_weights(data.train_labels, data.target, hyperparameters.class_weight)
    if columns is None:
        columns = trees.columns(data.train, data.train_labels, data.target, learned)
    else:
        learned = replace(learned, vocabulary=columns.vocabulary())
    numbering = columns

    def rows_of(inputs: rows.Inputs, answers: NDArray[np.float32]) -> trees.TreeRows:
        return trees.TreeRows(numbering.matrix(inputs), answers, fitting.row_weights(answers, weights))

    return TreeData(
        rows_of(data.train, data.train_labels),
        rows_of(data.validation, data.validation_labels),
        learned,
        numbering,
        data.train.numeric.shape[1],
    )
