"""A model package, asked through ONNX Runtime as the endpoint asks it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
from numpy.typing import NDArray

from components.evaluation.ranking import Floats
from components.shared import files
from components.shared.errors import InputError, StepFailed
from components.shared.model import rows
from components.shared.model.rows import Inputs

_BATCH = 8192


@dataclass(frozen=True)
class Package:
    """A trained model and what its package says of it (``model.json``)."""

    folder: Path
    card: dict[str, Any]
    session: onnxruntime.InferenceSession

    @staticmethod
    def open(folder: Path, *, threads: int = 0) -> "Package":
        """Load the exported model; 0 threads leaves the number to ONNX Runtime."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        return Package(folder, files.read_json(folder / "model.json"), session)

    def inputs(self, table: pa.Table) -> Inputs:
        """Take the model's features from a table."""
        return rows.inputs(table, self.card["numeric"], self.card["categorical"])

    def score(self, inputs: Inputs) -> Floats:
        """Answer all rows; float64, as metrics want it."""
        answers = [
            self.session.run(["score"], inputs.take(np.arange(start, min(start + _BATCH, len(inputs)))).feed())[0]
            for start in range(0, len(inputs), _BATCH)
        ]
        score = np.concatenate(answers).astype(np.float64)
        if not np.isfinite(score).all():
            raise StepFailed(
                f"the model answers {int((~np.isfinite(score)).sum())} of {score.size} times with a number that is not "
                "finite; every score must be. Lower the learning rate, or look for extreme values in the features."
            )
        return score


def all_classes(table: pa.Table, label: str, task: str, classes: list[str]) -> list[str]:
    """Return the model's classes, then those that only these rows hold: no answer to such a row is right."""
    if task == "regression":
        return []
    new = sorted(set(rows.texts(table, label)) - set(classes))
    if new and task == "binary":
        raise InputError(
            f"label '{label}' holds {new} in the test rows, but the model knows {classes}; "
            "set 'task: multiclass', or derive a label with two values."
        )
    return [*classes, *new]


def labels(table: pa.Table, label: str, classes: list[str]) -> NDArray[Any]:
    """Return class numbers, or without classes the label itself."""
    if not classes:
        return table.column(label).cast(pa.float64()).to_numpy(zero_copy_only=False)
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[text] for text in rows.texts(table, label)], dtype=np.int64)


def check_judgeable(truth: NDArray[Any], label: str, classes: list[str]) -> None:
    """Refuse test rows that cannot tell a good model from a bad one: none at all, or all with the same label."""
    found = np.unique(truth)
    if not len(found):
        raise InputError(
            "no test row is left to judge the model by; give the split a larger test share, or bring newer rows."
        )
    if len(found) == 1:
        only = repr(classes[int(found[0])]) if classes else f"{found[0]:.6g}"
        raise InputError(
            f"label '{label}' is {only} in all {len(truth)} test rows; a model is judged by telling two answers apart. "
            "Give the split a larger test share, or bring newer rows."
        )


def widen(score: Floats, classes: int) -> Floats:
    """Give classes that the model never saw a probability of 0; binary and regression scores stay as they are."""
    if score.ndim == 1 or score.shape[1] == classes:
        return score
    return np.pad(score, ((0, 0), (0, classes - score.shape[1])))
