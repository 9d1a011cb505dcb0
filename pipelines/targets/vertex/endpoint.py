"""The endpoint of a project at Vertex AI, as the command reaches it."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared import registry
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.release.vertex.address import SCHEME, Address
from components.shared.release.vertex.release import VertexRelease
from pipelines.targets.remote.releasing import RemoteEndpoint

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ProjectEndpoint(RemoteEndpoint):
    """One project's endpoint.

    Args:
        address: ``vertex://...``
        project: The project.
        open_registry: Opens the registry, after the address is validated.

    Raises:
        InputError: If the target's endpoint is none of Vertex AI, or its address is wrong.
    """

    def __init__(self, address: str, project: Project, open_registry: "Callable[[], MlflowClient]") -> None:
        if not address.startswith(SCHEME):
            raise InputError(
                f"services.endpoint of the target is {address!r}, which this command does not reach; expected "
                "vertex://PROJECT/REGION?bucket=BUCKET/PREFIX."
            )
        Address.parse(address)
        self._project, self._client = project, open_registry()
        self._release = VertexRelease(address, project, self._client)
        super().__init__(self._release)

    def ask(self, rows: Sequence[Mapping[str, Any]], interval: float | None = None) -> dict[str, Any]:
        """Request predictions; the classes come from the registered package, as Vertex AI passes on none.

        Raises:
            InputError: If nothing was released, or the rows are refused.
            StepFailed: If it does not answer.
        """
        answer = self._release.traffic.ask(rows, interval)
        registered = registry.version(self._client, self._project.name, answer.version)
        assert registered is not None
        with tempfile.TemporaryDirectory() as folder:
            package = registry.download(self._client, str(registered.source), Path(folder) / "package")
            facts = ModelFacts.read(package)
        labels = {"classes": facts.classes, "positive": facts.positive}
        return {
            "model_name": self._project.name,
            "model_version": answer.version,
            **{name: value for name, value in labels.items() if value is not None},
            "predictions": list(answer.predictions),
        }

    def state(self) -> str:
        """Say which release answers, and with which share."""
        shares = {version: share for version, share in self._release.traffic.shares().items() if share}
        if not shares:
            return "no release yet"
        if len(shares) == 1:
            return f"release {next(iter(shares))}"
        return ", ".join(f"release {version} ({share} %)" for version, share in sorted(shares.items()))

    def roll_back(self, version: str | None) -> str:
        """Take back the release that waits; otherwise release a former version, and return what answers now.

        Args:
            version: An uploaded version; None is the newest before the one that answers.

        Raises:
            InputError: If there is none.
        """
        journal = self.under_way()
        if version is None and journal is not None and journal.state.waiting and journal.former is not None:
            self.driver().abort("rolled back")
            return journal.former
        version = version or self._former()
        registered = registry.version(self._client, self._project.name, version)
        assert registered is not None
        release = RegisteredVersion(
            name=self._project.name, version=version, storage_uri=str(registered.source), run_id=registered.run_id
        )
        self.driver().release(release)
        return version

    def _former(self) -> str:
        answering, uploaded = self._release.traffic.answering(), self._release.traffic.uploaded()
        older = [version for version in uploaded if answering is not None and int(version) < int(answering)]
        if not older:
            raise InputError(
                f"release {answering} is the first one at the endpoint; there is nothing to roll back to."
                if answering
                else "nothing has been released to the endpoint; there is nothing to roll back."
            )
        return max(older, key=int)
