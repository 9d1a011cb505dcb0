"""From a folder of splits to what a fit takes: labels, learned preprocessing, encoded rows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.inputs import rows
from components.shared.learning import encoding, fitting, labels, network
from components.shared.project import Project, Training


@dataclass(frozen=True)
class RawData:
    """Raw rows that a model may see: those it learns from and those that choose."""

    train: rows.Inputs
    validation: rows.Inputs
    train_labels: NDArray[np.float32]
    validation_labels: NDArray[np.float32]
    target: labels.LabelEncoding


@dataclass(frozen=True)
class EncodedData:
    """Both parts as the network takes them, and the preprocessing that made them."""

    train: fitting.Rows
    validation: fitting.Rows
    encoding: encoding.Encoding


def read(project: Project, splits: Path, *, most_rows: int | None = None, seed: int = 0) -> RawData:
    """Read training and validation rows; with ``most_rows``, a random part of the training rows."""
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    columns = [*numeric, *categorical, project.label.column]
    train = rows.read(splits / "train.parquet", columns)
    validation = rows.read(splits / "validation.parquet", columns)
    target = labels.learn(project, train, validation)
    if most_rows is not None and train.num_rows > most_rows:
        train = train.take(np.sort(np.random.default_rng(seed).choice(train.num_rows, most_rows, replace=False)))
    return RawData(
        rows.inputs(train, numeric, categorical),
        rows.inputs(validation, numeric, categorical),
        target.encode(train, project.label.column),
        target.encode(validation, project.label.column),
        target,
    )


def encode(known: RawData, chosen: Training) -> EncodedData:
    """Learn preprocessing from the training rows and encode both parts once, before any epoch."""
    learned = encoding.learn(known.train, bins=chosen.bins, max_vocabulary=chosen.max_vocabulary)
    weights = fitting.class_weights(known.train_labels, known.target, chosen.class_weight)
    return EncodedData(
        fitting.rows(network.encode(learned, known.train.feed()), known.train_labels, weights),
        fitting.rows(network.encode(learned, known.validation.feed()), known.validation_labels, weights),
        learned,
    )
