"""A model package, asked through ONNX Runtime as the endpoint asks it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa

from components.shared import files
from components.shared.errors import StepFailed
from components.shared.inputs import rows
from components.shared.inputs.rows import Inputs
from components.shared.measures.ranking import Floats

_BATCH = 8192


@dataclass(frozen=True)
class ModelPackage:
    """A trained model and what its package says of it (``model.json``)."""

    folder: Path
    card: dict[str, Any]
    session: onnxruntime.InferenceSession

    @staticmethod
    def open(folder: Path, *, threads: int = 0) -> "ModelPackage":
        """Load the exported model; 0 threads leaves the number to ONNX Runtime."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        return ModelPackage(folder, files.read_json(folder / "model.json"), session)

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
