"""Prepare the splits for training: read the rows, learn the preprocessing, and encode the rows."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.inputs import rows
from components.shared.learning import encoding, fitting, labels, network, trees
from components.shared.project import Project, Training


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
    """Read the training and validation rows; ``max_rows`` limits the training rows to a random sample."""
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    columns = [*numeric, *categorical, project.label.column]
    train = rows.read(splits / "train.parquet", columns)
    validation = rows.read(splits / "validation.parquet", columns)
    target = labels.learn(project, train, validation)
    if max_rows is not None and train.num_rows > max_rows:
        train = train.take(np.sort(np.random.default_rng(seed).choice(train.num_rows, max_rows, replace=False)))
    return RawData(
        rows.inputs(train, numeric, categorical),
        rows.inputs(validation, numeric, categorical),
        target.encode(train, project.label.column),
        target.encode(validation, project.label.column),
        target,
        tuple(project.features.monotone.get(name, 0) for name in numeric) if project.features.monotone else (),
    )


def taken(data: RawData, numbers: NDArray[np.int64]) -> RawData:
    """Keep some of the training rows, by their numbers."""
    return replace(data, train=data.train.take(numbers), train_labels=data.train_labels[numbers])


def standardised_as(data: RawData, mean: float, scale: float) -> RawData:
    """Encode the labels of a regression with another mean and scale, such as those of an earlier model."""
    target = replace(data.target, mean=mean, scale=scale)

    def encoded(answers: NDArray[np.float32]) -> NDArray[np.float32]:
        again: NDArray[np.float32] = ((data.target.decode(answers) - mean) / scale).astype(np.float32)
        return again

    return replace(
        data,
        train_labels=encoded(data.train_labels),
        validation_labels=encoded(data.validation_labels),
        target=target,
    )


def encode(data: RawData, hyperparameters: Training, learned: encoding.Encoding | None = None) -> EncodedData:
    """Encode both parts once for all epochs; without ``learned``, the training rows determine the preprocessing."""
    if learned is None:
        learned = encoding.learn(data.train, bins=hyperparameters.bins, max_vocabulary=hyperparameters.max_vocabulary)
    weights = fitting.class_weights(data.train_labels, data.target, hyperparameters.class_weight)
    return EncodedData(
        fitting.rows(network.encode(learned, data.train.feed()), data.train_labels, weights),
        fitting.rows(network.encode(learned, data.validation.feed()), data.validation_labels, weights),
        learned,
    )


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
