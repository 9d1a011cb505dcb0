"""A model package: verified, opened, and ready to score tensors. Imports neither pyarrow nor pandas."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.package_reference import PackageReference
from components.shared.documents.package_sample import PackageSample, SampleRow
from components.shared.files import sha256
from components.shared.package import integrity
from components.shared.package.contributions import Explainer, tensors_of
from components.shared.package.session import MARGIN, OUTPUT, open_session

MODEL = "model.onnx"
"""The exported model in the package."""


@dataclass(frozen=True)
class ModelPackage:
    """A trained model whose files are those of its manifest, and the facts about it."""

    folder: Path
    facts: ModelFacts
    manifest_sha256: str
    session: onnxruntime.InferenceSession

    @staticmethod
    def open(folder: Path, *, manifest_sha256: str | None = None, threads: int = 1) -> "ModelPackage":
        """Verify a package and load its model.

        Args:
            folder: The package.
            manifest_sha256: Expected SHA-256 of the manifest itself; None skips that one check.
            threads: Threads of one call; 0 lets ONNX Runtime decide.

        Raises:
            StepFailed: If the package differs from its manifest.
        """
        integrity.verify(folder, manifest_sha256)
        return ModelPackage(
            folder,
            ModelFacts.read(folder),
            sha256(PackageManifest.at(folder)),
            open_session(folder / MODEL, threads=threads),
        )

    def sample(self) -> tuple[SampleRow, ...]:
        """Return the rows that training kept, to show what a request holds."""
        return PackageSample.read(self.folder).rows

    def score(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Score the model's input tensors.

        Args:
            tensors: ``numeric`` (rows, features) float32 with NaN where missing, and ``categorical`` (rows, features)
                text objects with "" where missing; one without features is absent.

        Returns:
            (rows,) float32, or (rows, classes) for a multiclass model. A score can be infinite or NaN if a number in
            ``tensors`` is extreme.
        """
        scores: NDArray[np.float32] = self.session.run([OUTPUT], tensors)[0]
        return scores

    def margins(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return what the scores are made from, before they are: see ``contributions``; shaped like the scores."""
        margins: NDArray[np.float32] = self.session.run([MARGIN], tensors)[0]
        return margins

    def explainer(self) -> Explainer | None:
        """Return what explains the model's scores; None of a package from before there were explanations."""
        if not PackageReference.at(self.folder).is_file():
            return None
        return Explainer(self.margins, tensors_of(PackageReference.read(self.folder)), self.facts.is_additive)
