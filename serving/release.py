"""One release in memory: its signature, its ONNX session, and the answer to a batch of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.package.model_package import ModelPackage
from serving.refusal import Refused
from serving.signature import Column, Signature


@dataclass(frozen=True)
class Answer:
    """Scores, decisions and flags of one request, row by row, and the release that made them."""

    scores: np.ndarray
    decisions: list[Any] | None
    unseen: list[list[str]]
    version: str


class Release:
    """A verified model package that answers; immutable once built, so requests in flight keep theirs.

    Args:
        folder: The model package.
        name: Name of the served model.
        version: What answers say they come from.
        manifest_sha256: Hash of the package's manifest as released; None skips that one check.

    Raises:
        StepFailed: If the package differs from its manifest.
    """

    def __init__(self, folder: Path, name: str, version: str, manifest_sha256: str | None = None) -> None:
        self._package = ModelPackage.open(folder, manifest_sha256=manifest_sha256)
        model = self._package.card
        self.name = name
        self.version = version
        self.manifest_sha256 = self._package.manifest_sha256
        self.task: str = model["task"]
        self.classes: list[Any] = model["classes"] or []
        self.threshold: float | None = model["threshold"]
        self.signature = Signature(model)
        self._sample = self._package.sample()

    def warm(self) -> None:
        """Answer the sample, alone and repeated, so that the first real request finds everything allocated."""
        for times in (1, 256):
            rows = (self._sample * times)[: self.signature.request_rows]
            self.answer({name: [row[name] for row in rows] for name in self.signature.names}, len(rows))

    def answer(self, columns: Mapping[str, Column], rows: int) -> Answer:
        """Score the rows; see ``Signature.encode`` for what may be refused."""
        encoded = self.signature.encode(columns, rows)
        scores = self._package.score(encoded.tensors)
        if not np.isfinite(scores).all():
            row = int(np.argwhere(~np.isfinite(scores))[0][0])
            raise Refused(400, f"Row {row}: the model has no finite score for values so extreme.", "infinite")
        return Answer(scores, self._decide(scores), encoded.unseen, self.version)

    def _decide(self, scores: np.ndarray) -> list[Any] | None:
        if self.task == "multiclass":
            return [self.classes[place] for place in scores.argmax(axis=1)]
        if self.task == "binary" and self.threshold is not None:
            negative, positive = self.classes
            return [positive if score >= self.threshold else negative for score in scores.tolist()]
        return None
