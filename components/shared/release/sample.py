"""The query that every release must answer right: the sample of its package, with the scores from training."""

import math
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared import inference, registry
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_sample import PackageSample, SampleRow
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError, StepFailed
from components.shared.files import from_uri
from components.shared.inference import PROBE


@dataclass(frozen=True)
class Sample:
    """Rows, the scores that training computed for them, and how far an answer may be from those.

    The tolerance is absolute below one and relative above: an answer in the label's unit may be large.
    """

    name: str
    version: str
    rows: Sequence[SampleRow]
    scores: Sequence[float | tuple[float, ...]]
    tolerance: float

    @classmethod
    def of(cls, release: RegisteredVersion, client: Any) -> "Sample":
        """Read the sample from a version's package, wherever the registry keeps it."""
        if release.storage_uri.startswith("file:"):
            return cls._read(release, from_uri(release.storage_uri))
        with tempfile.TemporaryDirectory() as scratch:
            return cls._read(release, registry.download(client, release.storage_uri, Path(scratch) / "package"))

    @classmethod
    def _read(cls, release: RegisteredVersion, package: Path) -> "Sample":
        sample, facts = PackageSample.read(package), ModelFacts.read(package)
        return cls(release.name, release.version, sample.rows, sample.scores, facts.tolerance)

    def answering(self, url: str, *, host: str | None = None) -> str:
        """Return the version that answers the first row."""
        probe = f"{PROBE}{uuid.uuid4()}"
        return str(inference.predict(url, self.name, self.rows[:1], host=host, request_id=probe)["model_version"])

    def verify(self, url: str, *, host: str | None = None, by_version: bool = False) -> None:
        """Send all rows and compare the scores.

        Args:
            url: Server or gateway.
            host: The name that a gateway routes by.
            by_version: Address this version; otherwise the version that answers must be this one.

        Raises:
            StepFailed: If another version answers, the rows are refused, or a score differs.
        """
        try:
            answer = inference.predict(
                url,
                self.name,
                self.rows,
                version=self.version if by_version else None,
                host=host,
                request_id=f"{PROBE}{uuid.uuid4()}",
            )
        except InputError as refused:
            raise StepFailed(f"release {self.version} refuses its own sample: {refused}") from refused
        self.check(answer["model_version"], answer["predictions"])

    def check(self, answering: str, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Compare the answer to all rows with what training computed.

        Args:
            answering: The version that answered.
            predictions: One object with a ``score`` per row.

        Raises:
            StepFailed: If another version answered, a prediction is missing, or a score differs.
        """
        if answering != self.version:
            raise StepFailed(f"release {answering} answered instead of release {self.version}; release again.")
        if len(predictions) != len(self.scores):
            raise StepFailed(
                f"release {self.version} answered {len(predictions)} of the {len(self.scores)} rows of its sample; it "
                "is not released."
            )
        for row, (prediction, expected) in enumerate(zip(predictions, self.scores, strict=True)):
            self._compare(row, prediction["score"], expected)

    def _compare(self, row: int, score: Any, expected: Any) -> None:
        pairs = zip(score, expected, strict=True) if isinstance(score, list) else [(score, expected)]
        if not all(math.isclose(a, b, rel_tol=self.tolerance, abs_tol=self.tolerance) for a, b in pairs):
            raise StepFailed(
                f"release {self.version} answers row {row} of its sample with {score}, training computed {expected} "
                f"(tolerance {self.tolerance:g}); it is not released."
            )
