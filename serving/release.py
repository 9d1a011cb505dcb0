"""One release in memory: a model package with its version, its signature and its decisions."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from components.shared.documents.feature_views import FeatureViews
from components.shared.errors import InputError, StepFailed
from components.shared.measures import conformal
from components.shared.package import decisions
from components.shared.package.contributions import Contributions
from components.shared.package.model_package import ModelPackage
from components.shared.package.regions import Regions, regions
from serving import finite
from serving.limits import CEILING_BYTES, CEILING_MIB
from serving.refusal import RequestRefused, short
from serving.signature import EncodedRows, Signature

_SIGNATURES = 64


class ServedRelease:
    """A verified model package under a name and a version; immutable, so requests in flight keep theirs.

    Args:
        folder: The model package.
        name: Name of the served model.
        version: The version that answers name.
        manifest_sha256: Hash of the package's manifest as released; None skips that one check.
        signed_by: Public keys in PEM, one of which must have signed the package; none skips that check.

    ``labels`` says what a score is about (``classes``, and ``positive`` of a binary task), as JSON;
    ``label_parameters`` says the same as parameters of a tensor.

    Raises:
        StepFailed: If the package differs from its manifest, was not signed by one of the keys, or takes larger
            requests than the server.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        version: str,
        manifest_sha256: str | None = None,
        signed_by: Sequence[str] = (),
    ) -> None:
        if signed_by:
            # Most packages are not signed, and cryptography takes a while to import.
            from components.shared.package import signing

            signing.verify(folder, [signing.public_key(key) for key in signed_by])
        self.package = ModelPackage.open(folder, manifest_sha256=manifest_sha256)
        facts = self.package.facts
        self.name = name
        self.version = version
        self.task = facts.task
        self.classes = list(facts.classes or ())
        self.threshold = facts.threshold
        self.texts = {decision: _parameter(decision) for decision in self.classes}
        """Every decision as the text of a tensor."""
        self.labels = _labels(self.task, self.classes)
        self.label_parameters = {name: _parameter(value) for name, value in self.labels.items()}
        self.label_items = tuple(self.label_parameters.items())
        self.signature = Signature(facts)
        self.signature_of = functools.lru_cache(maxsize=_SIGNATURES)(functools.partial(Signature.of, facts))
        """Returns the signature of a frozen set of the features, of what a request has where the rest is looked up."""
        self.feature_views = FeatureViews.read(folder) if FeatureViews.at(folder).is_file() else None
        """Where the features can be looked up; None of a package from before that was possible."""
        if self.signature.request_bytes > CEILING_BYTES:
            raise StepFailed(
                f"release {version} takes requests of {facts.limits.request_mib:g} MiB, the server at most "
                f"{CEILING_MIB}; lower 'request_mib' under 'limits' of the project file, and train again."
            )
        decides = self.task == "multiclass" or (self.task == "binary" and self.threshold is not None)
        self.highest_level = conformal.highest_level(facts.conformal) if facts.conformal is not None else 0.0
        """The highest share of labels that an interval or set can hold; 0 if the package has none."""
        self._explainer = self.package.explainer()
        self.outputs = ("score", "decision", "out_of_vocabulary") if decides else ("score", "out_of_vocabulary")

    def warm(self) -> None:
        """Score the package's sample, alone and repeated, so that the first real request finds everything allocated."""
        sample = self.package.sample()
        for times in (1, 256):
            rows = (sample * times)[: self.signature.request_rows]
            columns = {name: [row[name] for row in rows] for name in self.signature.names}
            self.decide(self.score(self.signature.encode(columns, len(rows))))

    def score(self, encoded: EncodedRows) -> np.ndarray:
        """Score encoded rows.

        Returns:
            (rows,) or (rows, classes) float32, all finite.

        Raises:
            RequestRefused: If a score is not finite.
        """
        scores = self.package.score(encoded.tensors)
        if not finite.all_finite(scores):
            row = int(np.argwhere(~np.isfinite(scores))[0][0])
            raise RequestRefused(
                400, f"row {row}: the model has no finite score for values so extreme; send smaller ones.", "infinite"
            )
        return scores

    def decide(self, scores: np.ndarray) -> list[Any] | None:
        """Return the decision per row: by the threshold, or the likeliest class; None where the model takes none."""
        return decisions.decide(self.task, self.classes, self.threshold, scores)

    def regions(self, scores: np.ndarray, level: float) -> Regions:
        """Return the intervals or sets that hold at least the share ``level`` of the labels of new rows.

        Raises:
            RequestRefused: If the level is no share, or the release has no regions of it.
        """
        try:
            return regions(self.package.facts, scores, level)
        except InputError as refused:
            raise RequestRefused(400, str(refused), "interval") from refused

    def contributions(self, encoded: EncodedRows, rows: int) -> list[Contributions]:
        """Return what each feature contributed to the margin of each of the encoded rows.

        Raises:
            RequestRefused: If the model came without reference rows, or a margin is not finite.
        """
        if self._explainer is None:
            raise RequestRefused(
                404,
                f"release {short(self.version)} cannot be explained: it was trained before that was possible; "
                "train it again.",
                "unexplained",
            )
        explained = [self._explainer.explain(encoded.tensors, row) for row in range(rows)]
        for row, one in enumerate(explained):
            if not np.isfinite(one.by_feature).all():
                raise RequestRefused(
                    400,
                    f"row {row}: the model has no finite margin for values so extreme; send smaller ones.",
                    "infinite",
                )
        return explained


def _labels(task: str, classes: list[Any]) -> dict[str, Any]:
    """Return what a score is about: the classes in the order of its columns, and the class of a single probability."""
    if task == "multiclass":
        return {"classes": classes}
    return {"classes": classes, "positive": classes[1]} if task == "binary" else {}


def _parameter(value: Any) -> str:
    """Write a value as a parameter of the Open Inference Protocol, which has no lists."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
