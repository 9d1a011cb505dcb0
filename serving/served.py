"""The model as the server knows it: which releases are in memory, and which one answers."""

import logging
from typing import Any

from kserve.model import InferenceModel, InferenceVerb

from serving import metrics, tensors, v1
from serving.refusal import Refused, short
from serving.release import Release

logger = logging.getLogger(__name__)


class Served(InferenceModel):
    """KServe's model of any number of releases.

    A request picks its release once and keeps it, so a swap is one assignment and nobody waits for it.
    """

    def __init__(self) -> None:
        super().__init__("")
        self.active: Release | None = None
        self.loaded: dict[str, Release] = {}
        self.failed: dict[str, str] = {}

    def pick(self, name: str, version: str | None = None) -> Release:
        """Return who answers ``name``: the active release, or the loaded one of a version."""
        if self.active is not None and name == self.active.name and version in (None, "", self.active.version):
            return self.active
        names = {release.name for release in self.loaded.values()}
        if self.active is None and not version:
            if self.failed:
                broken, why = next(iter(self.failed.items()))
                raise Refused(503, f"Release {short(broken)} could not be loaded: {why}", "not_ready")
            raise Refused(404, f"Model {short(name)} is unknown; nothing has been released here yet.", "unknown_model")
        if name not in names:
            raise Refused(
                404, f"Model {short(name)} is unknown; this server answers for {sorted(names)}.", "unknown_model"
            )
        if not version:
            raise Refused(404, f"Model {short(name)} is on its way, not released.", "unknown_model")
        if version in self.failed:
            raise Refused(503, f"Release {short(version)} could not be loaded: {self.failed[version]}", "not_ready")
        if version not in self.loaded:
            raise Refused(
                404, f"Release {short(version)} is not loaded; there are {sorted(self.loaded)}.", "unknown_model"
            )
        return self.loaded[version]

    def state(self, version: str) -> tuple[int, str]:
        """Say whether a version answers, as HTTP status and sentence."""
        if version in self.loaded:
            return 200, f"Release {short(version)} is ready."
        if version in self.failed:
            return 503, self.failed[version]
        return 404, f"Release {short(version)} is not loaded (yet)."

    def activate(self, release: Release) -> None:
        """Let a loaded release take over; requests in flight finish on the one they picked."""
        former, self.active = self.active, release
        self.name, self.ready = release.name, True
        if former is not None:
            metrics.ACTIVE.labels(former.name, former.version).set(0)
        metrics.ACTIVE.labels(release.name, release.version).set(1)
        logger.info("release %s of %s answers", release.version, release.name)

    def deactivate(self) -> None:
        """Let nothing answer any more: a first release was taken back."""
        if self.active is not None:
            metrics.ACTIVE.labels(self.active.name, self.active.version).set(0)
            logger.info("release %s of %s was taken back", self.active.version, self.active.name)
        self.active, self.ready = None, False

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe one tensor per feature, for the V2 model metadata."""
        if self.active is None:
            return []
        features = self.active.signature.features.values()
        return [{"name": f.name, "datatype": tensors.DATATYPE[f.type], "shape": [-1]} for f in features]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe score, decision and flags, for the V2 model metadata."""
        if self.active is None:
            return []
        shape = [-1, len(self.active.classes)] if self.active.task == "multiclass" else [-1]
        described = [{"name": "score", "datatype": "FP32", "shape": shape}]
        if self.active.task != "regression":
            described.append({"name": "decision", "datatype": "BYTES", "shape": [-1]})
        return [*described, {"name": "out_of_vocabulary", "datatype": "BYTES", "shape": [-1]}]

    def __call__(
        self, body: Any, headers: dict[str, str] | None = None, verb: InferenceVerb = InferenceVerb.PREDICT
    ) -> dict[str, Any]:
        """Answer a V1 document that came through KServe's own data plane."""
        return v1.predict(self.pick(self.name), body)
