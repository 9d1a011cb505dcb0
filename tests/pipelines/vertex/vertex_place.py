"""An endpoint at the double of Vertex AI, with a bucket, and the step that releases to it."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from components.shared import registry
from components.shared.project import Project
from components.shared.release.pace import Pace
from components.shared.release.plan import BASIC, Plan
from components.shared.release.sample import Sample
from components.shared.release.vertex.release import VertexRelease
from tests.cloud_storage_double import CloudStorageDouble
from tests.components import made_candidate
from tests.pipelines.vertex.double import PARENT, PROJECT, REGION, TOKEN, Server
from tests.pipelines.vertex.release_double import ReleaseDouble

NAME = "made"
IMAGE = "europe-docker.pkg.dev/my-project/perennial/serving:0123456789abcdef"
PACE = Pace(start_s=5, route_s=3, lease_s=1, poll_s=0.01)
HASTY = Pace(start_s=0.2, route_s=0.3, lease_s=1, poll_s=0.01)
"""Gives up before an operation that never ends."""
SCORES = [0.1, 0.2, 0.3]


class VertexPlace:
    """An endpoint that no release has reached yet; a context manager.

    Args:
        server: The double behind TLS.
        models: A registry with versions, and a release folder of each.
        settings: Sections of the project file.
    """

    def __init__(self, server: Server, models: SimpleNamespace, **settings: Any) -> None:
        server.renew()
        assert isinstance(server.double, ReleaseDouble)
        self.double, self.models = server.double, models
        self.double.scores = {version: SCORES for version in models.plans}
        self.project: Project = made_candidate.project(**settings)
        self.endpoint, self.staging = f"{PARENT}/endpoints/{NAME}", f"{PARENT}/endpoints/{NAME}-candidate"
        self.model = f"{PARENT}/models/{NAME}"
        self.storage = CloudStorageDouble("models", TOKEN)
        self._scratch = TemporaryDirectory()
        self._server, self._key = server, os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        registry.move_alias(models.client, NAME, registry.CHAMPION, None)
        for version in models.plans:
            models.client.set_model_version_tag(NAME, version, registry.COMPLETE, "true")

    def __enter__(self) -> Self:
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(self._server.key_file)
        return self

    def __exit__(self, *_: object) -> None:
        if self._key is None:
            del os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
        else:
            os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = self._key
        self.storage.close()
        self._scratch.cleanup()

    def address(self, **keys: str) -> str:
        """Return the endpoint's address, with further keys."""
        own = {
            "bucket": "models/prefix", "api": self._server.address, "storage": self.storage.origin,
            "monitoring": self._server.http,
        }  # fmt: skip
        return f"vertex://{PROJECT}/{REGION}?{urlencode(own | keys)}"

    def manifests(self, version: str) -> Path:
        """Return a release folder of a version whose image is in Artifact Registry."""
        folder = Path(self._scratch.name) / version
        if not folder.exists():
            shutil.copytree(self.models.folder / "releases" / version, folder)
            runtime = yaml.safe_load((folder / "servingruntime.yaml").read_text())
            runtime["spec"]["containers"][0]["image"] = IMAGE
            (folder / "servingruntime.yaml").write_text(yaml.safe_dump(runtime))
        return folder

    def release(self, version: str, pace: Pace = PACE, **keys: str) -> VertexRelease:
        """Return what releases a version, as a process of its own."""
        return VertexRelease(self.address(**keys), self.project, self.models.client, self.manifests(version), pace)

    def released(self, version: str, plan: Plan = BASIC, pace: Pace = PACE, **keys: str) -> str:
        """Release a version as the deployment step does."""
        return self.release(version, pace, **keys).driver().release(self.models.plans[version], plan)

    def sample(self, version: str) -> Sample:
        """Return the sample of a version, as the double answers it."""
        return Sample(self.models.plans[version].name, version, [{}] * len(SCORES), SCORES, 1e-6)

    def champion(self) -> str | None:
        return registry.champion(self.models.client, NAME)

    def asked(self, kind: type) -> list[Any]:
        """Return the requests of one type."""
        return [request for request in self.double.requests if isinstance(request, kind)]
