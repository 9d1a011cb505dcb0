"""The model of a package, asked without any check."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.package.session import OUTPUT, open_session


class BareModel:
    """A session of ONNX Runtime and the order of its inputs.

    Args:
        package: A model package.
    """

    def __init__(self, package: Path) -> None:
        facts = json.loads((package / "model.json").read_text())
        self._numeric, self._categorical = facts["numeric"], facts["categorical"]
        self.features = [*self._numeric, *self._categorical]
        self._session = open_session(package / "model.onnx")

    def score(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Return the scores of columns: (rows,) or (rows, classes)."""
        tensors = {}
        if self._numeric:
            values = np.array([columns[feature] for feature in self._numeric], dtype=np.float32)
            tensors["numeric"] = np.ascontiguousarray(values.T)
        if self._categorical:
            texts = [["" if text is None else text for text in columns[feature]] for feature in self._categorical]
            tensors["categorical"] = np.array(texts, dtype=object).T
        scores: np.ndarray = self._session.run([OUTPUT], tensors)[0]
        return scores
